"""Runs an experiment: python experiments/run.py --config=FILE --workdir=DIR

Every key of the config can be set on the command line: --config.batch_size=32.
"""

import json
import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from im21k import parallel
from im21k.training import loop

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Experiment to run.", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run lives.")
_PROFILE = flags.DEFINE_bool(
  "profile", False, "Write a trace of five steps into WORKDIR/profile."
)
flags.mark_flags_as_required(["config", "workdir"])


def main(_: list[str]) -> None:
  logging.set_verbosity(logging.WARNING)  # orbax tells every step of a save
  try:
    config = loop.Config.from_dict(_CONFIG.value.to_dict())
    parallel.set_up(config.devices)
    result = loop.train(config, Path(_WORKDIR.value), profile=_PROFILE.value)
  except (ValueError, OSError, FloatingPointError) as error:
    sys.exit(f"experiments/run.py: {error}")
  print(json.dumps(result))


if __name__ == "__main__":
  app.run(main)
