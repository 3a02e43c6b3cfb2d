"""`im21k`, with the model of the tests: python tests/hosts/program.py train …

Parts of features are of 16 photos, so that a few photos are several. The variable
COMMIT stands for the commit of the code.
"""

import importlib.util
import os
import sys
from pathlib import Path

from im21k import cli, weights
from im21k.features import extraction
from im21k.models import registry

PLACE = Path(__file__).parents[1] / "training" / "conftest.py"


def tiny():
  """The model."""
  spec = importlib.util.spec_from_file_location("tiny_model", PLACE)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.Tiny


def main() -> int:
  registry._BUILDERS["tiny"] = tiny()
  extraction._PHOTOS = 16
  if commit := os.environ.get("COMMIT"):
    weights.commit = lambda: commit
  return cli.main(sys.argv[1:])


if __name__ == "__main__":
  sys.exit(main())
