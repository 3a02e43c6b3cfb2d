"""All sources -> the list of their files, while their photos pass by."""

import itertools
from collections.abc import Iterator
from typing import Any

from im21k.packing.parts import Part, Parts
from im21k.packing.source_state import Recorder
from im21k.photos.photo import Entry


def add(parts: Parts, recorder: Recorder) -> list[tuple[int, list[Any]]]:
  """Records all sources; returns number and streams of each, with their bytes."""
  found = []
  for number, part in enumerate(parts):
    if not parts.is_one:
      recorder.begin(part.name)
    found.append((number, part.streams(recorder.add(part.source))))
  return found


def entries(parts: Parts, part: Part, recorder: Recorder) -> Iterator[Entry]:
  """The files of one of the sources, each recorded as it passes."""
  if not parts.is_one:
    recorder.begin(part.name)
  streams = map(recorder.entries, part.source.streams)
  yield from part.entries(itertools.chain.from_iterable(streams))
  recorder.others(part.source)
