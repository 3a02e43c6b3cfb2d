"""Weights and photos -> parts of features in a folder, as far as they are missing.

A part ends where a batch ends, so each batch holds the same photos again after a
restart, and gives the same bytes.
"""

import contextlib
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from im21k import lock, parallel, weights, words
from im21k.features import stages, stream
from im21k.features.part_files import Parts, Place
from im21k.features.position import Ends, OtherPhotos, Rest, Turns
from im21k.hosts import session
from im21k.photos import Source

_PHOTOS = 2_048  # At most in a part.
_BYTES = 32 << 20  # Of the rows in a part, but a batch at least.


@dataclasses.dataclass(frozen=True)
class Job:
  """Photos, and what is to be computed of each.

  Attributes:
    released: the weights.
    source: the photos.
    stage: name of the stage.
    shape: of the stage, for one photo.
    dtype: of the numbers.
    batch_size: photos at a time, over all devices.
    devices: that share each batch.
  """

  released: weights.Weights
  source: Source
  stage: str
  shape: tuple[int, ...]
  dtype: stages.DType
  batch_size: int
  devices: Sequence[jax.Device]

  def asked(self) -> dict[str, Any]:
    """What determines the numbers, as JSON gives it back."""
    asked = {
      "input": dataclasses.asdict(self.released.input),
      "stage": self.stage,
      "shape": self.shape,
      "dtype": self.dtype,
      "batch_size": self.batch_size,
      "devices": f"{parallel.hosts() * len(self.devices)} "
      f"{self.devices[0].device_kind}",
    }
    again: dict[str, Any] = json.loads(json.dumps(asked))
    return again

  def fill(self, folder: Path, asked: dict[str, Any]) -> Parts:
    """Computes the parts that are not in the folder yet; other hosts `help`.

    Raises:
      ValueError: none of the photos can be decoded, or hosts have not read the same
        ones; then nothing is left there.
    """
    try:
      with lock.hold(folder, "computing features"):
        parts = Parts(folder, asked, self.released.classes.synsets)
        if parts.is_done:
          needs_no_help()
        else:
          parts.begin()
          try:
            self._compute(parts)
          except OtherPhotos:  # Of these parts, too, perhaps.
            parts.remove()
            raise
          if not parts.total("rows"):
            bad = parts.bad
            parts.remove()
            raise ValueError(_none(asked["photos"], bad))
          parts.finish()
        return parts
    finally:
      with contextlib.suppress(OSError):  # It is not empty: as it should be.
        folder.rmdir()

  def help(self) -> None:
    """Does this host's part of what the first host fills a folder with."""
    self._compute(None)

  def _compute(self, parts: Parts | None) -> None:
    """Computes what is missing in the parts, which the first host alone has."""
    begin = (parts.total("photos"), parts.end) if parts else None
    begin = _first_says(begin)
    if begin is None:
      return
    done, end = begin
    hosts = parallel.hosts()
    turns = Turns(parallel.host(), hosts, self.batch_size // hosts)
    rest = Rest(self.source, end, done, turns)
    ends = Ends(rest, turns)
    computed = stream.extract(
      self.released,
      Source((rest,)),
      self.stage,
      devices=self.devices,
      batch_size=self.batch_size,
      dtype=self.dtype,
    )
    waiting: list[stream.Rows] = []
    read = 0

    def add() -> None:
      place = ends.place(read, waiting[-1].read, waiting[-1].last)
      if parts:
        parts.add(waiting, place)
      waiting.clear()

    with tqdm(
      total=self.source.count,
      initial=done,
      desc="features",
      unit=" photos",
      disable=None if parts else True,
    ) as progress:
      for batch in computed:
        waiting.append(batch)
        read += batch.read
        progress.update(batch.read)
        if len(waiting) == self._batches:
          add()
      if waiting:
        add()
      ends.check()

  @property
  def _batches(self) -> int:
    """Batches in a part."""
    row = math.prod(self.shape) * np.dtype(self.dtype).itemsize
    return max(1, min(_PHOTOS, _BYTES // row) // self.batch_size)


def needs_no_help() -> None:
  """Tells hosts that `help` that there is nothing to do."""
  _first_says(None)


def _first_says(begin: tuple[int, Place | None] | None) -> Any:
  """How many photos the first host has parts of, and where these end; None: of all."""
  value = begin and (begin[0], begin[1] and dataclasses.asdict(begin[1]))
  said = session.all_say("the parts", value)[0]
  return said and (said[0], said[1] and Place(**said[1]))


def _none(photos: str, bad: list[dict[str, Any]]) -> str:
  """The error where there is no row: how many photos there were, and why not."""
  if not bad:
    return f"{photos}: it holds no photos"
  return (
    f"none of {words.counted(len(bad), 'photo')} can be decoded; "
    f"{bad[0]['photo']}: {bad[0]['reason']}"
  )
