"""Variables and labelled photos -> exact scores: the one scorer.

The training loop and `im21k evaluate` run the same loader, step and sums: photos of any
source come in as centre crops, ranks of the right classes go into `accuracy.Scores`.
"""

import copy
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int
from tqdm import tqdm

from im21k import parallel, synsets, weights, words
from im21k.evaluation import inputs
from im21k.evaluation.accuracy import Scores
from im21k.evaluation.results import first_of
from im21k.hosts import session, together
from im21k.loading import scoring
from im21k.loading.config import check_batch_size
from im21k.photos import Source

_LEAST_CROP = 1 / 32  # Below it, photos are enlarged to more than memory holds.


@runtime_checkable
class Model(Protocol):
  """What the scorer needs of a Flax module."""

  def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
    """Variables and float32 `[b, h, w, 3]` -> logits `[b, classes]` and the rest."""


class Scorer:
  """Scores the variables of one model on the same photos, as often as it is called.

  The step is compiled by the first call and used again by all others.
  """

  def __init__(
    self,
    model: Model,
    prepared: weights.Input,
    classes: synsets.ClassList,
    photos: Source,
    *,
    devices: Sequence[jax.Device],
    batch_size: int,
    subsets: Mapping[str, Any] | None = None,
    threads: int | None = None,
  ):
    """Prepares to read; nothing is compiled yet.

    Args:
      model: gives logits; `Mirrored` is one that averages over mirror images.
      prepared: how photos become the model's input.
      classes: what the logits mean.
      photos: of any source, see `inputs.open_photos`.
      devices: that share each batch.
      batch_size: photos at a time, over all devices of all hosts.
      subsets: by name, bool `[classes]`, the classes that may be answered; None allows
        all. By default one subset of all classes.
      threads: for reading and decoding; by default two a core.

    Raises:
      ValueError: batch_size is not divisible by the number of devices.
    """
    self._classes, self._devices = classes, devices
    self._subsets = subsets or {f"all {len(classes):,}": None}
    check_batch_size(batch_size, len(devices), parallel.hosts())
    self._load = functools.partial(
      scoring.ScoreLoader,
      classes=classes,
      batch_size=batch_size // parallel.hosts(),
      devices=len(devices),
      image_size=prepared.size,
      short_side=prepared.short_side,
      threads=threads,
    )
    self._loader = self._load(_share(photos))
    step = rank_step(model, prepared.mean, prepared.std, self._subsets)
    self._step = parallel.eval_step(step, devices)

  def over(self, photos: Source) -> "Scorer":
    """A scorer of other photos with the same step, which is compiled but once."""
    other = copy.copy(self)
    other._loader = self._load(_share(photos))
    return other

  def __call__(self, variables: Any) -> Scores:
    """Scores of variables, which may be on the devices already or in host memory.

    Raises:
      ValueError: no photo can be decoded and has a class.
    """
    placed = parallel.place(variables, self._devices)
    scores = Scores(self._classes, self._subsets)
    batches = tqdm(
      self._loader, desc="evaluate", unit=" batches",
      disable=True if parallel.host() else None,
    )  # fmt: skip
    for batch, examples in together.in_step(batches, self._loader.filler):
      ranks = jax.device_get(self._step(placed, batch))
      scores.add(examples, parallel.own_rows(ranks))
    if watch := session.current():
      documents = watch.gather("the scores", scores.document())
      scores = Scores(self._classes, self._subsets)
      for document in documents:
        scores.include(document)
    if not scores.rows():
      raise ValueError(
        f"none of {words.counted(len(scores.bad), 'photo')} can be scored"
        f"{first_of(scores.bad)}"
      )
    return scores


def _share(photos: Source) -> Source:
  """The photos of this host; all on one."""
  hosts = parallel.hosts()
  return photos if hosts == 1 else photos.share(parallel.host(), hosts)


def for_weights(
  released: weights.Weights,
  photos: Source,
  *,
  devices: Sequence[jax.Device],
  batch_size: int,
  crop_fraction: float | None = None,
  flip: bool = False,
) -> Scorer:
  """The scorer of released weights: among all classes, and those of ILSVRC2012.

  Args:
    released: the weights; the scorer takes other variables of the same model, too.
    photos: of any source, see `inputs.open_photos`.
    devices: that share each batch.
    batch_size: photos at a time, over all devices.
    crop_fraction: side of the centre crop over the photo's short side; None: as the
      weights were trained.
    flip: whether to average logits with those of the mirror image.

  Raises:
    ValueError: crop_fraction is out of range, or batch_size not divisible.
  """
  prepared, classes = released.input, released.classes
  inputs.check_batch(batch_size, prepared.size)
  if crop_fraction is not None:
    if not _LEAST_CROP <= crop_fraction <= 1:
      raise ValueError(
        f"crop_fraction is {crop_fraction}, but must be from {_LEAST_CROP} to 1"
      )
    short_side = round(prepared.size / crop_fraction)
    prepared = dataclasses.replace(prepared, short_side=short_side)
  subsets: dict[str, Any] = {f"all {len(classes):,}": None}
  indices, _ = synsets.subset_indices(synsets.ilsvrc2012(), classes)
  if len(indices):
    allowed = np.zeros(len(classes), bool)
    allowed[indices] = True
    subsets[f"{len(indices):,} of ilsvrc2012"] = allowed
  return Scorer(
    Mirrored(released.model) if flip else released.model,
    prepared,
    classes,
    photos,
    devices=devices,
    batch_size=batch_size,
    subsets=subsets,
  )


@dataclasses.dataclass(frozen=True)
class Mirrored:
  """A model whose logits are the mean of those of an image and of its mirror image."""

  model: Model

  def apply(self, variables: Any, images: jax.Array, **options: Any) -> Any:
    """Images `[b, h, w, 3]` -> logits `[b, classes]`, and nothing else."""
    logits, _ = self.model.apply(variables, images, **options)
    other, _ = self.model.apply(variables, images[:, :, ::-1], **options)
    return (logits + other) / 2, {}


def rank_step(
  model: Model, mean: Any, std: Any, subsets: Mapping[str, Any]
) -> Callable[[Any, dict[str, Any]], dict[str, dict[str, jax.Array]]]:
  """Makes the step for `parallel.eval_step`.

  Args:
    model: gives logits.
    mean, std: of the normalisation.
    subsets: by name, bool `[classes]`, the classes that may be answered; None allows
      all.

  Returns:
    A function of variables and a batch, whose result holds for each subset `rank` and
    `loss` of the batch's examples, `[devices · b]`, whatever mask and label they have.
  """

  def step(variables: Any, batch: dict[str, Any]) -> dict[str, dict[str, jax.Array]]:
    image, label = weights.normalize(batch["image"], mean, std), batch["label"]
    logits, _ = model.apply(variables, image, train=False)
    ranks = {}
    for name, allowed in subsets.items():
      within = logits if allowed is None else jnp.where(allowed, logits, -jnp.inf)
      losses = optax.softmax_cross_entropy_with_integer_labels(within, label)
      ranks[name] = {"rank": rank(within, label), "loss": losses}
    gathered: dict[str, dict[str, jax.Array]] = jax.tree.map(parallel.gather, ranks)
    return gathered

  return step


def rank(
  logits: Float[jax.Array, "b n"], label: Int[jax.Array, " b"]
) -> Int[jax.Array, " b"]:
  """How many classes come before the right one: `[b, n]`, `[b]` -> int `[b]`.

  A class of equal logit comes before, if it is not the right one; so a model that
  answers the same to everything earns nothing. A label with a logit that is not
  finite comes last.
  """
  own = jnp.take_along_axis(logits, label[:, None], axis=-1)
  before = (logits >= own).sum(-1) - 1
  return jnp.where(jnp.isfinite(own[:, 0]), before, logits.shape[-1])
