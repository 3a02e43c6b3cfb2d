"""Which photos are packed, with which label, and which of them are held out."""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from im21k import files
from im21k.dataset import records
from im21k.packing import option_files, outcomes, repair, scratch
from im21k.packing.config import PackOptions
from im21k.packing.outcomes import Rejection
from im21k.packing.parts import Parts
from im21k.packing.photo_index import PhotoIndex
from im21k.photos.folders import ClassFolder
from im21k.photos.photo import Entry
from im21k.photos.tars import Tar
from im21k.synsets import ClassList, is_synset

LABELS = "labels.tsv"
NO_CLASS = "nothing says its class"


@dataclasses.dataclass(frozen=True)
class Selection:
  """Which photos are packed, and with which label.

  Attributes:
    class_list: name of the class list, for messages.
    labels: label of each synset.
    remap: synsets and their replacements; None leaves a synset's photos out.
    skip_unlisted: whether photos of an unlisted class are left out, not an error.
    excluded: SHA-256 of photos to leave out.
    seed: seed of the shuffle.
    rules: treatment of photos that are not plain JPEGs.
  """

  class_list: str
  labels: dict[str, int]
  remap: dict[str, str | None]
  skip_unlisted: bool
  excluded: frozenset[bytes]
  seed: int
  rules: repair.Rules

  @classmethod
  def of(cls, options: PackOptions, classes: ClassList) -> "Selection":
    """Reads the files that the options name.

    Raises:
      OSError, ValueError: such a file is missing, or a line of it is wrong.
    """
    return cls(
      class_list=classes.name,
      labels={synset: label for label, synset in enumerate(classes.synsets)},
      remap=option_files.read_remap(options.remap, classes) if options.remap else {},
      skip_unlisted=options.unlisted == "skip",
      excluded=option_files.read_hashes(options.exclude_hashes)
      if options.exclude_hashes
      else frozenset(),
      seed=options.seed,
      rules=repair.Rules(options.check == "decode", options.resize, options.quality),
    )

  def label(self, synset: str, path: object) -> int | None:
    """The label of a synset's photos; None if they are left out.

    Raises:
      ValueError: the class is not in the class list, and not to be skipped.
    """
    mapped = self.remap.get(synset, synset)
    if mapped is None:
      return None
    if mapped in self.labels:
      return self.labels[mapped]
    if self.skip_unlisted:
      return None
    what = "synsets" if all(map(is_synset, self.labels)) else "classes"
    raise ValueError(
      f"{path} is in folder {synset}, which is not among the {len(self.labels):,} "
      f"{what} of class list {self.class_list!r}: remove the folder, skip it "
      "(--unlisted skip), or give a class list that has it (--classes)"
    )

  def check_streams(self, streams: Sequence[object]) -> None:
    """ValueError if a tar or a folder of other names holds photos of no listed class.

    Folders named by synsets are looked at as they are read.
    """
    for stream in streams:
      if isinstance(stream, Tar) and stream.synset:
        self.label(stream.synset, stream.path)
      elif isinstance(stream, ClassFolder) and not is_synset(stream.synset):
        for entry in itertools.islice(stream.entries(), 1):
          self.label(stream.synset, entry.path)

  def prepare(self, data: bytes) -> tuple[bytes, int, bytes]:
    """The bytes to pack, the photo's kinds as bits, and the digest of its own bytes.

    Raises:
      Rejected: the photo is left out.
    """
    if self.excluded and hashlib.sha256(data).digest() in self.excluded:
      raise repair.Rejected("excluded", "its SHA-256 is among those to exclude")
    jpeg, kinds = repair.prepare(data, self.rules)
    return jpeg, outcomes.kind_bits(kinds), records.digest(data)


def held_out(
  options: PackOptions,
  index: PhotoIndex,
  parts: Parts,
  rejections: Sequence[Rejection] = (),
) -> Bool[np.ndarray, " n"]:
  """Mask of the photos to hold out; `rejections` may say why there are none.

  Of several sources, they are those of the sources of split eval.

  Raises:
    ValueError: there are no photos, no key to hold out is known, or no photo would be
      left to train on.
  """
  source = parts.text
  if not len(index) and rejections:
    first = rejections[0]
    remedy = ""
    if first.reason == NO_CLASS:
      remedy = "; own classes in an archive need a list of them (--classes FILE)"
    raise ValueError(
      f"{source} has no photo to pack, but {len(rejections):,} things that are none; "
      f"the first is {first.key!r}: {first.kind}, {first.reason}{remedy}"
    )
  if not len(index):
    raise ValueError(
      f"{source} has no photo to pack: its synset folders hold no file, or all their "
      "classes are left out (--unlisted, --remap)"
    )
  if parts.are_divided:
    return _by_part(index, parts)
  if options.eval_keys:
    mask = index.with_keys(frozenset(options.eval_keys.read_bytes().splitlines()))
    if not mask.any():
      raise ValueError(
        f"{options.eval_keys}: no line is the key of a photo of {source}; the first of "
        f"its keys is {index.name(0)!r}"
      )
  elif options.eval_fraction:
    mask = index.lowest_ranks(lambda size: round(size * options.eval_fraction))
  elif options.eval_per_class:
    least = options.eval_min_class_size or 2 * options.eval_per_class
    mask = index.lowest_ranks(lambda size: options.eval_per_class * (size >= least))
  else:
    mask = np.zeros(len(index), bool)
  if mask.all() and options.eval_fraction != 1:
    raise ValueError(
      f"all {len(index):,} photos of {source} would be held out and none left to train "
      "on: hold out fewer"
    )
  return mask


def _by_part(index: PhotoIndex, parts: Parts) -> Bool[np.ndarray, " n"]:
  numbers = np.zeros(len(index), int) if index.parts is None else index.parts
  counts = np.bincount(numbers, minlength=len(parts.parts)).tolist()
  for part, count in zip(parts, counts, strict=True):
    if not count:
      raise ValueError(
        f"{part.path} has no photo to pack: it holds none, or all their classes are "
        "left out (--unlisted, --remap), or nothing says them"
      )
  of_eval = np.array([part.split == "eval" for part in parts])
  return np.asarray(of_eval[numbers], bool)


def drop_duplicates(
  index: PhotoIndex,
  usable: Bool[np.ndarray, " n"],
  digests: np.ndarray,
  classes: ClassList,
  destination: Path | None,
  preferred: Bool[np.ndarray, " n"] | None = None,
) -> tuple[Bool[np.ndarray, " n"], list[Rejection]]:
  """Of usable photos with equal bytes, keeps the one whose key sorts first.

  Args:
    index, usable, digests: all photos, which of them to look at, their digests [n, 2].
    classes: the class list.
    destination: folder for labels.tsv, which lists the synsets of kept photos that
      have several; None writes no such file.
    preferred: mask of the photos that are kept rather than others, such as those of a
      source to evaluate on.

  Returns:
    Mask of the photos that are kept, and the rejections of the others.
  """
  rows = np.flatnonzero(usable)
  kept, lines = usable.copy(), []
  rejections: list[Rejection] = []
  for group in outcomes.groups(digests[rows]):
    first, *others = sorted(rows[group], key=index.key)
    if preferred is not None:
      first, *others = sorted((first, *others), key=lambda row: not preferred[row])
    kept[others] = False
    name = index.name(first)
    rejections += _reject(index, others, classes, "duplicate", f"the same as {name}")
    several = sorted({classes.synsets[label] for label in index.labels[rows[group]]})
    if len(several) > 1:
      # Ids of own classes may have spaces.
      lines.append("\t".join((name, ("\t" if classes.own else " ").join(several))))
  if destination:
    text = "\n".join(["key\tsynsets", *sorted(lines)]) + "\n"
    files.write_text(destination / LABELS, text, destination / scratch.FOLDER)
  return kept, rejections


def usable(entries: Iterable[Entry], rejections: list[Rejection]) -> Iterator[Entry]:
  """The files to read, whose class something says; the others become rejections."""
  for entry in entries:
    if entry.problem:
      rejections.append(Rejection(entry.key, entry.synset, *entry.problem))
    elif not entry.synset:
      rejections.append(Rejection(entry.key, "", "unreadable", NO_CLASS))
    else:
      yield entry


def reject_repeated(
  index: PhotoIndex, repeated: Bool[np.ndarray, " n"], classes: ClassList
) -> list[Rejection]:
  """The rejections of the photos whose key an earlier row has too."""
  rows = np.flatnonzero(repeated).tolist()
  return _reject(index, rows, classes, "name comes twice", "another file had it before")


def _reject(
  index: PhotoIndex, rows: list[int], classes: ClassList, kind: str, reason: str
) -> list[Rejection]:
  return [
    Rejection(
      index.key(row).decode("utf-8", "surrogateescape"),
      classes.synsets[index.labels[row]],
      kind,
      reason,
    )
    for row in rows
  ]
