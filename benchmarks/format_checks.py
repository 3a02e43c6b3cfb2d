"""What a reader may make of a damaged file: what the file says, or one line.

In: a case of `fuzz_formats.py` and its folder. Out: the outcome, or `fuzzing.Finding`.
"""

import functools
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import archive_damage
import numpy as np
import sound_files
from fuzzing import expect, refused
from safetensors.numpy import load as load_safetensors

from im21k import weights
from im21k.answers import calibration
from im21k.dataset.manifest import MANIFEST, Manifest
from im21k.evaluation import results
from im21k.interop import params
from im21k.photos import sources
from im21k.training import log


def check_weights(case: Any, folder: Path) -> str:
  """What loads is what model.json says, and the arrays are those in the file."""
  warm_up()
  try:
    loaded = weights.load(folder)
  except (ValueError, OSError) as error:
    return refused(error, folder)
  document = json.loads((folder / weights.DOCUMENT).read_text("utf-8-sig"))
  said = document["input"]
  expect(loaded.input.size == said["size"], "another size")
  for name in ("mean", "std"):
    value = getattr(loaded.input, name)
    value = list(value) if isinstance(value, tuple) else value
    expect(value == said.get(name, value), f"another {name}")
  expect(loaded.classes.synsets == sound_files.SYNSETS, "other classes")
  for name in ("scores", "config"):
    expect(getattr(loaded, name) == document[name], f"other {name}")
  head = loaded.variables["params"]["head"]
  theirs = load_safetensors((folder / sound_files.ARRAYS).read_bytes())
  for name, array in theirs.items():
    mine = head[name.rpartition("/")[2]]
    expect(mine.dtype == array.dtype and mine.tobytes() == array.tobytes(), name)
  if "checksum holds: True" not in str(case):
    expect(
      (folder / sound_files.ARRAYS).read_bytes()
      == sound_files.sound()[sound_files.ARRAYS],
      "damage was not seen",
    )
  batch = loaded.input.prepare(np.zeros((9, 8, 3), np.uint8))
  expect(np.isfinite(loaded.input.normalize(batch)).all(), "pixels are not finite")
  return "read"


def check_calibration(case: Any, folder: Path) -> str:
  """What loads is what the file says."""
  try:
    loaded = calibration.load(folder / sound_files.ARRAYS)
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
    rows = log.read_rows(folder / sound_files.METRICS)
  except (ValueError, OSError) as error:
    return refused(error, folder)
  expect(all(isinstance(row, dict) for row in rows), "a row is no object")
  return "read"


def check_params(case: Any, folder: Path) -> str:
  """Arrays by name, or one line."""
  try:
    found = params.read(folder / sound_files.PARAMS)
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
    expect(
      came.get(key) == (key[:9], sound_files.photos()[key]),
      f"{key} is untouched, but lost",
    )
  # By its bytes: the long name before a header that is gone is that of the next one.
  classes = {data: synset for synset, data in came.values()}
  for key, data in sound_files.photos().items():
    is_told = problems or case.is_legitimate
    expect(key in came or data in classes or is_told, f"{key} is lost silently")
    label = classes.get(data, key[:9])
    expect(label == key[:9] or case.is_legitimate, f"{key} has the label {label}")
  return "damage reported" if problems else "read"


@functools.cache
def warm_up() -> None:
  """Loads sound weights once, before memory is bounded: JAX starts meanwhile."""
  with tempfile.TemporaryDirectory() as scratch:
    for name, data in sound_files.sound().items():
      (Path(scratch) / name).write_bytes(data)
    loaded = weights.load(Path(scratch))
    loaded.input.normalize(loaded.input.prepare(np.zeros((9, 8, 3), np.uint8)))
