"""Folders of photos by synset -> three archives shaped as ILSVRC2012's downloads.

  python benchmarks/ilsvrc2012_like.py data/sample_photos runs/downloads

For tests, benchmarks and pictures of the documentation: the photos are those given, and
names, order and structure those of the originals. `ILSVRC2012_img_train.tar` is a tar
of class tars, `ILSVRC2012_img_val.tar` a flat one, and the classes of its photos are in
`ILSVRC2012_devkit_t12.tar.gz` alone, as ids in an order of their own.
"""

import argparse
import dataclasses
import io
import random
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np
import scipy.io

TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
KIT = "ILSVRC2012_devkit_t12.tar.gz"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_ABOVE = "n00001740", "n00002684", "n00003553", "n00004258"  # with children
_FIELDS = (
  "ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children",
  "wordnet_height", "num_train_images",
)  # fmt: skip


@dataclasses.dataclass
class Made:
  """What was made: the folder, the photos of each archive, and the ids of classes.

  Attributes:
    train: paths of the photos to train on, by synset.
    val: path and synset of validation photo n at n - 1.
    ids: id of each synset in the kit.
  """

  folder: Path
  train: dict[str, list[Path]]
  val: list[tuple[Path, str]]
  ids: dict[str, int]


def make(
  photos: Path, folder: Path, per_class: int = 1, seed: int = 0, compress: bool = True
) -> Made:
  """Writes the three archives.

  Args:
    photos: a folder of folders named by synsets.
    folder: where the archives go.
    per_class: validation photos of each class that has more than so many.
    seed: of their order, and of the ids.
    compress: whether meta.mat is compressed, as the original is.
  """
  rng = random.Random(seed)
  folder.mkdir(parents=True, exist_ok=True)
  train, val = {}, []
  for of_class in sorted(path for path in photos.iterdir() if path.is_dir()):
    files = sorted(of_class.iterdir())
    held = rng.sample(files, per_class) if len(files) > per_class else []
    train[of_class.name] = [file for file in files if file not in held]
    val += [(file, of_class.name) for file in held]
  rng.shuffle(val)
  numbers = rng.sample(range(1, len(train) + 1), len(train))
  ids = dict(zip(train, numbers, strict=True))
  made = Made(folder, train, val, ids)
  write_train(folder / TRAIN, train)
  write_val(folder / VAL, [file for file, _ in val])
  truth = [ids[synset] for _, synset in val]
  write_kit(folder / KIT, meta(ids, compress), truth)
  return made


def write_train(path: Path, train: dict[str, list[Path]]) -> None:
  """A tar of a tar for each class."""
  tars = []
  for synset, files in train.items():
    inner = io.BytesIO()
    members = (
      (f"{synset}_{i}.JPEG", file.read_bytes()) for i, file in enumerate(files)
    )
    _write_tar(inner, members)
    tars.append((f"{synset}.tar", inner.getvalue()))
  with path.open("wb") as file:
    _write_tar(file, tars)


def write_val(
  path: Path, files: Iterable[Path], more: dict[str, bytes] | None = None
) -> None:
  """A flat tar of numbered photos, and what else is said to be in it."""
  members = [
    (f"ILSVRC2012_val_{n:08d}.JPEG", file.read_bytes())
    for n, file in enumerate(files, 1)
  ]
  with path.open("wb") as file:
    _write_tar(file, [*members, *(more or {}).items()])


def write_kit(path: Path, meta_mat: bytes, truth: Iterable[object]) -> None:
  """The development kit, with what its other files are named."""
  root = "ILSVRC2012_devkit_t12"
  lines = "".join(f"{one}\n" for one in truth).encode()
  members = [
    (f"{root}/readme.txt", b"Development kit of ILSVRC2012, as far as it is read.\n"),
    (f"{root}/COPYING", b"\n"),
    (f"{root}/evaluation/demo_eval.m", b"% not read\n"),
    (f"{root}/data/ILSVRC2012_validation_ground_truth.txt", lines),
    (f"{root}/data/meta.mat", meta_mat),
  ]
  with tarfile.open(path, "w:gz") as tar:
    for name, data in members:
      _add(tar, name, data)


def meta(ids: dict[str, int], compress: bool = True) -> bytes:
  """The kit's meta.mat: classes by their ids, and then synsets above them."""
  rows = [
    (number, synset, 0) for synset, number in sorted(ids.items(), key=lambda i: i[1])
  ]
  rows += [(len(ids) + n, synset, 2) for n, synset in enumerate(_ABOVE, 1)]
  found = np.zeros((len(rows), 1), [(name, object) for name in _FIELDS])
  for at, (number, synset, children) in enumerate(rows):
    found[at, 0] = (
      float(number), synset, f"words of {synset}", f"the gloss of {synset}",
      float(children), np.arange(1.0, children + 1)[None],
      float(bool(children)), 0.0 if children else 1300.0,
    )  # fmt: skip
  file = io.BytesIO()
  scipy.io.savemat(file, {"synsets": found}, do_compression=compress)
  return file.getvalue()


def _write_tar(file: IO[bytes], members: Iterable[tuple[str, bytes]]) -> None:
  with tarfile.open(fileobj=file, mode="w") as tar:
    for name, data in members:
      _add(tar, name, data)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
  info = tarfile.TarInfo(name)
  info.size, info.mtime = len(data), 1_330_000_000
  tar.addfile(info, io.BytesIO(data))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("photos", type=Path, help="folder of folders named by synsets")
  parser.add_argument("folder", type=Path, help="folder for the three archives")
  parser.add_argument("--per-class", type=int, default=1, help="validation photos")
  parser.add_argument("--seed", type=int, default=0)
  options = parser.parse_args()
  made = make(options.photos, options.folder, options.per_class, options.seed)
  count = sum(map(len, made.train.values()))
  print(f"{count} photos to train on and {len(made.val)} to validate: {made.folder}")


if __name__ == "__main__":
  main()
