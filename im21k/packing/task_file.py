"""Tasks of a stage -> a file on the shared disk, from which any worker runs a group.

What passes through an engine is where in the file a group of tasks begins, and how many
they are: neither the driver nor the engine's graph holds them all. What a task leaves
are files, which appear whole or not at all and have the same bytes whenever and however
often it runs; so an engine may run a group again, or twice at once.
"""

import array
import contextlib
import functools
import hashlib
import importlib.metadata
import os
import pickle
import re
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import im21k
from im21k import files
from im21k.packing import scratch

Group = tuple[int, int]  # where the first of its tasks begins in the file; their number

_MOST_GROUPS = 10_000  # Some engines take a graph of at most 10 MB.
_NAMES = 3  # entries of a folder that workers look for
# What decides about the bytes of downscaled photos and of shards.
_LIBRARIES = (
  "array-record", "opencv-python-headless", "pillow", "simplejpeg", "turbojpeg",
)  # fmt: skip
_REPORT = re.compile(r"im21k worker (\S+): (\w+) (\d*): (.*?) \[end of report\]", re.S)

# Engines run several tasks at once in threads of a process: their memory, buffers and
# temporary files are those of a process.
_one_at_a_time = threading.Lock()


class TaskError(Exception):
  """A task failed on a worker; the message passes through an engine as text."""


class Place(NamedTuple):
  """What workers have to see: a path, bytes of a file or -1, names in a folder."""

  path: str
  size: int
  names: tuple[str, ...] = ()

  @classmethod
  def of(cls, path: Path) -> "Place":
    """The file or folder that is there now."""
    if not path.is_dir():
      return cls(str(path), path.stat().st_size)
    with os.scandir(path) as entries:
      names = tuple(
        entry.name for _, entry in zip(range(_NAMES), entries, strict=False)
      )
    return cls(str(path), -1, names)

  def check(self) -> None:
    """FileNotFoundError unless it is the same here."""
    remedy = "all workers must see it at this path"
    try:
      size = -1 if os.path.isdir(self.path) else os.stat(self.path).st_size
    except OSError as error:
      raise FileNotFoundError(
        f"source {self.path} is not there ({error.strerror}): {remedy}"
      ) from error
    if size != self.size:
      raise FileNotFoundError(f"source {self.path} is another one here: {remedy}")
    for name in self.names:
      if not os.path.lexists(os.path.join(self.path, name)):
        raise FileNotFoundError(
          f"source {self.path} is another one here, without {name}: {remedy}"
        )


@contextlib.contextmanager
def written(
  destination: Path,
  function: Callable[[Any], object],
  tasks: Iterable[Any],
  places: Sequence[Place],
  part: int = 0,
) -> Iterator[tuple[str, list[Group]]]:
  """A file with all tasks, until the context ends; it is written as they come.

  Args:
    destination: folder for the shards, on a disk that workers share.
    function: what to do with each task; it and they can be pickled.
    tasks: the tasks.
    places: what workers have to see beside the destination.
    part: zero-based number of the part of the work.

  Yields:
    Path of the file, and groups of tasks for `run_group`.
  """
  # As a temporary file, it is removed by the next run if this one is killed.
  name = files.temporary_name(f"tasks-{part}-{uuid.uuid4().hex}")
  path = destination / scratch.FOLDER / name
  starts = array.array("q")
  try:
    with path.open("wb") as file:
      pickle.dump((function, tuple(places), versions()), file)
      for task in tasks:
        starts.append(file.tell())
        pickle.dump(task, file)
      end = file.tell()
    files.sync(path)
    yield str(path), _groups(starts) or [(end, 0)]
  finally:
    path.unlink(missing_ok=True)


def run_group(path: str, group: Group) -> tuple[()]:
  """Runs tasks of a file, on a worker.

  Raises:
    TaskError: a task failed, or this worker cannot do any; the message is for `report`.
  """
  with _one_at_a_time:
    try:
      start, count = group
      function = _function(path)
      with open(path, "rb") as file:
        file.seek(start)
        for _ in range(count):
          task = pickle.load(file)
          # Engines may lose a worker that still works, when another run has begun.
          _check_awaited(path)
          function(task)
    except Exception as error:
      raise TaskError(_reported(error)) from error
  return ()


def report(text: str) -> OSError | ValueError | None:
  """The error of a worker in the text of an engine's error, as if raised here."""
  match = _REPORT.search(text)
  if match is None:
    return None
  host, kind, number, message = match.groups()
  message = f"{message} (worker {host})"
  if kind == "ValueError":
    return ValueError(message)
  return OSError(int(number), message) if number else ChildProcessError(message)


@functools.cache
def versions() -> dict[str, str]:
  """What must be the same on all machines: this package's code, and some libraries."""
  root = Path(im21k.__file__).parent
  digest = hashlib.sha256()
  for path in sorted(root.rglob("*.py")):
    digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
  found = {"im21k": digest.hexdigest()[:12]}
  for name in _LIBRARIES:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      found[name] = importlib.metadata.version(name)
  return found


def _groups(starts: Sequence[int]) -> list[Group]:
  size = -(-len(starts) // _MOST_GROUPS) or 1
  at = range(0, len(starts), size)
  return [(starts[first], min(size, len(starts) - first)) for first in at]


@functools.lru_cache(maxsize=1)
def _function(path: str) -> Callable[[Any], object]:
  """The function of a file, once this worker turns out to be able to run it."""
  folder = Path(path).parent
  try:
    with open(path, "rb") as file:
      function, places, expected = pickle.load(file)
  except (FileNotFoundError, NotADirectoryError) as error:
    raise FileNotFoundError(
      f"{folder} of the driver is not there, or the driver has ended: source and "
      "destination must be on a disk that all machines share, at the same path"
    ) from error
  for name, here in versions().items() | expected.items():
    theirs, here = expected.get(name, "none"), versions().get(name, "none")
    if here != theirs:
      raise ChildProcessError(
        f"{name} is {here} here, but {theirs} where the command runs: install the same"
      )
  for place in places:
    place.check()
  if not os.access(folder, os.W_OK | os.X_OK):
    raise PermissionError(f"{folder} cannot be written to")
  return function  # type: ignore[no-any-return]


def _check_awaited(path: str) -> None:
  if not os.path.exists(path):
    raise ChildProcessError("the command that began this task has ended")


def _reported(error: Exception) -> str:
  """An error in one line that `report` finds again in any text around it."""
  number, text = "", str(error)
  if isinstance(error, OSError) and error.strerror:
    number, text = str(error.errno or ""), error.strerror
    if error.filename is not None:
      text = f"{os.fsdecode(error.filename)}: {text}"
  kind = "ValueError" if isinstance(error, ValueError) else type(error).__name__
  if not isinstance(error, ValueError | OSError):
    text = f"unexpected {kind}: {text}"
  text = " ".join(text.split()) or kind
  return f"im21k worker {socket.gethostname()}: {kind} {number}: {text} [end of report]"
