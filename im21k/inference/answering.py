"""Probabilities of photos -> a row for each, as a user asked for its answers."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from im21k import words
from im21k.answers import naming, rules
from im21k.inference import choices
from im21k.inference.classify import Batch
from im21k.synsets import lookup

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Answerer:
  """Makes rows of one kind of answer.

  Attributes:
    namer: names classes; with `allowed`, only those.
    answer: the kind.
    lambda_: of hedged answers.
    definitions: whether names come with their definition.
  """

  namer: naming.Namer
  answer: choices.Answer = "flat"
  lambda_: float = 0.0
  definitions: bool = False

  @property
  def allowed(self) -> Bool[np.ndarray, " classes"] | None:
    """Which classes may be answered; None: all."""
    return self.namer.allowed

  def rows(self, batch: Batch) -> Iterator[Row]:
    """A row for each photo of a batch, in order.

    `image` is its name. An answered one has `top`, and where classes are left out
    `none`; another has `reason`, and `lost_bytes` where it stands for those.
    """
    p, none = batch.probabilities, None
    if self.allowed is not None:
      p, none = rules.among(p, self.allowed)
    tops = iter(self._named(p))
    rest = iter(() if none is None else none.tolist())
    for photo in batch.photos:
      if photo.reason:
        lost = {"lost_bytes": photo.lost_bytes} if photo.lost_bytes else {}
        yield {"image": photo.name, "reason": photo.reason, **lost}
        continue
      row: Row = {"image": photo.name, "top": next(tops)}
      if none is not None:
        row["none"] = next(rest)
      yield row

  def _named(self, probabilities: Float32[np.ndarray, "b classes"]) -> list[Any]:
    if not len(probabilities):
      return []
    match self.answer:
      case "flat":
        tops = self.namer.flat(probabilities)
      case "hedged":
        tops = self.namer.hedged(probabilities, self.lambda_)
      case "diverse":
        tops = self.namer.diverse(probabilities)
      case _:
        raise ValueError(
          f"answer is {self.answer!r}, but must be flat, hedged or diverse"
        )
    if self.definitions:
      self._define(tops)
    return tops

  def _define(self, tops: list[naming.Named]) -> None:
    classes = self.namer.classes
    under = dict(zip(classes.synsets, classes.under, strict=False))
    for named in itertools.chain.from_iterable(tops):
      above = under.get(named["synset"])
      described = lookup.definition(named["synset"], [above] if above else [])
      named["definition"] = described


class Tally:
  """What became of the photos so far."""

  def __init__(self) -> None:
    """Counts nothing yet."""
    self.photos = self.bad = self.cut = self.lost_bytes = 0
    self.first = ""

  def count(self, row: Row) -> None:
    """Counts one row."""
    self.photos += 1
    if "reason" not in row:
      return
    self.bad += 1
    self.first = self.first or words.visible(f"{row['image']}: {row['reason']}")
    self.cut += "lost_bytes" in row
    self.lost_bytes += row.get("lost_bytes", 0)

  @property
  def failed(self) -> str | None:
    """In one line, what has no answer and why the first has none; None: all have."""
    if not self.bad:
      return None
    lost = f"{self.lost_bytes:,} bytes could not be read" if self.lost_bytes else ""
    if self.bad == self.cut:
      return f"{lost}; {self.first}"
    some = f"{self.bad:,} of {self.photos:,} photos have no answer"
    return "; ".join(filter(None, (some, lost, self.first)))
