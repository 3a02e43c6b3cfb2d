"""`im21k`, with the model of the tests: python tests/hosts/program.py train …

Parts of features are of 16 photos, so that a few photos are several.
"""

import importlib.util
import sys
from pathlib import Path

from im21k import cli
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
  return cli.main(sys.argv[1:])


if __name__ == "__main__":
  sys.exit(main())
