"""The models of 2015, in and out: MXNet's files <-> release folders.

`mxnet` holds the two commands, `arrays` the names and layouts of MXNet's arrays, and
`network` the symbol file.
"""
