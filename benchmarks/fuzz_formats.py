"""Weights, calibrations, scores, manifests and archives with damage in every place.

Each case damages one file of a small sound folder: edits of its JSON tree, absurd
numbers, flips, cuts, holes of zeros and splices of its bytes, at times with a checksum
made to hold again. A reader may give one line that names the file, or what the file
says: values are compared with the sound ones, or with those of an independent reader.
Photos of an archive outside the damage must come, and whatever does not come must be
reported. For bounds, findings and columns see `fuzzing.py`.

  python benchmarks/fuzz_formats.py --seconds 60 --seed 1
"""

import functools
import gzip
import hashlib
import io
import json
import os
import random
import struct
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import archive_damage
import fuzzing
import mutations
import numpy as np
from flax import linen as nn
from fuzzing import expect, refused
from PIL import Image
from safetensors.numpy import load as load_safetensors

from im21k import synsets, weights
from im21k.answers import calibration
from im21k.dataset.manifest import MANIFEST, Manifest
from im21k.evaluation import results
from im21k.interop import params
from im21k.models import registry
from im21k.photos import sources
from im21k.training import log

ARRAYS, DOCUMENT, CLASSES = "weights.safetensors", "model.json", "classes.txt"
METRICS, PARAMS = "metrics.jsonl", "a.params"
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
def warm_up() -> None:
  """Loads sound weights once, before memory is bounded: JAX starts meanwhile."""
  with tempfile.TemporaryDirectory() as scratch:
    write(Path(scratch), sound(), "", b"")
    loaded = weights.load(Path(scratch))
    loaded.input.normalize(loaded.input.prepare(np.zeros((9, 8, 3), np.uint8)))


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


def damage_document(name: str, rng: random.Random, folder: Path) -> str:
  """A JSON file of a sound folder is damaged."""
  files = packed() if name == MANIFEST else sound()
  if rng.random() < 0.7:
    changed = mutations.tree(rng, json.loads(files[name]))
    data = mutations.text(rng, changed)
  else:
    data = mutations.damaged(rng, files[name], files[CLASSES])
  return write(folder, files, name, data)


def damage_bytes(name: str, rng: random.Random, folder: Path) -> str:
  """Another file of the sound folder is damaged."""
  data = mutations.damaged(rng, sound()[name], sound()[DOCUMENT])
  if name == CLASSES and rng.random() < 0.1:
    data = rng.choice((b"\n", b"n01440764\n", b"n")) * rng.choice((10**6, 10**7))
  return write(folder, sound(), name, data)


def damage_arrays(rng: random.Random, folder: Path) -> str:
  """The header's tree or the bytes are damaged; a stranger's checksum may hold."""
  data = sound()[ARRAYS]
  (length,) = struct.unpack("<Q", data[:8])
  if rng.random() < 0.6:
    header = mutations.tree(rng, json.loads(data[8 : 8 + length]))
    text = mutations.text(rng, header)
    said = len(text) if rng.random() < 0.9 else rng.choice((0, 2**22, 2**63, len(data)))
    data = struct.pack("<Q", said) + text + data[8 + length :]
  else:
    data = mutations.damaged(rng, data)
  write(folder, sound(), ARRAYS, data)
  if holds := rng.random() < 0.7:
    document = json.loads(sound()[DOCUMENT])
    document["arrays_sha256"] = hashlib.sha256(data).hexdigest()
    (folder / DOCUMENT).write_text(json.dumps(document))
  return f"checksum holds: {holds}; {data[:200]!r}"


def write(folder: Path, files: dict[str, bytes], name: str, data: bytes) -> str:
  """Writes the folder with one file changed."""
  for other, content in files.items():
    (folder / other).write_bytes(data if other == name else content)
  return f"{name}: {data[:300]!r}"


def check_weights(case: Any, folder: Path) -> str:
  """What loads is what model.json says, and the arrays are those in the file."""
  warm_up()
  try:
    loaded = weights.load(folder)
  except (ValueError, OSError) as error:
    return refused(error, folder)
  document = json.loads((folder / DOCUMENT).read_text("utf-8-sig"))
  said = document["input"]
  expect(loaded.input.size == said["size"], "another size")
  for name in ("mean", "std"):
    value = getattr(loaded.input, name)
    value = list(value) if isinstance(value, tuple) else value
    expect(value == said.get(name, value), f"another {name}")
  expect(loaded.classes.synsets == SYNSETS, "other classes")
  for name in ("scores", "config"):
    expect(getattr(loaded, name) == document[name], f"other {name}")
  head = loaded.variables["params"]["head"]
  theirs = load_safetensors((folder / ARRAYS).read_bytes())
  for name, array in theirs.items():
    mine = head[name.rpartition("/")[2]]
    expect(mine.dtype == array.dtype and mine.tobytes() == array.tobytes(), name)
  if "checksum holds: True" not in str(case):
    expect((folder / ARRAYS).read_bytes() == sound()[ARRAYS], "damage was not seen")
  batch = loaded.input.prepare(np.zeros((9, 8, 3), np.uint8))
  expect(np.isfinite(loaded.input.normalize(batch)).all(), "pixels are not finite")
  return "read"


def check_calibration(case: Any, folder: Path) -> str:
  """What loads is what the file says."""
  try:
    loaded = calibration.load(folder / ARRAYS)
  except (ValueError, OSError) as error:
    return refused(error, folder)
  document = json.loads((folder / calibration.DOCUMENT).read_text("utf-8-sig"))
  expect(loaded is not None, "a calibration was passed over")
  assert loaded
  expect(loaded.temperature == document["temperature"], "another temperature")
  said = document.get("lambdas", document.get("trades"))
  expect(
    loaded.lambdas == {float(a): float(v) for a, v in said.items()}, "other lambdas"
  )
  p = loaded.probabilities(np.array([[1, 2, -3]], np.float32))
  expect(np.isfinite(p).all(), "probabilities are not finite")
  return "read"


def check_rows(case: Any, folder: Path) -> str:
  """What is read can be written back and read again."""
  path = folder / results.CSV
  try:
    rows = results.read_rows(path)
  except (ValueError, OSError) as error:
    return refused(error, folder)
  path.write_text(results.as_csv(rows) if rows else "", encoding="utf-8", newline="")
  expect(results.read_rows(path) == rows, "rows change when they are written back")
  return "read"


def check_metrics(case: Any, folder: Path) -> str:
  """Rows are objects, or there is one line."""
  try:
    rows = log.read_rows(folder / METRICS)
  except (ValueError, OSError) as error:
    return refused(error, folder)
  expect(all(isinstance(row, dict) for row in rows), "a row is no object")
  return "read"


def check_params(case: Any, folder: Path) -> str:
  """Arrays by name, or one line."""
  try:
    found = params.read(folder / PARAMS)
  except (ValueError, OSError) as error:
    return refused(error, folder)
  expect(all(isinstance(array, np.ndarray) for array in found.values()), "no arrays")
  return "read"


def check_manifest(case: Any, folder: Path) -> str:
  """The shards are those of the document."""
  try:
    loaded = Manifest.load(folder)
    loaded.classes(folder)
    for split in loaded.splits:
      loaded.shard_paths(folder, split)
  except (ValueError, OSError) as error:
    return refused(error, folder)
  document = json.loads((folder / MANIFEST).read_text("utf-8-sig"))
  for split, shards in loaded.splits.items():
    said = document["splits"][split]["shards"]
    found = [[shard.name, shard.count, shard.bytes] for shard in shards]
    expect(found == [[s["name"], s["count"], s["bytes"]] for s in said], split)
  return "read"


def damage_archive(rng: random.Random, folder: Path) -> archive_damage.Case:
  """A tar of the photos, damaged."""
  case, data = archive_damage.damaged(rng, archive_damage.tar_of(rng, photos()))
  (folder / "photos.tar").write_bytes(data)
  return case


def damage_gzip(rng: random.Random, folder: Path) -> archive_damage.Case:
  """The same, gzipped before or after."""
  tar = archive_damage.tar_of(rng, photos())
  if rng.random() < 0.3:
    case, data = archive_damage.damaged(rng, tar)
    data = gzip.compress(data, mtime=0)
  else:
    pieces = [tar] if rng.random() < 0.5 else [tar[:3072], tar[3072:]]
    data = b"".join(gzip.compress(piece, mtime=0) for piece in pieces)
    data = mutations.damaged(rng, data)
    case = archive_damage.Case("damage of the gzipped bytes", frozenset(), False)
  (folder / "photos.tar.gz").write_bytes(data)
  return case


def check_archive(case: archive_damage.Case, folder: Path) -> str:
  """Photos outside the damage come as they are, and losses are reported."""
  (path,) = folder.iterdir()
  came, problems = {}, []
  try:
    for photo in sources.open(path):
      if photo.problem:
        expect(photo.problem[1].isprintable(), f"not one line: {photo.problem}")
        problems.append(photo.problem)
      else:
        came[photo.key] = (photo.synset, photo.data)
  except (ValueError, OSError, tarfile.TarError) as error:
    return refused(error, folder)
  for key in case.untouched:
    expect(came.get(key) == (key[:9], photos()[key]), f"{key} is untouched, but lost")
  # By its bytes: the long name before a header that is gone is that of the next one.
  classes = {data: synset for synset, data in came.values()}
  for key, data in photos().items():
    is_told = problems or case.is_legitimate
    expect(key in came or data in classes or is_told, f"{key} is lost silently")
    label = classes.get(data, key[:9])
    expect(label == key[:9] or case.is_legitimate, f"{key} has the label {label}")
  return "damage reported" if problems else "read"


KINDS = {
  "model.json": (functools.partial(damage_document, DOCUMENT), check_weights),
  "safetensors": (damage_arrays, check_weights),
  "classes.txt": (functools.partial(damage_bytes, CLASSES), check_weights),
  "calibration.json": (
    functools.partial(damage_document, calibration.DOCUMENT),
    check_calibration,
  ),
  "evaluation.csv": (functools.partial(damage_bytes, results.CSV), check_rows),
  "metrics.jsonl": (functools.partial(damage_bytes, METRICS), check_metrics),
  "params": (functools.partial(damage_bytes, PARAMS), check_params),
  "manifest.json": (functools.partial(damage_document, MANIFEST), check_manifest),
  "tar": (damage_archive, check_archive),
  "tar.gz": (damage_gzip, check_archive),
}

if __name__ == "__main__":
  sys.exit(fuzzing.main(KINDS, __doc__))
