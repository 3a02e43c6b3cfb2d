"""Weights, calibrations and evaluation files of every version written so far.

`formats/` holds what each version's own code wrote: that of the first commit
(2026-11-24), of 0.1.0, and later ones, of a linear model with the numbers below; and an
Inception-BN of 0.1.0. A format that changes gets a sample here, and a row in
docs/reuse.md.
"""

import dataclasses
import json
import shutil
import tarfile
from pathlib import Path

import jax
import numpy as np
import pytest

from im21k import synsets, weights
from im21k.answers import calibration
from im21k.evaluation import results
from im21k.weights import document

FORMATS = Path(__file__).parent / "formats"
FOLDERS = sorted(path for path in FORMATS.iterdir() if path.is_dir())
NEWEST = "0.2.0"
CLASSES = synsets.ClassList("three", ("n01440764", "n01443537", "n01484850"))
KERNEL = (np.arange(144, dtype=np.float32).reshape(48, 3) - 70) / 64
BIAS = np.array([0.5, 0, -0.25], np.float32)
LAMBDAS = {0.5: 0.0, 0.9: 2.5, 0.99: 7.125}


@pytest.fixture
def expected(linear_weights):
  """What every version wrote; makes the linear model known, too."""
  return linear_weights(
    KERNEL,
    BIAS,
    CLASSES,
    input=weights.Input(32, 37, mean=(123.5, 116.25, 103.5), std=58.5),
    scores={"train_top_1": 0.25, "eval_top_1": None, "images": 1200},
    config={"seed": 3, "total": {"epochs": 2}, "mean": 117.0},
  )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_weights_of_every_version_load(expected, folder):
  found = weights.load(folder)
  head = found.variables["params"]["head"]
  np.testing.assert_array_equal(head["kernel"], KERNEL, strict=True)
  np.testing.assert_array_equal(head["bias"], BIAS, strict=True)
  for field in dataclasses.fields(found):
    if field.name != "variables":
      assert getattr(found, field.name) == getattr(expected, field.name)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_calibrations_of_every_version_load(folder):
  found = calibration.load(folder / weights.ARRAYS)
  if folder.name == "2026-11-24":
    assert found is None  # There was no calibration yet.
  else:
    assert found == calibration.Calibration(1.25, LAMBDAS, 200)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_evaluation_files_of_every_version_keep_their_rows(folder, tmp_path):
  path = tmp_path / results.CSV
  shutil.copy(folder / results.CSV, path)
  rows = results.read_rows(path)
  assert len(rows) == 2
  for row in rows:
    assert row.items() >= {"weights": "runs/a, b", "top_1": "0.125"}.items()
    assert row.items() >= {"answers": "all 21,841", "images": "200"}.items()
  results.add_rows(path, [{"date": "now", "top_1": 0.5, "note": "é"}])
  assert [dict(row) for row in results.read_rows(path)[:2]] == [
    {**row, "note": ""} for row in rows
  ]


def test_the_network_of_0_1_0_loads(tmp_path):
  with tarfile.open(FORMATS / "inception-0.1.0.tar.xz") as file:
    file.extractall(tmp_path, filter="data")
  found = weights.load(tmp_path / "inception")
  leaves = jax.tree.leaves(found.variables)
  assert len(leaves) == 416
  for index, leaf in enumerate(leaves):
    assert leaf.dtype == np.float32 and (leaf == (index + 1) / 1024).all()
  assert found.model.pooling == "floor" and found.model.bn_epsilon == 1e-5
  assert found.model.dtype == "bfloat16" and found.input == weights.Input(64, 73)


def test_what_is_written_now_is_the_newest_sample(expected, tmp_path):
  """If it should differ: a new version, a new sample, a row in docs/reuse.md."""
  expected.save(tmp_path)
  arrays = tmp_path / weights.ARRAYS
  calibration.save(arrays, calibration.Calibration(1.25, LAMBDAS, 200))
  for name in (weights.ARRAYS, weights.CLASSES, calibration.DOCUMENT):
    assert (tmp_path / name).read_bytes() == (FORMATS / NEWEST / name).read_bytes()
  now, then = (
    json.loads((folder / weights.DOCUMENT).read_text())
    for folder in (tmp_path, FORMATS / NEWEST)
  )
  assert {**now, "commit": None} == {**then, "commit": None}
  assert then["format_version"] == document.FORMAT_VERSION


@pytest.mark.parametrize("name", [weights.DOCUMENT, calibration.DOCUMENT])
def test_a_later_version_is_refused_with_what_to_do(expected, tmp_path, name):
  folder = tmp_path / "weights"
  shutil.copytree(FORMATS / NEWEST, folder)
  found = json.loads((folder / name).read_text())
  found["format_version"] += 1
  (folder / name).write_text(json.dumps(found))
  with pytest.raises(ValueError, match=r"format_version is \d, but .*: update im21k;"):
    weights.load(folder)
    calibration.load(folder / weights.ARRAYS)
