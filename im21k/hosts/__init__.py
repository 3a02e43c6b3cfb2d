"""Several hosts as one: who they are, what they agree on, how they end together."""
