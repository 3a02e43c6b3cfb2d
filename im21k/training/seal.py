"""The seal of a checkpoint: what it holds, of which run, and a checksum of every array.

In come the parts of a checkpoint as they are saved. Out comes a JSON object that is
stored with them; of parts that were restored it says whether they are the same bits.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xxhash

FORMAT = 1
_FILE, _METADATA, _KEY = "_CHECKPOINT_METADATA", "custom_metadata", "im21k"


class Damaged(ValueError):
  """A checkpoint is not what was saved; the message says what differs."""


def make(
  step: int,
  state: Any,
  data: Mapping[str, int],
  clock: Mapping[str, float],
  scores: Mapping[str, float] | None,
  run: Mapping[str, Any],
) -> dict[str, Any]:
  """The seal of these parts, for orbax's `custom_metadata`.

  Args:
    step: steps taken.
    state: tree of arrays, on devices or the host.
    data, clock, scores: small dicts of numbers.
    run: what the run is, ready for JSON.
  """
  body = {
    "step": step,
    "data": dict(data),
    "clock": dict(clock),
    "scores": None if scores is None else dict(scores),
    "run": dict(run),
    "arrays": {name: [*_form(x), _digest(x)] for name, x in _leaves(state)},
  }
  return {_KEY: {"format": FORMAT, "xxh3_128": _text_digest(body), "body": body}}


def read(folder: Path) -> dict[str, Any] | None:
  """The body of the seal in a checkpoint's folder; None if it was saved without.

  Raises:
    Damaged: the seal, or the file of the scores, is missing or not what was saved.
    ValueError: a newer im21k wrote it.
    PermissionError: the file may not be read.
  """
  metadata = _json(folder / _FILE)
  if not isinstance(metadata.get(_METADATA), dict):
    raise Damaged(f"{_FILE} lacks {_METADATA}")
  if not metadata[_METADATA]:  # As im21k before 0.2 and orbax itself leave it.
    _check_scores(folder, None)
    return None
  sealed = metadata[_METADATA].get(_KEY)
  if not isinstance(sealed, dict) or not isinstance(sealed.get("body"), dict):
    raise Damaged(f"{_FILE} holds no seal")
  body: dict[str, Any] = sealed["body"]
  if sealed.get("xxh3_128") != _text_digest({**body}):
    raise Damaged(f"{_FILE} differs from its checksum")
  if sealed.get("format") != FORMAT:
    raise ValueError(
      f"{folder} has checkpoint format {sealed.get('format')!r}, and this im21k reads "
      f"up to {FORMAT}: update im21k"
    )
  _check_scores(folder, body)
  return body


def check_readable(folder: Path) -> None:
  """PermissionError for a file that may not be read, which is no damage."""
  for path in [folder, *folder.rglob("*")]:
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
      raise PermissionError(f"{path} may not be read: change its permissions")


def check_arrays(folder: Path, body: Mapping[str, Any], state: Any) -> None:
  """ValueError if a sealed checkpoint holds other arrays than `state`, by name."""
  saved = {name: array[:2] for name, array in body["arrays"].items()}
  wanted = {name: _form(x) for name, x in _leaves(state)}
  for name in [*wanted, *(name for name in saved if name not in wanted)]:
    if saved.get(name) != wanted.get(name):
      raise ValueError(
        f"{folder} does not fit the model: array {name} is {_words(saved.get(name))} "
        f"there and {_words(wanted.get(name))} in the model. Take another workdir, or "
        "the im21k that wrote it"
      )


def verify(
  step: int, body: Mapping[str, Any] | None, state: Any, data: Any, clock: Any
) -> None:
  """Compares restored parts with the seal, bit by bit.

  Args:
    step: the step that the checkpoint's folder is named after.
    body: of the seal; None if the checkpoint has none.
    state, data, clock: as they were restored.

  Raises:
    Damaged: a part is not what was saved.
  """
  found = int(state.step)
  if found != step or (body and body["step"] != step):
    raise Damaged(f"it is the checkpoint of step {body['step'] if body else found}")
  if body is None:
    return
  for name, array in _leaves(state):
    if body["arrays"].get(name) != [*_form(array), _digest(array)]:
      raise Damaged(f"array {name} differs from its checksum")
  for name, part in (("data", data), ("clock", clock)):
    if dict(part) != body[name]:
      raise Damaged(f"{name} is {dict(part)}, and {body[name]} was saved")


def _check_scores(folder: Path, body: Mapping[str, Any] | None) -> None:
  """Damaged if the scores, by which the best checkpoint is kept, are not as saved."""
  path = folder / "metrics" / "metrics"
  scores = _json(path) if path.parent.exists() or (body and body["scores"]) else None
  if body is not None and _text_digest(scores) != _text_digest(body["scores"]):
    raise Damaged("metrics/metrics differs from its checksum")
  if scores is not None and type(scores.get("top_1")) not in (int, float):
    raise Damaged("metrics/metrics lacks top_1")


def _json(path: Path) -> dict[str, Any]:
  name = "/".join(path.parts[-2:]) if path.name == path.parent.name else path.name
  try:
    document = json.loads(path.read_bytes())
  except PermissionError:
    raise
  except OSError as error:
    raise Damaged(f"{name}: {str(error.strerror).lower()}") from None
  except (ValueError, RecursionError):
    raise Damaged(f"{name} is not JSON") from None
  if not isinstance(document, dict):
    raise Damaged(f"{name} is not a JSON object")
  return document


def _leaves(state: Any) -> list[tuple[str, Any]]:
  return [
    (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(state)
  ]


def _form(array: Any) -> list[Any]:
  return [list(array.shape), np.dtype(array.dtype).name]


def _words(form: list[Any] | None) -> str:
  return f"{form[1]} {tuple(form[0])}" if form else "missing"


def _digest(array: Any) -> str:
  """xxh3_128 of an array's bytes in C order; a replicated one counts once."""
  flat = np.ascontiguousarray(np.asarray(array)).reshape(-1)
  return xxhash.xxh3_128_hexdigest(flat.view(np.uint8).data)


def _text_digest(document: Any) -> str:
  return xxhash.xxh3_128_hexdigest(json.dumps(document, sort_keys=True).encode())
