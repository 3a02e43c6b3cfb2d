"""Any source of photos -> a stage of the network, each photo once, over all devices.

In: weights, a `photos.Source`, the name of a stage. Out: batch after batch, the rows of
the photos that could be decoded, and why the others have none. The devices compute one
batch while the next is read and decoded.
"""

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from im21k import parallel, weights
from im21k.evaluation import inputs
from im21k.features import stages
from im21k.hosts import session, together
from im21k.loading import scoring
from im21k.loading.config import check_batch_size
from im21k.photos import Photo, Source, photo_file
from im21k.photos.photo import Loss


class Rows(NamedTuple):
  """What became of some photos.

  Attributes:
    keys: of the photos that have a row.
    synsets: the class of each; "" where nothing says it.
    values: `[n, …]`, a stage of the network for each.
    bad: the photos that could not be decoded.
    read: number of photos, good or bad.
    last: key of the last of them.
    bad_at: position of each bad one among them.
  """

  keys: list[str]
  synsets: list[str]
  values: Float[np.ndarray, "n ..."]
  bad: list[scoring.Item]
  read: int
  last: str
  bad_at: tuple[int, ...] = ()


class Vector(NamedTuple):
  """One photo of `of_files`.

  Attributes:
    key: its path, as it was given.
    values: a stage of the network; None where there is an error.
    error: why not, in a line.
  """

  key: str
  values: Float[np.ndarray, "..."] | None
  error: str | None


def of_files(
  released: weights.Weights,
  paths: Iterable[str | os.PathLike[str]],
  stage: str = stages.FEATURES,
  *,
  batch_size: int,
) -> Iterator[Vector]:
  """Computes a stage for each of any number of files, in order, on one device.

  Args:
    released: the weights.
    paths: of image files.
    stage: one of `stages.shapes`.
    batch_size: photos at a time.

  Raises:
    ValueError: the model has no such stage, or batch_size is below 1.
    TypeError: paths is one path.
  """
  if isinstance(paths, str | bytes | os.PathLike):
    raise TypeError(f"paths is {paths!r}, one path: give a list of paths")
  inputs.check_batch(batch_size, released.input.size)
  computed = extract(
    released,
    Source((_Files(paths),)),
    stage,
    devices=parallel.devices(1),
    batch_size=batch_size,
  )
  return (vector for rows in computed for vector in _in_order(rows))


class _Files:
  """Paths, of which each is asked for when its turn comes, as a stream of photos."""

  size, count = 0, None

  def __init__(self, paths: Iterable[str | os.PathLike[str]]):
    self._paths = paths

  def photos(self) -> Iterator[Photo]:
    """Each photo once."""
    for given in self._paths:
      path = os.fspath(given)
      yield Photo(path, "", functools.partial(photo_file.read, path))


def _in_order(rows: Rows) -> Iterator[Vector]:
  good = zip(rows.keys, rows.values, strict=True)
  bad = {at: item for at, item in zip(rows.bad_at, rows.bad, strict=True)}
  for at in range(rows.read):
    if at in bad:
      yield Vector(bad[at].key, None, bad[at].error)
    else:
      yield Vector(*next(good), None)


def extract(
  released: weights.Weights,
  photos: Source,
  stage: str = stages.FEATURES,
  *,
  devices: Sequence[jax.Device],
  batch_size: int,
  dtype: stages.DType = "float32",
) -> Iterator[Rows]:
  """Computes a stage for each photo of a source, in the source's order.

  Args:
    released: the weights.
    photos: of any source, see `photos.open`; classes may be missing. Of several hosts
      those of this one, see `position.Turns`; all get the rows of all.
    stage: one of `stages.shapes`.
    devices: that share each batch.
    batch_size: photos at a time, over all devices of all hosts; so many are in each of
      the `Rows` but the last.
    dtype: of the rows.

  Raises:
    ValueError: the model has no such stage, the devices cannot share batch_size, or a
      value is not finite in this dtype.
  """
  stages.shape_of(released, stage)
  check_batch_size(batch_size, len(devices), parallel.hosts())
  loader = scoring.ScoreLoader(
    photos,
    released.classes,
    batch_size=batch_size // parallel.hosts(),
    devices=len(devices),
    image_size=released.input.size,
    short_side=released.input.short_side,
    need_class=False,
  )
  step = parallel.eval_step(stages.mapped(released, stage, dtype), devices)
  placed = parallel.place(released.variables, devices)
  return _each(loader, lambda images: step(placed, {"image": images}), stage)


def _each(loader: scoring.ScoreLoader, run: Any, stage: str) -> Iterator[Rows]:
  waiting: tuple[Any, list[scoring.Item]] | None = None
  for batch, own in together.in_step(loader, loader.filler):
    computing = run(batch["image"])
    if waiting:
      yield _rows(*waiting, stage)
    waiting = computing, _of_all(own)
  if waiting:
    yield _rows(*waiting, stage)


def _of_all(own: list[scoring.Item]) -> list[scoring.Item]:
  """The items of all hosts, in the order of the rows that they compute together."""
  if parallel.hosts() == 1:
    return own
  said = session.all_say("the photos", [dataclasses.astuple(item) for item in own])
  return [
    scoring.Item(key, synset, label, error, Loss(*loss) if loss else None)
    for items in said
    for key, synset, label, error, loss in items
  ]


def _rows(computed: Any, items: list[scoring.Item], stage: str) -> Rows:
  good = [index for index, item in enumerate(items) if item.error is None]
  values = np.asarray(computed)[good]
  finite = np.isfinite(values.reshape(len(good), -1)).all(1) if good else np.array([])
  if not finite.all():
    key = items[good[int(np.argmin(finite))]].key
    remedy = ": use float32" if values.dtype == np.float16 else ""
    raise ValueError(
      f"{key}: stage {stage} has values that are not finite in {values.dtype}{remedy}"
    )
  return Rows(
    [items[index].key for index in good],
    [items[index].synset for index in good],
    values,
    [item for item in items if item.error is not None],
    len(items),
    items[-1].key,
    tuple(at for at, item in enumerate(items) if item.error is not None),
  )
