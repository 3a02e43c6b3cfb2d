"""The packed data set on disk, between packing and loading: records and manifest."""
