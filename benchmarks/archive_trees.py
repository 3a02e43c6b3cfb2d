"""Random trees of photos, packed from every form that they can have, and damaged.

Each tree (nested and hidden folders, links, pipes, names in any encoding) is packed as
a folder, tar, tar.gz, tar of class tars and folder of class tars: the shards must be
the same bytes and the same photos must be rejected. Its tars are then damaged (flipped
bits, cuts, holes of zeros, inserted and removed bytes), and what is read from them is
compared with what was there.

  PYTHONPATH=. python benchmarks/archive_trees.py --trees 500

Columns: trees; packs; differing: packs with other bytes than that of the folder;
damaged: archives; photos: in those, of which read: still given; wrong_labels;
wrong_keys, other_bytes: photos given under a name or with bytes that they do not have;
untold: photos of which bytes are neither read nor counted as lost.
Bytes that were removed so that another header stands where one should be cannot be
seen in a tar. Ends with status 1 if packs differ or a label is wrong.
"""

import argparse
import hashlib
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import simplejpeg

from im21k import photos
from im21k.packing.pack import pack

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "photos"))
import trees  # noqa: E402


def main() -> int:
  """Packs and damages trees; prints a JSON row."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--trees", type=int, default=500)
  parser.add_argument("--damages", type=int, default=10, help="for each tree")
  parser.add_argument("--seed", type=int, default=0)
  given = parser.parse_args()
  counts: Counter[str] = Counter()
  for seed in range(given.seed, given.seed + given.trees):
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
      _pack_all(rng, Path(folder), counts, seed)
    with tempfile.TemporaryDirectory() as folder:
      _damage(rng, Path(folder), counts, seed, given.damages)
  names = "differing", "damaged", "photos", "read", "wrong_labels", "wrong_keys"
  row = {"table": "archive-trees", "trees": given.trees, "packs": counts["packs"]}
  row |= {name: counts[name] for name in (*names, "other_bytes", "untold")}
  command = f"python benchmarks/archive_trees.py --trees {given.trees}"
  print(json.dumps({**row, "source": "measured", "command": command}))
  return int(bool(counts["differing"] or counts["wrong_labels"]))


def _pack_all(rng: random.Random, folder: Path, counts: Counter, seed: int) -> None:
  made = trees.tree(rng, _jpeg)
  if not any(made.photos()):
    return
  first = None
  for form, path in trees.forms(made, rng, folder).items():
    if form == "wrapped" and "README.txt" in made.files:
      continue  # Nothing is beside the classes there.
    for shuffle in ("direct", "external") if form == "folder" else ("external",):
      out = folder / f"packed {form} {shuffle}"
      small = {"memory": 0.01} if shuffle == "external" else {}
      result = pack(path, out, shards=2, workers=1, shuffle=shuffle, **small)
      counts["packs"] += 1
      digest = _digest(out)
      first = first or digest
      if digest != first or "failed" in result:
        counts["differing"] += 1
        print(f"tree {seed}, {form}, {shuffle}: {result}", file=sys.stderr)


def _digest(out: Path) -> tuple[str, tuple[str, ...]]:
  """A hash of the shards; the keys of what was rejected."""
  whole = hashlib.sha256()
  for path in sorted(out.glob("*.array_record")):
    whole.update(path.name.encode() + path.read_bytes())
  rows = (out / "rejected.tsv").read_text(encoding="utf-8").splitlines()[1:]
  return whole.hexdigest(), tuple(sorted(row.split("\t")[0] for row in rows))


def _jpeg(rng: random.Random) -> bytes:
  """A small photo, and bytes behind its end, which belong to it."""
  pixels = np.random.default_rng(rng.getrandbits(32)).integers(
    0, 256, (rng.randint(2, 24), rng.randint(2, 24), 3), np.uint8
  )
  jpeg: bytes = simplejpeg.encode_jpeg(pixels, 80)
  return jpeg + trees.random_bytes(rng)


def _damage(
  rng: random.Random, folder: Path, counts: Counter, seed: int, damages: int
) -> None:
  made = trees.tree(rng, trees.random_bytes)
  forms = trees.forms(made, rng, folder)
  for number in range(damages):
    path = forms[rng.choice(["tar", "tar of tars"])]
    archive = path.read_bytes()
    kind = trees.DAMAGES[number % len(trees.DAMAGES)]
    data, damage = trees.hurt(archive, kind, rng)
    path.write_bytes(data)
    found = list(photos.open(path))
    path.write_bytes(archive)
    counts["damaged"] += 1
    counts["photos"] += len(made.photos())
    counts["read"] += sum(bool(p.synset) and not p.problem for p in found)
    for fault in trees.faults(made, archive, damage, found):
      if fault.endswith("no such photo"):
        counts["wrong_keys"] += 1
      elif fault.endswith("other bytes"):
        counts["other_bytes"] += 1
      elif "accounted" in fault or "nothing says" in fault:
        counts["untold"] += 1
      else:
        counts["wrong_labels"] += 1
      print(f"tree {seed}, {path.name}, {damage}: {fault}", file=sys.stderr)


if __name__ == "__main__":
  sys.exit(main())
