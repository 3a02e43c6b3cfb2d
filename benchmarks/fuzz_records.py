"""Damaged .rec, .lst, TSV, manifests and shards through `photos.open`, pack and verify.

Each case damages something sound whose content is known. What comes out must be what
went in, under its key and with its class, or be reported: as a row, as bytes that are
lost, or as one line that names the file. `fuzzing.py` bounds time and memory.

  PYTHONPATH=. python benchmarks/fuzz_records.py --seconds 60

A .rec and a text have no checksums: of those, what was not damaged is compared; of
shards all. Columns: those of `fuzzing.py`; reader is rec, lst, tsv, manifest or shard.
"""

import functools
import json
import random
import re
import shutil
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import fuzzing
import mutations
import numpy as np
from fuzzing import expect

from im21k import photos
from im21k.loading.train import TrainLoader
from im21k.packing.pack import pack
from im21k.packing.verify import verify
from im21k.synsets import ClassList

CLASSES = ClassList("three", ("n01440764", "n01443537", "n02084071"))
_SHARE_PACKED = 0.05  # of the cases, since packing takes 50 ms


class Sound(NamedTuple):
  """A photo as it was, and the bytes of the file that say so."""

  key: str
  synset: str
  data: bytes
  source: bytes


@functools.cache
def _jpegs() -> tuple[bytes, ...]:
  """Small photos, no two of them equal."""
  made = []
  for index in range(12):
    pixels = np.random.default_rng(index).integers(0, 255, (3, 3, 3), dtype=np.uint8)
    image = cv2.resize(pixels, (24 + 3 * index, 20 + index))
    made.append(
      cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1].tobytes()
    )
  return tuple(made)


def make_rec(rng: random.Random, folder: Path) -> tuple[Sound, ...]:
  """A damaged .rec; returns its records as they were."""
  rows, content = [], b""
  labels = {-1.0: 0.2, float("nan"): 0.1, 3.0: 0.1, 0.5: 0.1, 1e30: 0.1}
  for number, data in enumerate(rng.sample(_jpegs(), rng.randint(1, 8)), 1):
    label = rng.randrange(3)
    data += rng.choice((b"", b"", b"\x0a\x23\xd7\xce" * 3, bytes(3)))
    head = struct.pack("<IfQQ", 0, label, number, 0)
    if rng.random() < 0.1:
      wrong = rng.choice(list(labels))
      frame = _framed(struct.pack("<IfQQ", 0, wrong, number, 0) + data)
    else:
      frame = _framed(head + data)
      synset = CLASSES.synsets[label]
      rows.append(Sound(f"{synset}/{number}", synset, data, frame))
    content += frame
  (folder / "a.rec").write_bytes(mutations.damaged(rng, content))
  return tuple(rows)


def _framed(data: bytes) -> bytes:
  """A record as MXNet's writer splits it at magic words."""
  magic, parts, start = b"\x0a\x23\xd7\xce", [], 0
  for at in range(0, len(data) - 3, 4):
    if data[at : at + 4] == magic:
      parts.append(data[start:at])
      start = at + 4
  parts.append(data[start:])
  out = b""
  for index, part in enumerate(parts):
    kind = 1 if index == 0 else 3 if index == len(parts) - 1 else 2
    word = (kind if len(parts) > 1 else 0) << 29 | len(part)
    out += magic + struct.pack("<I", word) + part + bytes(-len(part) % 4)
  return out


def check_rec(sound: tuple[Sound, ...], folder: Path) -> str:
  """All bytes are a record or lost; what was not damaged comes out as it was."""
  path = folder / "a.rec"
  content = path.read_bytes()
  found = list(photos.open(path, classes=CLASSES))
  good = {photo.data: photo for photo in found if not photo.problem}
  lost = []
  for photo in found:
    if photo.problem:
      _check_problem(photo.problem, path)
    if photo.loss:
      start = int(re.search(r" at byte (\d+): ", photo.problem[1])[1])
      lost.append(range(start, start + photo.loss[1]))
  expect(all(span.stop <= len(content) for span in lost), f"lost: {lost}")
  for row in sound:
    if content.count(row.source) != 1:
      continue
    at = content.index(row.source)
    if any(at < span.stop and span.start < at + len(row.source) for span in lost):
      continue
    expect(row.data in good, f"{row.key} is neither read nor lost ({lost})")
    photo = good[row.data]
    expect(photo.synset == row.synset, f"{row.key} is a {photo.synset}")
    number = row.key.partition("/")[2]
    name = re.escape(f"{row.synset}/")
    right = re.fullmatch(rf"{name}({number}(@\d+)?|\d)", photo.key)
    expect(right, f"{row.key} has become {photo.key}")
  sizes = {row.key: len(row.data) for row in sound}
  for data, photo in good.items():
    # Bytes inside a photo may change unseen, but no length.
    right = sizes.get(photo.key)
    by_position = photo.key.endswith(("/0", "/1"))
    expect(
      right is None or by_position or right - 3 <= len(data) <= right + 3,
      f"{photo.key} has {len(data)} bytes, not {right}",
    )
  keys = [photo.key for photo in found if not photo.problem]
  expect(len(set(keys)) == len(keys), f"keys that repeat: {keys}")
  _pack(path, found, folder)
  return "damaged" if lost else "read"


def make_list(rng: random.Random, folder: Path, suffix: str) -> tuple[Sound, ...]:
  """Photos and a damaged list of them; returns its lines as they were."""
  rows, lines = [], []
  names = ("a.jpg", "b c.jpg", "ö/d.jpg", "e.JPEG", "f-%s.jpg", "'g'.jpg", "h.png")
  for number, (name, data) in enumerate(zip(names, _jpegs(), strict=False)):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    label = rng.randrange(3)
    synset = CLASSES.synsets[label]
    text = f"{number}\t{label}\t{name}" if suffix == "lst" else f"{name}\t{synset}"
    lines.append(text)
    rows.append(Sound(name, synset, data, text.encode()))
  for _ in range(rng.randrange(3)):
    at = rng.randrange(len(lines) + 1)
    lines.insert(at, _strange_line(rng, suffix))
  end = rng.choice(("\n", "\r\n"))
  content = (rng.choice(("", "\ufeff")) + end.join(lines)).encode("utf-8", "replace")
  if rng.random() < 0.7:
    content = mutations.damaged(rng, content)
  (folder / f"a.{suffix}").write_bytes(content)
  return tuple(rows)


def _strange_line(rng: random.Random, suffix: str) -> str:
  value = str(mutations.value(rng))
  name = rng.choice(("a.jpg", "../a.jpg", "/etc/passwd", "gone.jpg", "ö", value))
  if suffix == "lst":
    labels = "\t".join(str(mutations.value(rng)) for _ in range(rng.randint(0, 3)))
    return f"{rng.choice((7, value))}\t{labels}\t{name}"
  return f"{name}\t{rng.choice((value, 'n00000000', *CLASSES.synsets))}"


def check_list(sound: tuple[Sound, ...], folder: Path) -> str:
  """Each line is a photo or a row with its number, or the file is no list at all."""
  (path,) = folder.glob("a.[lt]s[tv]")
  try:
    found = list(photos.open(path, classes=CLASSES))
  except ValueError as error:
    return fuzzing.refused(error, path)
  good = {(p.key, p.synset): p.data for p in found if not p.problem}
  for photo in found:
    if photo.problem and photo.problem[1] != "No such file or directory":
      expect(len(photo.problem[1]) < 1000, f"long: {photo.problem}")
  intact = path.read_bytes().removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
  for row in sound:
    if row.source in intact.split(b"\n"):
      expect(good.get((row.key, row.synset)) == row.data, f"{row.key} is lost")
  _pack(path, found, folder)
  return "read"


def _check_problem(problem: tuple[str, str], path: Path) -> None:
  expect(
    str(path) in problem[1] and "\n" not in problem[1], f"names nothing: {problem}"
  )


def _pack(path: Path, found: list[Any], folder: Path) -> None:
  """Packs some of the cases: each photo is packed or rejected, none is lost."""
  _packed()  # In the warm-up: ArrayRecord's threads need room before it is bounded.
  if random.Random(path.read_bytes()).random() > _SHARE_PACKED:
    return
  names = folder / "three.txt"
  names.write_text("\n".join(CLASSES.synsets))
  try:
    with tempfile.TemporaryDirectory(dir=folder) as out:
      result = pack(path, Path(out) / "out", classes=names, workers=1, unlisted="skip")
      packed = {p.key for p in photos.open(Path(out) / "out")}
      lines = (Path(out) / "out" / "rejected.tsv").read_text().split("\n")[1:-1]
  except ValueError as error:
    fuzzing.refused(error, path, "rejected.tsv")
    return
  expect(result["train"] == len(packed), f"{result['train']} of {len(packed)}")
  read = {p.key for p in found if not p.problem and p.synset in CLASSES.synsets}
  expect(packed <= read, f"packed though not read: {packed - read}")
  expect(result["rejected"] == len(lines), f"{len(lines)} rows of {result}")


@functools.cache
def _packed() -> tuple[Path, dict[str, Sound]]:
  """A packed folder, and its photos by key."""
  folder = Path(tempfile.mkdtemp(prefix="fuzz-records-"))
  for index, data in enumerate(_jpegs()):
    path = folder / "photos" / CLASSES.synsets[index % 3] / f"{index}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
  (folder / "three.txt").write_text("\n".join(CLASSES.synsets))
  out = folder / "packed"
  pack(
    folder / "photos", out, classes=folder / "three.txt", workers=1, shards=2,
    eval_per_class=1,
  )  # fmt: skip
  return out, {p.key: Sound(p.key, p.synset, p.data, b"") for p in photos.open(out)}


def make_manifest(rng: random.Random, folder: Path) -> str:
  """A packed folder with a damaged manifest, or class list; returns what is damaged."""
  shutil.copytree(_packed()[0], folder / "packed")
  if rng.random() < 0.1:
    path = folder / "packed" / "classes.txt"
    path.write_bytes(mutations.damaged(rng, path.read_bytes()))
    return path.name
  path = folder / "packed" / "manifest.json"
  if rng.random() < 0.3:
    path.write_bytes(mutations.damaged(rng, path.read_bytes()))
  else:
    document = json.loads(path.read_bytes())
    path.write_bytes(mutations.text(rng, mutations.tree(rng, document)))
  return path.name


def make_shard(rng: random.Random, folder: Path) -> str:
  """A packed folder with a damaged shard; returns its name."""
  shutil.copytree(_packed()[0], folder / "packed")
  path = rng.choice(sorted((folder / "packed").glob("*.array_record")))
  path.write_bytes(mutations.damaged(rng, path.read_bytes()))
  if rng.random() < 0.5:  # As if its size were right.
    manifest = folder / "packed" / "manifest.json"
    document = json.loads(manifest.read_bytes())
    for split in document["splits"].values():
      for shard in split["shards"]:
        if shard["name"] == path.name:
          split["bytes"] += path.stat().st_size - shard["bytes"]
          shard["bytes"] = path.stat().st_size
    manifest.write_text(json.dumps(document))
  return path.name


def check_packed(damaged: str, folder: Path) -> str:
  """Every photo that comes out is one that was packed; verify refuses all else."""
  folder = folder / "packed"
  sound = _packed()[1]
  outcomes = []
  for use in (_read, _verify, _train):
    try:
      use(folder, sound)
      outcomes.append("read")
    except (ValueError, OSError) as error:
      outcomes.append(fuzzing.refused(error, folder))
  if outcomes[1] == "read":
    expect(outcomes[0] == "read", "verify calls sound what cannot be read")
    found = {p.key: p.data for p in photos.open(folder)}
    expect(found == {key: row.data for key, row in sound.items()}, "sound, but differs")
  return outcomes[1]


def _read(folder: Path, sound: dict[str, Sound]) -> None:
  for photo in photos.open(folder):
    if photo.problem:
      expect("\n" not in photo.problem[1], f"not one line: {photo.problem}")
      continue
    row = sound.get(photo.key)
    expect(row, f"{photo.key} was not packed")
    expect(photo.data == row.data and photo.synset == row.synset, f"{row.key} differs")


def _verify(folder: Path, sound: dict[str, Sound]) -> None:
  result = verify(folder, workers=1)
  expect(result["photos"] == len(sound), f"sound, but {result['photos']} photos")


def _train(folder: Path, sound: dict[str, Sound]) -> None:
  loader = TrainLoader(folder, batch_size=1, image_size=16, workers=0, max_bad_share=1)
  for index in range(loader.count):
    example = loader[index]
    row = sound.get(example["key"])
    expect(row, f"{example['key']} was not packed")
    expect(CLASSES.synsets[example["label"]] == row.synset, f"{row.key} is another")


KINDS = {
  "rec": (make_rec, check_rec),
  "lst": (functools.partial(make_list, suffix="lst"), check_list),
  "tsv": (functools.partial(make_list, suffix="tsv"), check_list),
  "manifest": (make_manifest, check_packed),
  "shard": (make_shard, check_packed),
}

if __name__ == "__main__":
  sys.exit(fuzzing.main(KINDS, __doc__))
