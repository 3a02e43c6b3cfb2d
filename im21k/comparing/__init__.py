"""Which setting is better: many runs of one config, and runs side by side."""
