"""`python -m im21k` is `im21k`."""

import sys

from im21k.cli import main

if __name__ == "__main__":
  sys.exit(main())
