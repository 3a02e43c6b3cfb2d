"""Outcomes of all photos -> report.json, report.txt and rejected.tsv."""

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8, UInt64

from im21k import files, words
from im21k.packing.repair import KINDS, RULES

REPORT, SUMMARY, REJECTED = "report.json", "report.txt", "rejected.tsv"


class Rejection(NamedTuple):
  """A photo that was left out: its key and synset, the kind of fault, the reason.

  `archive` and `lost` are the archive that is damaged, if that is the reason, and how
  many of its bytes could not be read.
  """

  key: str
  synset: str
  kind: str
  reason: str
  archive: str = ""
  lost: int = 0


@dataclasses.dataclass(frozen=True)
class Outcomes:
  """Labels [n], kinds [n] as bits and digests [n, 2] of kept photos; the rejections."""

  labels: np.ndarray
  kinds: np.ndarray
  digests: np.ndarray
  rejections: list[Rejection]

  def arrays(self) -> dict[str, np.ndarray]:
    """The outcomes as arrays, for a side file."""
    return {**vars(self), "rejections": to_bytes(self.rejections)}

  @classmethod
  def of(cls, arrays: dict[str, np.ndarray]) -> "Outcomes":
    """The inverse of `arrays`."""
    labels, kinds, digests = (arrays[name] for name in ("labels", "kinds", "digests"))
    return cls(labels, kinds, digests, from_bytes(arrays["rejections"]))

  def where(self, mask: Bool[np.ndarray, " n"]) -> "Outcomes":
    """The outcomes of masked photos, with all rejections."""
    return Outcomes(
      self.labels[mask], self.kinds[mask], self.digests[mask], self.rejections
    )

  @classmethod
  def join(cls, parts: list["Outcomes"]) -> "Outcomes":
    """The outcomes of several shards together."""
    return cls(
      np.concatenate([p.labels for p in parts]),
      np.concatenate([p.kinds for p in parts]),
      np.concatenate([p.digests for p in parts]),
      [rejection for p in parts for rejection in p.rejections],
    )


def rejection(key: bytes, synset: str, error: Exception) -> Rejection:
  """The rejection of a photo that an error (`Rejected` or OSError) leaves out."""
  kind, reason = getattr(error, "kind", "unreadable"), str(error)
  if isinstance(error, OSError):
    reason = error.strerror or reason
  loss = getattr(error, "loss", None)
  archive, lost = loss or ("", 0)
  name = key.decode("utf-8", "surrogateescape")
  return Rejection(name, synset, kind, reason, archive, lost)


def damaged_archives(rejections: list[Rejection]) -> dict[str, int]:
  """By name of each damaged archive: how many of its bytes could not be read."""
  lost: Counter[str] = Counter()
  for each in rejections:
    if each.archive or each.kind == "damaged archive":
      lost[each.archive or each.key] += each.lost
  return dict(sorted(lost.items()))


def about_damage(lost: dict[str, int]) -> list[str]:
  """What `damaged_archives` gives, one line for each."""
  return [
    f"{words.visible(archive)} is damaged: {size:,} bytes of it could not be read"
    for archive, size in lost.items()
  ]


def kind_bits(kinds: tuple[str, ...]) -> int:
  """Kinds (keys of `repair.RULES`) as the bits of a number."""
  return sum(1 << KINDS.index(kind) for kind in kinds) if kinds else 0


def to_bytes(rejections: list[Rejection]) -> UInt8[np.ndarray, " n"]:
  """Rejections as JSON, for a side file."""
  return np.frombuffer(json.dumps(rejections).encode(), np.uint8)


def from_bytes(array: UInt8[np.ndarray, " n"]) -> list[Rejection]:
  """The inverse of `to_bytes`."""
  return [Rejection(*fields) for fields in json.loads(array.tobytes())]


def groups(digests: UInt64[np.ndarray, "n 2"]) -> list[Int[np.ndarray, " k"]]:
  """The rows of each digest that occurs more than once."""
  order = np.lexsort((digests[:, 1], digests[:, 0]))
  same = np.ones(max(len(order) - 1, 0), bool)
  for column in (0, 1):
    ordered = digests[order, column]
    same &= ordered[1:] == ordered[:-1]
  ends = np.flatnonzero(~np.append(same, False)) + 1
  starts = np.append(0, ends[:-1])
  chosen = np.flatnonzero(ends - starts > 1)
  return [order[starts[i] : ends[i]] for i in chosen]


def write(
  folder: Path,
  outcomes: Outcomes,
  synsets: tuple[str, ...],
  duplicates: str,
  train_labels: Int[np.ndarray, " n"],
  skipped: Counter[str] | None = None,
  aside: Path | None = None,
  about_sources: Sequence[str] = (),
) -> int:
  """Writes report.json, report.txt and rejected.tsv.

  Args:
    folder: folder for the three files.
    outcomes: outcomes of all photos.
    synsets: the class list, which labels index.
    duplicates: option of that name.
    train_labels: labels of the packed photos that are not held out.
    skipped: number of photos that were left out for their class, by synset.
    aside: folder for temporary files, on the same disk; by default `folder`.
    about_sources: lines about each of several sources.

  Returns:
    The number of rejected photos.
  """
  counts = _counted(outcomes, synsets)
  document: dict[str, Any] = {
    "packed": len(outcomes.labels),
    "rejected": len(outcomes.rejections),
    "duplicates": duplicates,
    "classes": int(np.count_nonzero(np.bincount(outcomes.labels))),
    "train_classes": _by_synset(np.bincount(train_labels), synsets),
    "eval_classes": _by_synset(_held_out(outcomes.labels, train_labels), synsets),
    "kinds": {
      kind: {
        "rule": RULES[kind],
        "count": counts[kind].total(),
        "classes": dict(sorted(counts[kind].items())),
      }
      for kind in KINDS
    },
  }
  lost = damaged_archives(outcomes.rejections)
  if lost:
    document["damaged_archives"] = lost
  if skipped:
    document["skipped"] = dict(sorted(skipped.items()))
  files.write_text(folder / REPORT, json.dumps(document, indent=1) + "\n", aside)
  lines = [f"{len(outcomes.labels):,} packed, {len(outcomes.rejections):,} rejected"]
  lines += about_sources
  lines += about_damage(lost)
  if skipped:
    lines.append(_most(skipped, "skip", "class to be left out"))
  for kind, of_class in sorted(counts.items(), key=lambda item: -item[1].total()):
    if of_class:
      lines.append(_most(of_class, RULES[kind], kind))
  files.write_text(folder / SUMMARY, "\n".join(lines) + "\n", aside)
  rows = sorted((each.key, each.kind, each.reason) for each in outcomes.rejections)
  lines = ["key\tkind\treason", *("\t".join(map(words.visible, row)) for row in rows)]
  files.write_text(folder / REJECTED, "\n".join(lines) + "\n", aside)
  return len(outcomes.rejections)


def _by_synset(
  counts: Int[np.ndarray, " labels"], synsets: tuple[str, ...]
) -> dict[str, int]:
  return {synsets[label]: int(n) for label, n in enumerate(counts) if n}


def _held_out(
  labels: Int[np.ndarray, " n"], train_labels: Int[np.ndarray, " m"]
) -> Int[np.ndarray, " labels"]:
  """Number of photos of each label that are not to train on."""
  counts = np.bincount(labels)
  return counts - np.bincount(train_labels, minlength=len(counts))


def _most(of_class: Counter[str], rule: str, kind: str) -> str:
  """A line of the summary, with the three synsets that have most."""
  most = ", ".join(f"{s or 'no class'} {n:,}" for s, n in of_class.most_common(3))
  return f"{of_class.total():>10,}  {rule:<7} {kind} ({most})"


def train_photos(
  folder: Path, synsets: tuple[str, ...]
) -> Int[np.ndarray, " classes"] | None:
  """Number of train photos of each class in a packed data set, `[classes]`.

  None if the report lacks it, as reports of early versions do.

  Raises:
    ValueError: the report is damaged.
  """
  path = folder / REPORT
  if not path.is_file():
    return None
  try:
    document = json.loads(path.read_text(encoding="utf-8"))
    if "train_classes" not in document:
      return None
    counts = {str(s): int(n) for s, n in document["train_classes"].items()}
  except (ValueError, TypeError, AttributeError) as error:
    raise ValueError(f"{path} is damaged: {error!r}") from error
  return np.array([counts.get(synset, 0) for synset in synsets])


def _counted(outcomes: Outcomes, synsets: tuple[str, ...]) -> dict[str, Counter[str]]:
  """Number of photos of each kind, by synset."""
  counts: dict[str, Counter[str]] = defaultdict(Counter)
  for bit, kind in enumerate(KINDS):
    of_kind = outcomes.labels[outcomes.kinds & np.uint32(1 << bit) > 0]
    of_label = np.bincount(of_kind)
    for label in np.flatnonzero(of_label):
      counts[kind][synsets[label]] = int(of_label[label])
  for rows in groups(outcomes.digests) if len(outcomes.digests) else ():
    same = Counter(synsets[label] for label in outcomes.labels[rows])
    for synset, count in same.items():
      if count > 1:
        counts["duplicate in class"][synset] += count - 1
      if len(same) > 1:
        counts["duplicate across classes"][synset] += count
  for rejection in outcomes.rejections:
    counts[rejection.kind][rejection.synset] += 1
  return counts
