"""Rows of a manifest about the sources of a packed data set."""

import dataclasses
from collections.abc import Sequence

from im21k.fields import Fields


@dataclasses.dataclass(frozen=True)
class SourceOf:
  """One of several sources.

  Attributes:
    name: its name, with which the keys of its photos may begin.
    split: what its photos are for; "" where options divided them.
    packed, rejected: numbers of photos.
    labels: name of the file that said their classes; "" for none.
  """

  name: str
  split: str
  packed: int
  rejected: int
  labels: str


def read(fields: Fields, splits: Sequence[str]) -> tuple[SourceOf, ...]:
  """The rows in a manifest; none where it has none."""
  if "sources" not in fields:
    return ()
  found = []
  for one in fields.objects("sources"):
    found.append(
      SourceOf(
        name=one.text("name"),
        split=one.text("split", one_of=("", *splits)),
        packed=one.integer("packed", at_least=0),
        rejected=one.integer("rejected", at_least=0),
        labels=one.text("labels"),
      )
    )
    one.done()
  return tuple(found)
