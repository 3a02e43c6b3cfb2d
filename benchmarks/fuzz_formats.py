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
import json
import os
import random
import struct
import sys
from pathlib import Path

os.environ |= {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}

import archive_damage
import format_checks
import fuzzing
import mutations
from sound_files import ARRAYS, METRICS, PARAMS, packed, photos, sound

from im21k.answers.calibration import DOCUMENT as CALIBRATION
from im21k.dataset.manifest import MANIFEST
from im21k.evaluation.results import CSV
from im21k.weights import CLASSES, DOCUMENT


def damage_document(name: str, rng: random.Random, folder: Path) -> str:
  """A JSON file of a sound folder is damaged."""
  files = packed() if name == MANIFEST else sound()
  if rng.random() < 0.7:
    changed = mutations.tree(rng, json.loads(files[name]))
    data = mutations.text(rng, changed)
  else:
    data = mutations.damaged(rng, files[name], files[CLASSES])
  return write(folder, files, name, data)


def damage_network(rng: random.Random, folder: Path) -> str:
  """The document describes a network with absurd fields, or absurd photos for it."""
  document = json.loads(sound()[DOCUMENT])
  fields = {
    "num_classes": 3, "width": 0.25, "table": "plain", "dtype": "float32",
    "bn_epsilon": 1e-5, "init_scale": 0.01, "pooling": "ceil", "remat": "none",
  }  # fmt: skip
  document["model"] = {"name": "inception_bn_1k", "fields": mutations.tree(rng, fields)}
  size = rng.choice((1, 7, 31, 32, 224, 4096))
  document["input"] = {"size": size, "short_side": size}
  data = json.dumps(document).encode()
  return write(folder, sound(), DOCUMENT, data)


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


KINDS = {
  "model.json": (
    functools.partial(damage_document, DOCUMENT),
    format_checks.check_weights,
  ),
  "network": (damage_network, format_checks.check_weights),
  "safetensors": (damage_arrays, format_checks.check_weights),
  "classes.txt": (
    functools.partial(damage_bytes, CLASSES),
    format_checks.check_weights,
  ),
  "calibration.json": (
    functools.partial(damage_document, CALIBRATION),
    format_checks.check_calibration,
  ),
  "evaluation.csv": (functools.partial(damage_bytes, CSV), format_checks.check_rows),
  "metrics.jsonl": (
    functools.partial(damage_bytes, METRICS),
    format_checks.check_metrics,
  ),
  "params": (functools.partial(damage_bytes, PARAMS), format_checks.check_params),
  "manifest.json": (
    functools.partial(damage_document, MANIFEST),
    format_checks.check_manifest,
  ),
  "tar": (damage_archive, format_checks.check_archive),
  "tar.gz": (damage_gzip, format_checks.check_archive),
}

if __name__ == "__main__":
  sys.exit(fuzzing.main(KINDS, __doc__))
