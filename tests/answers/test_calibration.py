"""calibration.json: what is read is what was written, for the same weights only."""

import json
import subprocess
import sys

import numpy as np
import pytest

from im21k.answers import calibration
from im21k.answers.calibration import Calibration


@pytest.fixture
def arrays(tmp_path):
  """A file of arrays, as far as calibration looks into it."""
  path = tmp_path / "weights.safetensors"
  path.write_bytes(b"arrays")
  return path


def test_what_is_read_is_what_was_written(arrays):
  assert calibration.load(arrays) is None
  written = Calibration(1.25, {0.5: 0.0, 0.95: 3.5}, 200)
  calibration.save(arrays, written)
  assert calibration.load(arrays) == written


def test_a_file_of_version_0_1_is_read(arrays):
  calibration.save(arrays, Calibration(2.0, {0.9: 1.5}, 5))
  path = arrays.parent / calibration.DOCUMENT
  document = json.loads(path.read_text())
  document["trades"] = document.pop("lambdas")
  path.write_text(json.dumps(document))
  assert calibration.load(arrays) == Calibration(2.0, {0.9: 1.5}, 5)


def test_a_file_of_other_weights_is_refused(arrays):
  calibration.save(arrays, Calibration(2.0))
  arrays.write_bytes(b"others")
  with pytest.raises(ValueError, match="belongs to other weights: run im21k calibrate"):
    calibration.load(arrays)


@pytest.mark.parametrize(
  "change",
  [
    {"temperature": 0},
    {"temperature": float("nan")},
    {"lambdas": 3},
    {"lambdas": {"0.9": float("inf")}},
    {"lambdas": {"much": 1}},
    {"images": None},
    [],
    "x",
  ],
)
def test_a_damaged_file_is_refused(arrays, change):
  calibration.save(arrays, Calibration(2.0, {0.9: 1.0}, 5))
  path = arrays.parent / calibration.DOCUMENT
  document = json.loads(path.read_text())
  path.write_text(
    json.dumps({**document, **change} if isinstance(change, dict) else change)
  )
  with pytest.raises(ValueError, match=r"calibration\.json is damaged"):
    calibration.load(arrays)


def test_an_accuracy_that_was_not_calibrated_is_refused():
  calibrated = Calibration(1.0, {0.5: 0.0, 0.9: 2.0}, 5)
  assert calibrated.lambda_for(0.9) == 2
  with pytest.raises(ValueError, match=r"0\.42 was not calibrated, only 0\.5, 0\.9"):
    calibrated.lambda_for(0.42)


def test_probabilities_are_the_softmax_at_the_temperature(rng):
  logits = (100 * rng.normal(size=(150, 7))).astype(np.float32)
  exact = np.exp((logits - logits.max(1, keepdims=True)).astype(np.float64) / 2.5)
  exact /= exact.sum(1, keepdims=True)
  before = logits.copy()
  p = Calibration(2.5).probabilities(logits)
  np.testing.assert_allclose(p, exact, rtol=1e-4, atol=1e-7)
  assert p.dtype == np.float32
  np.testing.assert_array_equal(logits, before)
  np.testing.assert_array_equal(
    Calibration().probabilities(logits), calibration.softmax(logits)
  )


@pytest.mark.slow
@pytest.mark.parametrize("module", ["rules", "hedge", "calibration", "naming"])
def test_answers_need_no_jax(module):
  code = f"import im21k.answers.{module}, sys; print('jax' in sys.modules)"
  run = [sys.executable, "-c", code]
  done = subprocess.run(run, capture_output=True, text=True, check=True)
  assert done.stdout == "False\n"
