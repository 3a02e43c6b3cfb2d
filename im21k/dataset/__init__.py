"""What lies on disk between packing and loading: records, shards, the manifest."""
