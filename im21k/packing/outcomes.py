"""What became of every photo: outcomes, counted by kind and class, and told."""

import dataclasses
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from im21k import files
from im21k.packing.repair import KINDS, RULES

REPORT, SUMMARY, REJECTED = "report.json", "report.txt", "rejected.tsv"
Note = tuple[str, str, str, str]  # key, synset, kind, reason


@dataclasses.dataclass(frozen=True)
class Outcomes:
  """Of photos that were kept: label [n], kinds [n] as bits, digest [n, 2].

  `notes` tells of each that was not.
  """

  labels: np.ndarray
  kinds: np.ndarray
  digests: np.ndarray
  notes: list[Note]

  def arrays(self) -> dict[str, np.ndarray]:
    """All of it as arrays, for a file."""
    return {**vars(self), "notes": as_bytes(self.notes)}

  @classmethod
  def of(cls, arrays: dict[str, np.ndarray]) -> "Outcomes":
    """The inverse of `arrays`."""
    return cls(**{**arrays, "notes": from_bytes(arrays["notes"])})  # type: ignore[arg-type]

  def where(self, mask: np.ndarray) -> "Outcomes":
    """Those of some photos; the notes stay."""
    return Outcomes(self.labels[mask], self.kinds[mask], self.digests[mask], self.notes)

  @classmethod
  def join(cls, parts: list["Outcomes"]) -> "Outcomes":
    return cls(
      np.concatenate([p.labels for p in parts]),
      np.concatenate([p.kinds for p in parts]),
      np.concatenate([p.digests for p in parts]),
      [note for p in parts for note in p.notes],
    )


def note(key: bytes, synset: str, error: Exception) -> Note:
  """What is told of a photo that is left out."""
  kind, reason = getattr(error, "kind", "unreadable"), str(error)
  if isinstance(error, OSError):
    reason = error.strerror or reason
  return key.decode("utf-8", "surrogateescape"), synset, kind, reason


def bits(kinds: tuple[str, ...]) -> int:
  """Kinds as the bits of a number."""
  return sum(1 << KINDS.index(kind) for kind in kinds) if kinds else 0


def as_bytes(notes: list[Note]) -> np.ndarray:
  """Notes as they go into a file of arrays."""
  return np.frombuffer(json.dumps(notes).encode(), np.uint8)


def from_bytes(array: np.ndarray) -> list[Note]:
  """The inverse of `as_bytes`."""
  return [tuple(note) for note in json.loads(array.tobytes())]


def groups(digests: np.ndarray) -> list[np.ndarray]:
  """Rows that have the same digest, for each that comes more than once."""
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
  trained: np.ndarray,
  aside: Path | None = None,
) -> int:
  """Writes report.json, report.txt and rejected.tsv; returns the number rejected.

  `trained` are the labels of the packed photos that are not held out.
  """
  counts = _counted(outcomes, synsets)
  document: dict[str, Any] = {
    "packed": len(outcomes.labels),
    "rejected": len(outcomes.notes),
    "duplicates": duplicates,
    "classes": int(np.count_nonzero(np.bincount(outcomes.labels))),
    "train_classes": {
      synsets[label]: int(count)
      for label, count in enumerate(np.bincount(trained))
      if count
    },
    "kinds": {
      kind: {
        "rule": RULES[kind],
        "count": counts[kind].total(),
        "classes": dict(sorted(counts[kind].items())),
      }
      for kind in KINDS
    },
  }
  files.write_text(folder / REPORT, json.dumps(document, indent=1) + "\n", aside)
  lines = [f"{len(outcomes.labels):,} packed, {len(outcomes.notes):,} rejected"]
  for kind, of_class in sorted(counts.items(), key=lambda item: -item[1].total()):
    if of_class:
      most = ", ".join(f"{s or 'no class'} {n:,}" for s, n in of_class.most_common(3))
      lines.append(f"{of_class.total():>10,}  {RULES[kind]:<7} {kind} ({most})")
  files.write_text(folder / SUMMARY, "\n".join(lines) + "\n", aside)
  rows_ = sorted((key, kind, reason) for key, _, kind, reason in outcomes.notes)
  table = ["key\tkind\treason", *("\t".join(map(_one_line, row)) for row in rows_)]
  files.write_text(folder / REJECTED, "\n".join(table) + "\n", aside)
  return len(outcomes.notes)


def train_photos(folder: Path, synsets: tuple[str, ...]) -> np.ndarray | None:
  """How many photos of each class a packed data set has to train on, `[classes]`.

  None where its report does not tell: it was packed before that was written.

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
  """Photos of each kind, by class."""
  counts: dict[str, Counter[str]] = defaultdict(Counter)
  for bit, kind in enumerate(KINDS):
    found = outcomes.labels[outcomes.kinds & np.uint32(1 << bit) > 0]
    of_label = np.bincount(found)
    for label in np.flatnonzero(of_label):
      counts[kind][synsets[label]] = int(of_label[label])
  for rows in groups(outcomes.digests) if len(outcomes.digests) else ():
    same = Counter(synsets[label] for label in outcomes.labels[rows])
    for synset, count in same.items():
      if count > 1:
        counts["duplicate in class"][synset] += count - 1
      if len(same) > 1:
        counts["duplicate across classes"][synset] += count
  for _, synset, kind, _ in outcomes.notes:
    counts[kind][synset] += 1
  return counts


def _one_line(text: str) -> str:
  """`text` with tabs, line ends and undecodable bytes written as escapes."""
  escaped = text.encode("utf-8", "backslashreplace").decode("utf-8")
  return escaped.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
