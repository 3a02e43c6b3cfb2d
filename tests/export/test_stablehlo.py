"""Serialized StableHLO: JAX alone runs it, for any batch."""

import json
import subprocess
import sys

import numpy as np
import pytest

from im21k.export import comparison, stablehlo
from im21k.export.hedging import Hedging
from im21k.export.program import Program
from im21k.synsets import hierarchy

ALONE = """
import sys

sys.modules["im21k"] = sys.modules["flax"] = None  # Importing them is an error.
import numpy as np
from jax import export

with open(f"{sys.argv[1]}/model.stablehlo", "rb") as file:
  program = export.deserialize(bytearray(file.read()))
images = np.load(f"{sys.argv[1]}/images.npy")
np.savez(f"{sys.argv[1]}/outputs.npz", **program.call(images))
"""


@pytest.fixture(autouse=True)
def flatbuffers(need_for):
  need_for("jax")


@pytest.mark.parametrize("size", [64, 224])
def test_logits_are_those_of_jax_for_any_batch(narrow, with_size, tmp_path, rng, size):
  program = Program(with_size(narrow, size))
  assert stablehlo.write(program, tmp_path) < 1e-6
  run = stablehlo.runner((tmp_path / "model.stablehlo").read_bytes())
  images = rng.integers(0, 256, (7, size, size, 3), np.uint8)
  expected = comparison.reference(program, images)
  assert comparison.difference(run(images)["logits"], expected) < 1e-6
  assert comparison.difference(run(images[:1])["logits"], expected[:1]) < 1e-6


def test_jax_alone_runs_it(narrow, tmp_path, rng):
  hedging = Hedging(hierarchy.over(narrow.classes), 0.7, 0.9, 1.5)
  program = Program(narrow, hedging)
  stablehlo.write(program, tmp_path)
  images = rng.integers(0, 256, (3, 64, 64, 3), np.uint8)
  np.save(tmp_path / "images.npy", images)
  subprocess.run([sys.executable, "-c", ALONE, tmp_path], check=True, cwd=tmp_path)
  outputs = np.load(tmp_path / "outputs.npz")
  assert set(outputs) == {"logits", "probabilities", "node", "node_probability"}
  expected = comparison.reference(program, images)
  assert comparison.difference(outputs["logits"], expected) < 1e-6
  comparison.check_answers(hedging, "it", outputs)


def test_the_description_says_where_it_runs(narrow, tmp_path):
  stablehlo.write(Program(narrow), tmp_path)
  described = json.loads((tmp_path / "im21k.json").read_text())
  assert described["platforms"] == ["cpu", "cuda", "tpu"]
  assert described["answers"] is None


def test_another_program_than_that_of_jax_is_not_written(narrow, tmp_path, monkeypatch):
  monkeypatch.setattr(
    comparison, "reference", lambda program, images: np.ones((len(images), 10))
  )
  with pytest.raises(ValueError, match=r"differs from JAX by .* nothing is written"):
    stablehlo.write(Program(narrow), tmp_path)
  assert not list(tmp_path.iterdir())
