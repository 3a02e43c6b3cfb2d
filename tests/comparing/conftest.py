"""A config of sweeps whose runs are stand-ins that take a tenth of a second."""

import json
import sys
from pathlib import Path

import pytest

from im21k.comparing import picture, process

STUB = Path(__file__).with_name("stub_child.py")
DOCUMENT = {
  "data": "nowhere",
  "model": {"name": "inception_bn_21k"},
  "total": {"steps": 4},
  "schedule": {"name": "stepwise", "rates": [0.1, 0.01], "until": {"steps": [2]}},
  "batch_size": 8,
  "seed": 3,
}


@pytest.fixture
def config(tmp_path):
  """The file of a config."""
  path = tmp_path / "config.py"
  path.write_text(f"def get_config():\n  return {json.dumps(DOCUMENT)}\n")
  return path


@pytest.fixture
def stub(monkeypatch):
  """Runs are stand-ins, and no picture is drawn."""
  monkeypatch.setattr(process, "COMMAND", (sys.executable, "-S", str(STUB)))
  monkeypatch.setattr(process, "_EACH_S", 0.01)
  monkeypatch.setattr(picture, "draw", lambda path, runs: False)
