"""Small sound files of every format, which the fuzzer damages.

Out: the files of a folder by name, in bytes, as this im21k writes them.
"""

import functools
import io
import json
import tempfile
from pathlib import Path

import numpy as np
from flax import linen as nn
from PIL import Image

from im21k import synsets, weights
from im21k.answers import calibration
from im21k.evaluation import results
from im21k.interop import params
from im21k.models import registry

ARRAYS, METRICS, PARAMS = "weights.safetensors", "metrics.jsonl", "a.params"
SYNSETS = ("n01440764", "n01443537", "n01484850")


@registry.register
class fuzzed_linear(nn.Module):
  """Logits from mean colours, for weights of a few hundred bytes."""

  num_classes: int = 3

  @nn.compact
  def __call__(self, x, *, train):
    return nn.Dense(self.num_classes, name="head")(x.mean(axis=(1, 2))), {}


@functools.cache
def sound() -> dict[str, bytes]:
  """The files of a sound folder by name."""
  with tempfile.TemporaryDirectory() as scratch:
    folder = Path(scratch)
    kernel = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    weights.Weights(
      model_name="fuzzed_linear",
      model_fields={"num_classes": 3},
      variables={"params": {"head": {"kernel": kernel, "bias": kernel[0]}}},
      input=weights.Input(32, 37, mean=(123.5, 116.25, 103.5)),
      classes=synsets.ClassList("three", SYNSETS),
      scores={"eval_top_1": 0.25},
      config={"seed": 3, "total": {"epochs": 2}},
    ).save(folder)
    lambdas = {0.5: 0.0, 0.9: 2.5, 0.99: 7.125}
    calibration.save(folder / ARRAYS, calibration.Calibration(1.25, lambdas, 200))
    row = {"date": "2026", "answers": "all 3", "images": 200, "top_1": 0.125}
    results.add_rows(folder / results.CSV, [row, {**row, "note": 'a, "b"\né'}])
    rows = [{"step": step, "train_loss": 1 / step} for step in (1, 2, 4)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / METRICS).write_text(text)
    params.write(folder / PARAMS, {"arg:w": kernel, "aux:v": kernel[0]})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@functools.cache
def packed() -> dict[str, bytes]:
  """The files of packed photos by name."""
  from im21k.packing.pack import pack

  with tempfile.TemporaryDirectory() as scratch:
    root = Path(scratch)
    for name, data in photos().items():
      (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
      (root / "photos" / name).write_bytes(data)
    pack(root / "photos", root / "out", eval_per_class=1, shards=2, workers=1)
    files = (path for path in (root / "out").iterdir() if path.is_file())
    return {path.name: path.read_bytes() for path in files}


@functools.cache
def photos() -> dict[str, bytes]:
  """Six photos by their path."""
  made = {}
  for index in range(6):
    pixels = np.random.default_rng(index).integers(0, 256, (9, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((40, 30)).save(file, "JPEG")
    made[f"{SYNSETS[index % 3]}/{index}.jpg"] = file.getvalue()
  return made
