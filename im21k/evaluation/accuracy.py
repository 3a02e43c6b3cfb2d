"""Ranks of photos, example by example -> exact counts, intervals, rows."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from im21k import synsets
from im21k.evaluation import results
from im21k.loading import scoring
from im21k.photos.photo import Loss

TOP_K = (1, 5, 20)
VALIDATION_PHOTOS = 50_000


class Scores:
  """Counts of right answers for each set of answers and each class of photos.

  The first set of answers, all classes, takes all photos; others are of ILSVRC2012, and
  take photos of its 1,000 classes, including those that the weights do not know.

  Attributes:
    unknown: photos of classes that the weights lack, by synset; they count as wrong.
    bad: photos that cannot be decoded or have no class, with the reason; they are
      not scored.
    photos: how many there were, of any of these kinds.
  """

  def __init__(self, classes: synsets.ClassList, subsets: Mapping[str, Any]):
    self.unknown: Counter[str] = Counter()
    self.bad: list[results.Bad] = []
    self.photos = 0
    self._classes, self._subsets = classes, subsets
    self._thousand = frozenset(synsets.ilsvrc2012().synsets)
    # By set of answers and synset: photos, and right ones for each of TOP_K.
    self._counts: dict[str, dict[str, npt.NDArray[np.int64]]] = {
      name: {} for name in subsets
    }
    self._losses: dict[str, list[float]] = {name: [] for name in subsets}
    self._numbers: set[str] = set()
    self._others = 0

  def add(
    self, examples: Sequence[scoring.Item], ranks: Mapping[str, Mapping[str, Any]]
  ) -> None:
    """Counts a batch.

    Args:
      examples: the photos in it, without those that fill it up.
      ranks: from `score.rank_step`.
    """
    self.photos += len(examples)
    for index, example in enumerate(examples):
      if match := scoring.VALIDATION.fullmatch(example.key.rpartition("/")[2]):
        self._numbers.add(match[1])
      else:
        self._others += 1
      if example.error is not None:
        self.bad.append(results.bad_of(example))
        continue
      if example.label is None:
        self.unknown[example.synset] += 1
      for name, allowed in self._subsets.items():
        if allowed is not None and example.synset not in self._thousand:
          continue
        right = [1] + [0] * len(TOP_K)
        if example.label is not None:
          rank = int(ranks[name]["rank"][index])
          right[1:] = [rank < k for k in TOP_K]
          self._losses[name].append(float(ranks[name]["loss"][index]))
        counts = self._counts[name]
        zero = np.zeros(len(right), np.int64)
        counts[example.synset] = counts.get(example.synset, zero) + right

  def document(self) -> dict[str, Any]:
    """All of it, ready for JSON: what `include` adds to that of other photos."""
    return {
      "photos": self.photos,
      "unknown": dict(self.unknown),
      "bad": [list(one) for one in self.bad],
      "counts": {
        name: {synset: row.tolist() for synset, row in counts.items()}
        for name, counts in self._counts.items()
      },
      "losses": self._losses,
      "numbers": sorted(self._numbers),
      "others": self._others,
    }

  def include(self, document: Mapping[str, Any]) -> None:
    """Adds what `document` gave of other photos, as on another host."""
    self.photos += document["photos"]
    self.unknown.update(document["unknown"])
    for key, reason, loss in document["bad"]:
      self.bad.append(results.Bad(key, reason, None if loss is None else Loss(*loss)))
    for name, counts in self._counts.items():
      for synset, row in document["counts"][name].items():
        counts[synset] = counts.get(synset, 0) + np.array(row, np.int64)
      self._losses[name] += document["losses"][name]
    self._numbers.update(document["numbers"])
    self._others += document["others"]

  @property
  def is_validation(self) -> bool:
    """Whether these were the 50,000 validation photos of ILSVRC2012, by their names."""
    return not self._others and len(self._numbers) == VALIDATION_PHOTOS

  def counts(self) -> dict[str, int]:
    """`scored`, `unknown` and `bad`, which sum to `photos`."""
    unknown, bad = self.unknown.total(), len(self.bad)
    scored = sum(int(row[0]) for row in self._all().values()) - unknown
    return {"photos": self.photos, "scored": scored, "unknown": unknown, "bad": bad}

  def _all(self) -> dict[str, npt.NDArray[np.int64]]:
    """Counts among all classes."""
    return next(iter(self._counts.values()))

  def rows(self) -> list[dict[str, Any]]:
    """A row for each set of answers that has photos and differs from the first.

    Returns:
      Rows of `answers`, `images`, the shares `top_1`, `top_5`, `top_20` and their 95 %
      intervals `top_1_low`, `top_1_high`, …; mean `loss` over photos of known classes
      in nats (None: there are none); numbers of photos `unknown` and `bad`.
    """
    rows: list[dict[str, Any]] = []
    for name, counts in self._counts.items():
      if not counts:
        continue
      images, *right = np.sum(list(counts.values()), axis=0).tolist()
      allowed = self._subsets[name]
      if allowed is not None and np.all(allowed) and images == rows[0]["images"]:
        continue
      losses = self._losses[name]
      row: dict[str, Any] = {"answers": name, "images": images}
      row |= {f"top_{k}": n / images for k, n in zip(TOP_K, right, strict=True)}
      row["loss"] = math.fsum(losses) / len(losses) if losses else None
      for k, n in zip(TOP_K, right, strict=True):
        row[f"top_{k}_low"], row[f"top_{k}_high"] = wilson(n, images)
      row |= {"unknown": images - len(losses), "bad": len(self.bad)}
      rows.append(row)
    return rows

  def class_rows(self) -> list[dict[str, Any]]:
    """A row for each set of answers and each class that has photos, by synset."""
    rows = []
    for answers in (row["answers"] for row in self.rows()):
      counts = self._counts[answers]
      ids = tuple(sorted(counts))
      known = dict(zip(self._classes.synsets, self._classes.names, strict=True))
      names = [known.get(one) or synsets.name(one) for one in ids]
      for synset, name in zip(ids, names, strict=True):
        images, *right = (int(n) for n in counts[synset])
        row = {"answers": answers, "synset": synset, "name": name, "photos": images}
        row |= {f"top_{k}": n / images for k, n in zip(TOP_K, right, strict=True)}
        rows.append(row)
    return rows


def wilson(right: int, count: int) -> tuple[float, float]:
  """95 % interval of a share: Wilson 1927, "Probable Inference", JASA 22."""
  interval = stats.binomtest(right, count).proportion_ci(method="wilson")
  return float(interval.low), float(interval.high)
