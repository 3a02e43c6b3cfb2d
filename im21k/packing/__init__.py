"""Photos -> shuffled ArrayRecord shards, a manifest and a report."""
