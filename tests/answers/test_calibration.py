"""calibration.json: what is read is what was written, for the same weights only."""

import json
import os
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


@pytest.mark.parametrize("name", ["trades", "lambdas"])
def test_a_file_of_the_first_version_is_read(arrays, name):
  calibration.save(arrays, Calibration(2.0, {0.9: 1.5}, 5))
  path = arrays.parent / calibration.DOCUMENT
  document = json.loads(path.read_text())
  del document["format_version"]
  document[name] = document.pop("lambdas")
  path.write_text(json.dumps(document))
  assert calibration.load(arrays) == Calibration(2.0, {0.9: 1.5}, 5)


def test_a_file_of_other_weights_is_refused(arrays):
  calibration.save(arrays, Calibration(2.0))
  arrays.write_bytes(b"others")
  with pytest.raises(ValueError, match="belongs to other weights: run im21k calibrate"):
    calibration.load(arrays)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"format_version": 3}, "format_version is 3, but this im21k reads 2: update"),
    ({"format_version": 1}, "format_version is 1"),
    ({"format_version": True}, "format_version is True"),
    ({"temperature": 0}, "temperature is 0, but must be a finite number"),
    ({"temperature": -1}, "temperature is -1"),
    ({"temperature": 1e-320}, "temperature is 1e-320"),
    ({"temperature": 10**400}, "temperature is 10"),
    ({"temperature": True}, "temperature is True"),
    ({"temperature": "1"}, "temperature is '1'"),
    ({"temperature": float("nan")}, "damaged"),
    ({"lambdas": 3}, "lambdas is 3, but must be a JSON object"),
    ({"lambdas": [0.9, 1]}, "lambdas is"),
    ({"lambdas": {"0.9": float("inf")}}, "damaged"),
    ({"lambdas": {"0.9": -1}}, "lambdas.0.9 is -1"),
    ({"lambdas": {"0.9": None}}, "lambdas.0.9 is None"),
    ({"lambdas": {"much": 1}}, "lambdas.much is no accuracy"),
    ({"lambdas": {"nan": 1}}, "lambdas.nan is no accuracy"),
    ({"lambdas": {"1.5": 1}}, "lambdas.1.5 is no accuracy"),
    ({"lambdas": {"0": 1}}, "lambdas.0 is no accuracy"),
    (
      {"lambdas": {"0.9": 1, "0.90": 2}},
      "lambdas.0.90 is an accuracy that comes twice",
    ),
    ({"lambdas": {"0.9": 2, "0.5": 3}}, "lambdas must not fall as accuracy grows"),
    ({"images": None}, "images is None"),
    ({"images": -1}, "images is -1"),
    ({"images": 2.5}, "images is 2.5"),
    ({"arrays_sha256": 7}, "arrays_sha256 is 7"),
    ({"trades": {}}, "trades is not a field of this format"),
    ([], "not a JSON object"),
    ("x", "not a JSON object"),
  ],
)
def test_a_damaged_file_is_refused(arrays, change, message):
  calibration.save(arrays, Calibration(2.0, {0.9: 1.0}, 5))
  path = arrays.parent / calibration.DOCUMENT
  document = json.loads(path.read_text())
  path.write_text(
    json.dumps({**document, **change} if isinstance(change, dict) else change)
  )
  with pytest.raises(ValueError, match=message) as caught:
    calibration.load(arrays)
  line = str(caught.value)
  assert line.startswith(str(path)) and line.endswith("run im21k calibrate again")
  assert line.isprintable() and len(line) < 400


@pytest.mark.parametrize("field", ["arrays_sha256", "temperature", "lambdas", "images"])
def test_a_missing_field_is_named(arrays, field):
  calibration.save(arrays, Calibration(2.0, {0.9: 1.0}, 5))
  path = arrays.parent / calibration.DOCUMENT
  document = json.loads(path.read_text())
  del document[field]
  path.write_text(json.dumps(document))
  with pytest.raises(ValueError, match=f"calibration.json: {field} is missing"):
    calibration.load(arrays)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_passed_over(arrays, make):
  make(arrays.parent / calibration.DOCUMENT)
  with pytest.raises(ValueError, match=r"calibration\.json is not a regular file"):
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
