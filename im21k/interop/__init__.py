"""Other people's files, as bytes and numpy arrays: MXNet's .params, .rec, .idx, .lst.

Nothing here knows what the arrays or labels mean. Files may come from strangers: sizes
are checked against the file before memory is taken, and every error is a ValueError
that names the file, the place in it and what is wrong there.
"""
