"""Paths and options as given -> the places to read, with split and name of each.

A folder of ImageNet's downloads stands for the archives in it; photos of `--eval` are
the eval split, and then nothing else is held out.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from im21k.packing.config import PackOptions
from im21k.photos import downloads, tfds


class Given(NamedTuple):
  """A place of photos; `split` is "train", "eval", or "" where options divide them."""

  path: Path
  split: str


def given(paths: Sequence[Path], options: PackOptions) -> list[Given]:
  """The places to read, and the split of each.

  Raises:
    ValueError: places or options do not go together; says what to leave out.
  """
  found: list[Given] = []
  for path in paths:
    layout = downloads.find(path) if is_path(path) else None
    if layout is None or options.source_split:
      found.append(Given(path, ""))
      continue
    places = (("train", layout.train), ("eval", layout.eval))
    found += [Given(place, split) for split, place in places if place]
  own = [one.path for one in found if one.split == "eval"]
  if options.eval is not None:
    if own:
      raise ValueError(
        f"eval is {options.eval}, but {own[0]} is there too and would be the eval "
        "split: leave eval out, or give the photos to train on alone"
      )
    layout = downloads.find(options.eval) if is_path(options.eval) else None
    place = layout and (layout.eval or layout.train)
    found.append(Given(place or options.eval, "eval"))
  if any(one.split == "eval" for one in found):
    _refuse_holding_out(options, found)
    found = [one._replace(split=one.split or "train") for one in found]
  elif len(found) == 1:
    found = [one._replace(split="") for one in found]
  _refuse_twice(found)
  return found


def named(places: Sequence[Given]) -> list[str]:
  """Names of the places, none twice, and each one part of a path."""
  found: list[str] = []
  for one in places:
    text = str(one.path)
    is_named = one.path.name not in ("", "..")
    name = one.path.name if is_named else one.path.resolve().name
    name = name if is_path(one.path) else text.replace("/", ":")
    name, number = name or "photos", 1
    while (called := name if number == 1 else f"{name}-{number}") in found:
      number += 1
    found.append(called)
  return found


def is_path(path: Path) -> bool:
  return not str(path).startswith(tfds.PREFIX)


def absolute(path: Path) -> Path:
  """The same place for any working directory."""
  return path.absolute() if is_path(path) else path


def with_absolute(options: PackOptions) -> PackOptions:
  """The same options for any working directory."""
  given = vars(options).items()
  paths: dict[str, Any] = {k: absolute(v) for k, v in given if isinstance(v, Path)}
  return dataclasses.replace(options, **paths)


def _refuse_holding_out(options: PackOptions, found: Sequence[Given]) -> None:
  names_of = ("eval_fraction", "eval_per_class", "eval_keys")
  held = [name for name in names_of if getattr(options, name)]
  if held:
    (first, *_) = (one.path for one in found if one.split == "eval")
    raise ValueError(
      f"{held[0]} holds out photos to evaluate on, but {first} is the eval split: "
      f"leave {held[0]} out, or leave out {first}, so that no photo of another kind "
      "is among them"
    )


def _refuse_twice(found: Sequence[Given]) -> None:
  """ValueError if photos would be read twice."""
  places = [one.path.resolve() for one in found if is_path(one.path)]
  for at, path in enumerate(places):
    for other in places[:at]:
      is_inside = path.is_dir() and other.is_dir()
      if path == other or (
        is_inside and (path in other.parents or other in path.parents)
      ):
        what = "is given twice" if path == other else f"and {other} are in each other"
        raise ValueError(f"{path} {what}: photos would be read twice; leave one out")
