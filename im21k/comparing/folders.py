"""The folder of a sweep: which run is in which work folder, how far, and at what cost.

A run is recognised by what it is, all keys and the hashes of its data, not by the name
of its folder: a sweep that grows by a key or a value keeps the runs that it has.
"""

import json
from pathlib import Path
from typing import Any

from im21k import documents, files, lock, weights
from im21k.comparing.grid import Run, as_text
from im21k.training import keys, policies, resume
from im21k.training.config import Config

RECORD = "sweep.json"  # in each work folder
_CONFIG, _REMAT = "config.json", "model.remat"
# Keys that change no number of a run.
_FREE = (
  "threads", "workers", "save_every", "keep_latest", "keep_best", "reference",
  "trackers",
)  # fmt: skip
Identity = dict[str, Any]


def identity(config: Config, hashes: dict[str, str]) -> Identity:
  """What a run is: values by dotted name; of a place, the hash of what is there."""
  flat = keys.flat(config.resolved())
  found = {k: v for k, v in flat.items() if k.partition(".")[0] not in _FREE}
  if any(name.startswith("eval_data.") for name in hashes):  # A hash for each folder.
    del found["eval_data"]
  return {**found, **hashes}


class Folders:
  """The work folders in the folder of a sweep."""

  def __init__(self, root: Path):
    """Reads each config.json below `root`; one that is damaged is left out."""
    self._root = root
    self._known: dict[str, Identity] = {}
    self._by_key: dict[str, str] = {}
    for path in sorted(root.glob(f"*/{_CONFIG}")) if root.is_dir() else ():
      try:
        found = _recorded(path)
      except (ValueError, OSError):
        continue  # If a run needs this folder, `find` says so.
      self._known[path.parent.name] = found
      for kept in (found, _without_remat(found)):
        self._by_key.setdefault(_text(kept), path.parent.name)

  def find(self, run: Run, hashes: dict[str, str]) -> Path:
    """The folder of a run: that which holds it, or the one to begin it in.

    Raises:
      ValueError: the folder of its name holds another run, or is damaged.
    """
    own = self._root / run.name
    wanted = identity(run.config, hashes)
    is_open = policies.is_open(run.config)  # The run has chosen, its config.json says.
    text = _text(_without_remat(wanted) if is_open else wanted)
    here = self._known.get(run.name)
    if here is not None and _text(_without_remat(here) if is_open else here) == text:
      return own
    if text in self._by_key:
      return self._root / self._by_key[text]
    if here is not None:
      differences = _differences(here, wanted, is_open)
      raise ValueError(
        f"{own} holds a run with other settings: {differences}. Take another workdir, "
        "or the old settings"
      )
    if (own / _CONFIG).is_file():
      _recorded(own / _CONFIG)
    return own


def _recorded(path: Path) -> Identity:
  """What the run with this config.json is; ValueError if that cannot be read."""
  document = documents.read(path)
  hashes = document.get(resume.HASHES, {})
  if not isinstance(hashes, dict):
    raise ValueError(f"{path} is damaged: {resume.HASHES} is no JSON object")
  try:
    return identity(resume.config_of(document), hashes)
  except ValueError as error:
    raise ValueError(
      f"{path} cannot be read by this im21k: {error}. Take another workdir"
    ) from error


def _without_remat(found: Identity) -> Identity:
  return {name: value for name, value in found.items() if name != _REMAT}


def _text(found: Identity) -> str:
  return json.dumps(found, sort_keys=True)


def _differences(here: Identity, wanted: Identity, is_open: bool) -> str:
  names = [name for name in {**wanted, **here} if not (is_open and name == _REMAT)]
  return "; ".join(
    f"{name} was {as_text(here.get(name))}, is {as_text(wanted.get(name))}"
    for name in names
    if here.get(name) != wanted.get(name)
  )


def is_finished(folder: Path, total: int) -> bool:
  """Whether the weights of the run's last step are there."""
  path = folder / "weights" / weights.DOCUMENT
  if not path.is_file():
    return False
  config = documents.read(path).get("config", {})
  return isinstance(config, dict) and config.get(resume.STEP) == total


def last_step(folder: Path) -> int | None:
  """The step of the newest complete checkpoint; None: there is none."""
  below = folder / "checkpoints"
  names = [path.name for path in below.iterdir()] if below.is_dir() else []
  return max((int(n) for n in names if n.isascii() and n.isdigit()), default=None)


def is_free(folder: Path) -> bool:
  """Whether nobody trains in a folder now."""
  if not folder.is_dir():
    return True
  try:
    with lock.hold(folder, "looking"):
      return True
  except lock.Held:
    return False


class Record:
  """What a sweep notes in a work folder: each stretch that a run was trained for.

  Attributes:
    failed: `reason` and `kind` of the last failure; None: it has not failed.
    is_whole: whether the end of every stretch is known.
  """

  def __init__(self, folder: Path):
    """Reads what was noted before.

    Raises:
      ValueError: it is damaged.
    """
    self._path = folder / RECORD
    found = documents.read(self._path) if self._path.is_file() else {}
    pieces, self.failed = found.get("pieces", []), found.get("failed")
    sound = isinstance(pieces, list) and all(
      isinstance(one, dict) and {"seconds", "processor_s"} <= {*one} for one in pieces
    )
    if not sound or not isinstance(self.failed, dict | None):
      raise ValueError(f"{self._path} is damaged: remove it")
    self._pieces: list[dict[str, Any]] = pieces

  @property
  def is_whole(self) -> bool:
    """Whether the end of every stretch is known."""
    return bool(self._pieces) and all(
      one["seconds"] is not None for one in self._pieces
    )

  @property
  def diverged(self) -> bool:
    """Whether its loss was not finite, as it would be again."""
    return self.failed is not None and self.failed.get("kind") == "FloatingPointError"

  def sum(self, name: str) -> float | None:
    """`seconds` or `processor_s` of all stretches of which the end is known."""
    known = [one[name] for one in self._pieces if one[name] is not None]
    return sum(known) if known else None

  def begin(self) -> None:
    """Notes that a stretch begins: if it is killed, its cost stays unknown."""
    self._pieces.append({"seconds": None, "processor_s": None})
    self.failed = None
    self._write()

  def end(self, seconds: float, processor_s: float, failed: Any = None) -> None:
    """Notes the end of the stretch, and why it failed."""
    self._pieces[-1] = {
      "seconds": round(seconds, 2), "processor_s": round(processor_s, 2)
    }  # fmt: skip
    self.failed = failed
    self._write()

  def drop(self) -> None:
    """Forgets the stretch that began: another process was training there."""
    self._pieces.pop()
    self._write()

  def _write(self) -> None:
    body = {"pieces": self._pieces, "failed": self.failed}
    files.write_text(self._path, json.dumps(body, indent=1) + "\n")
