"""Runs an experiment: python experiments/run.py --config=FILE [--workdir=DIR]

The same as `im21k train FILE --json`. Every key of the config can be set on the command
line: --config.batch_size=32.
"""

import sys

from im21k import cli

if __name__ == "__main__":
  sys.exit(cli.main(["train", "--json", *sys.argv[1:]]))
