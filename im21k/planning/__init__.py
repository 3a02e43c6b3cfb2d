"""What fits on a GPU, how fast, and what limits?"""
