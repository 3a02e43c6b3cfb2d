"""Features and fine-tuning over several hosts, against those of one."""

import hashlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from im21k import models, synsets, weights
from im21k.features import extraction, npz
from im21k.features.extract import features
from im21k.finetuning.finetune import finetune
from im21k.models import registry

PROGRAM = str(Path(__file__).with_name("program.py"))
ENVIRONMENT = {**os.environ, "JAX_PLATFORMS": "cpu"}


@pytest.fixture
def released(tmp_path, monkeypatch):
  """Weights of the tests' model, with random parameters."""
  tiny = runpy.run_path(PROGRAM)["tiny"]()
  monkeypatch.setitem(registry._BUILDERS, "tiny", tiny)
  classes = synsets.imagenet21k()
  model = models.create("tiny", num_classes=len(classes))
  images = np.zeros((1, 32, 32, 3), np.float32)
  variables = jax.device_get(model.init(jax.random.key(0), images, train=False))
  weights.Weights(
    model_name="tiny",
    model_fields={"num_classes": len(classes)},
    variables=variables,
    input=weights.Input(size=32, short_side=37),
    classes=classes,
  ).save(tmp_path / "weights")
  return tmp_path / "weights"


def command(*given, hosts=1):
  line = [sys.executable, PROGRAM]
  many = [*line, "launch", f"--hosts={hosts}", "--"] if hosts > 1 else []
  return [*many, *line, *map(str, given)]


def run(*given, hosts=1, status=0):
  done = subprocess.run(
    command(*given, hosts=hosts), env=ENVIRONMENT, capture_output=True, text=True
  )
  said = done.stdout + done.stderr
  assert done.returncode == status, said
  return said


def digest(path):
  files = [path] if path.is_file() else sorted(path.iterdir())
  return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
  """As in the program."""
  monkeypatch.setattr(extraction, "_PHOTOS", 16)


COUNTS = {"n01443537": 15, "n02121620": 11, "n03481172": 17}


@pytest.mark.parametrize(
  ("kind", "name", "status"),
  [("classes", "folder", 1), ("tar", "f.npz", 0), ("packed", "folder", 0)],
)
def test_two_hosts_write_the_bytes_of_one(
  released, photos, kept_as, tmp_path, kind, name, status
):
  """Of the first, one photo cannot be decoded."""
  source = kept_as(kind, photos(COUNTS))
  if kind == "classes":
    (source / "n01443537" / "bad.jpg").write_bytes(b"no photo")
  one, two = tmp_path / "one" / name, tmp_path / "two" / name
  for place in (one, two):
    place.parent.mkdir()
  features(released, source, one, batch_size=8, devices=2)
  asked = "features", released, source, two, "--batch-size=8", "--devices=1"
  said = run(*asked, hosts=2, status=status)
  assert "43 with features" in said and "[1]" not in said
  assert digest(one) == digest(two)
  assert len(npz.read(two).keys) == 43
  if kind == "tar":  # All is done already.
    again = run(*asked, hosts=2)
    assert "43 with features" in again and digest(one) == digest(two)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_killed_hosts_are_resumed_and_end_in_the_same_bytes(
  released, sample_photos, tmp_path, killed
):
  whole, folder = tmp_path / "whole", tmp_path / "broken"
  asked = "features", released, sample_photos
  features(*asked[1:], whole, batch_size=8, devices=2)
  line = command(*asked, folder, "--batch-size=8", "--devices=1", hosts=2)
  with subprocess.Popen(line, env=ENVIRONMENT, stderr=subprocess.PIPE) as process:
    while process.poll() is None and not (folder / "part-00001.json").exists():
      time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    os.kill(int(children.split()[killed]), signal.SIGKILL)
    _, said = process.communicate()
  lost = f"[{1 - killed}] im21k: host {killed} (".encode()
  assert process.returncode == 1 and lost in said, said.decode()
  assert not (folder / "features.json").exists()
  run(*asked, folder, "--batch-size=8", "--devices=1", hosts=2)
  assert digest(folder) == digest(whole)


def test_a_batch_that_hosts_cannot_share_is_one_line(released, sample_photos, tmp_path):
  asked = "features", released, sample_photos, tmp_path / "f.npz"
  said = run(*asked, "--batch-size=9", "--devices=1", hosts=2, status=1)
  assert "batch_size 9 is not divisible by the 2 hosts with 1 device each" in said
  assert "Traceback" not in said
  assert not (tmp_path / "f.npz").exists()


@pytest.mark.slow
def test_hosts_train_all_parameters_together(released, photos, tmp_path):
  data = photos(COUNTS)
  for name in COUNTS:  # Own classes.
    (data / name).rename(data / f"my {name}")
  asked = "--trunk=train", "--steps=6", "--batch-size=8"
  with_one = {"trunk": "train", "steps": 6, "batch_size": 8, "devices": 2}
  one = finetune(released, data, tmp_path / "one", **with_one)
  out = tmp_path / "two"
  said = run("finetune", released, data, out, *asked, "--devices=1", hosts=2)
  assert "3 classes, trained on 35 photos, 8 held out" in said
  assert not [line for line in said.splitlines() if line.startswith("[1]")]
  result = json.loads((out / "finetune.json").read_text())["result"]
  assert result["top_1"] == one["top_1"]
  first, second = (
    load_file(Path(folder) / "weights" / weights.ARRAYS)
    for folder in (tmp_path / "one", out)
  )
  for name, array in first.items():
    np.testing.assert_allclose(second[name], array, rtol=0, atol=2e-6, err_msg=name)
  rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
  assert rows[-1]["step"] == 6
  before = (out / "weights" / weights.ARRAYS).stat().st_mtime_ns
  again = run("finetune", released, data, out, *asked, "--devices=1", hosts=2)
  assert "3 classes, trained on 35 photos" in again
  assert (out / "weights" / weights.ARRAYS).stat().st_mtime_ns == before


@pytest.mark.slow
def test_hosts_that_have_nothing_to_train_end_with_the_first(
  released, photos, tmp_path
):
  said = run("finetune", released, photos(COUNTS), tmp_path / "out", hosts=2)
  assert "trunk: frozen" in said and "2 hosts ended" in said
