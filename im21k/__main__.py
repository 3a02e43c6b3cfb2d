"""The program `im21k`, also as `python -m im21k`."""

import sys


def main() -> int:
  """Runs the command line; Ctrl-C is one line even while modules are imported."""
  try:
    from im21k import cli

    return cli.main()
  except KeyboardInterrupt:
    print("im21k: interrupted", file=sys.stderr)
    return 130


if __name__ == "__main__":
  sys.exit(main())
