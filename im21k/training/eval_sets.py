"""Sets of held-out photos: which a run has, and their scores.

In come the split that `data` holds out and the folders of `eval_data`. Out come scorers
that share one compiled step, and their scores under the keys of `eval_keys`.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from flax import linen as nn

from im21k import synsets, words
from im21k.dataset.manifest import Manifest
from im21k.evaluation import inputs, score
from im21k.training.eval_keys import SCORES, main_of
from im21k.training.progress import Progress
from im21k.weights import Input


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalSet:
  """Photos that are evaluated during training.

  Attributes:
    name: in `eval_data`; "" for those that `data` holds out.
    folder, split: where they are.
    manifest: of the folder.
    is_main: whether the best checkpoint is kept by its top-1.
    scorer: scores variables on them.
  """

  name: str
  folder: Path
  split: inputs.Split
  manifest: Manifest
  is_main: bool
  scorer: score.Scorer

  @property
  def count(self) -> int:
    """Number of photos."""
    return self.manifest.count(self.split)

  @property
  def prefix(self) -> str:
    """Of the keys of its scores in a row of metrics."""
    return "eval_" if self.is_main else f"eval_{self.name}_"


def open_all(
  named: Mapping[str, str],
  data: tuple[Path, Manifest],
  model: nn.Module,
  prepared: Input,
  classes: synsets.ClassList,
  *,
  devices: Sequence[jax.Device],
  batch_size: int,
  threads: int | None,
) -> tuple[EvalSet, ...]:
  """The sets of a run, that which the best checkpoint goes by first.

  Args:
    named: folders by name, see `eval_keys.checked`.
    data: the folder that is trained on, and its manifest.
    model, prepared, classes: what is scored.
    devices, batch_size, threads: see `score.Scorer`.

  Raises:
    FileNotFoundError: there are no packed photos.
    ValueError: they are damaged or those that are trained on, or no class of theirs is
      known to the model.
  """
  folder, trained = data
  places: dict[str, tuple[Path, inputs.Split, Manifest]] = {}
  if "eval" in inputs.packed_splits(trained):
    places[""] = folder, "eval", trained
  main = "" if places else main_of(named)
  for name, place in named.items():
    places[name] = _opened(name, Path(place), trained, classes)
  found: list[EvalSet] = []
  for name in sorted(places, key=lambda name: name != main):
    where, split, manifest = places[name]
    photos = inputs.open_photos(where, split)
    scorer = (
      found[0].scorer.over(photos)
      if found
      else score.Scorer(
        model, prepared, classes, photos,
        devices=devices, batch_size=batch_size, threads=threads,
      )
    )  # fmt: skip
    found.append(
      EvalSet(
        name=name, folder=where, split=split, manifest=manifest,
        is_main=name == main, scorer=scorer,
      )
    )  # fmt: skip
  return tuple(found)


def _opened(
  name: str, folder: Path, trained: Manifest, classes: synsets.ClassList
) -> tuple[Path, inputs.Split, Manifest]:
  key = f"eval_data.{name}"
  try:
    manifest = Manifest.load(folder)
    split = inputs.only_split(inputs.packed_splits(manifest), "eval")
  except (ValueError, OSError) as error:
    raise type(error)(f"{key}: {error}") from error
  own = {shard.xxh3_128 for shard in trained.splits.get("train", ())}
  if own & {shard.xxh3_128 for shard in manifest.splits[split]}:
    raise ValueError(
      f"{key} is {folder}, whose {split} photos are those that are trained on: name "
      "other photos, or hold some out with im21k pack --eval-per-class"
    )
  if not set(manifest.classes(folder).synsets) & set(classes.synsets):
    raise ValueError(
      f"{key} is {folder}, none of whose classes ({manifest.class_list}) is one of the "
      f"{len(classes):,} of {classes.name}: name photos of these classes"
    )
  return folder, split, manifest


def evaluate(
  sets: Sequence[EvalSet], variables: Any, progress: Progress, step: int
) -> dict[str, Any]:
  """Scores of all sets, by the keys of a row of metrics.

  Raises:
    ValueError: no photo of a set is of a class that the model has.
  """
  row: dict[str, Any] = {}
  for one in sets:
    begun = time.monotonic()
    with progress.evaluating(step, one.count, one.name) as scores:
      measured = _measured(one, variables)
      if measured["loss"] is None:
        raise ValueError(
          f"{one.folder}: none of {words.counted(measured['images'], 'photo')} is of a "
          "class that the model has: name other photos, or leave out "
          f"{'eval_data.' + one.name if one.name else 'them'}"
        )
      scores |= {name: measured[name] for name in SCORES}
      scores |= {"count": measured["images"]}
      scores |= {name: measured[name] for name in ("bad", "unknown")}
    took = round(time.monotonic() - begun, 2)
    row |= {f"{one.prefix}{name}": n for name, n in {**scores, "secs": took}.items()}
    if one.is_main and one.name:
      row["eval_set"] = one.name
  return row


def _measured(one: EvalSet, variables: Any) -> dict[str, Any]:
  try:
    return one.scorer(variables).rows()[0]
  except ValueError as error:
    raise ValueError(f"{one.folder}: {error}") from error


def of_main(row: Mapping[str, Any]) -> dict[str, Any]:
  """The scores in a row by which a checkpoint is judged, as it keeps them."""
  return {name: row[f"eval_{name}"] for name in (*SCORES, "count", "bad")}
