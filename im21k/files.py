"""Files that appear whole or not at all: temporary file, fsync, rename."""

import contextlib
import errno
import hashlib
import io
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

TEMPORARY = ".writing-"
_LONGEST = 200  # bytes of a name in that of a temporary file, of the 255 there may be
_DAY = 86_400  # seconds


@contextlib.contextmanager
def whole(path: Path, folder: Path | None = None) -> Iterator[Path]:
  """Gives a temporary path, whose file becomes `path` if nothing raises.

  A killed process leaves a file whose name begins with `TEMPORARY`, never half of
  `path`; the next writer of `path` removes it, or `remove_leftovers`.

  Only a regular file is replaced. A symbolic link stays, and the file that it leads to
  is replaced; what is written to a character device or a pipe, such as /dev/stdout, is
  copied to it at the end.

  Args:
    path: the file to write.
    folder: folder of the temporary file, on the same disk; by default that of `path`.

  Raises:
    FileNotFoundError: nothing was written to the temporary path.
    IsADirectoryError: `path` is a folder.
    OSError: `path` is a disk, a socket, or a pipe from which nobody reads.
  """
  if _is_stream(path):
    with _sent_to(path) as aside:
      yield aside
    return
  path = Path(os.path.realpath(path))
  path.parent.mkdir(parents=True, exist_ok=True)
  name = temporary_name(path.name)
  aside = (folder or path.parent) / name
  _remove_dead(aside)
  try:
    yield aside
    sync(aside)
    os.replace(aside, path)
    sync(path.parent)
  finally:
    aside.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
  """Gives a temporary folder, which becomes the new folder `path` if nothing raises.

  What a killed process leaves is removed as in `whole`.

  Raises:
    FileExistsError: `path` exists.
  """
  if os.path.lexists(path):
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
  path.parent.mkdir(parents=True, exist_ok=True)
  aside = path.parent / temporary_name(path.name)
  _remove_dead(aside)
  shutil.rmtree(aside, ignore_errors=True)
  aside.mkdir()
  try:
    yield aside
    for one in (*aside.iterdir(), aside):
      sync(one)
    os.rename(aside, path)  # Refused where `path` has been filled in the meantime.
    sync(path.parent)
  finally:
    shutil.rmtree(aside, ignore_errors=True)


def temporary_name(name: str) -> str:
  """Name of this process's temporary file for a file of this name.

  Its end, with the suffix, is that of the file; its beginning says who writes it.
  """
  end = os.fsencode(name)[-_LONGEST:].decode("utf-8", "ignore")
  return f"{TEMPORARY}{_host()}.{os.getpid()}-{end if len(end) < len(name) else name}"


def write_text(path: Path, text: str, folder: Path | None = None) -> None:
  """Writes `text` in UTF-8 as the file `path`; `folder` is as in `whole`."""
  with whole(path, folder) as aside:
    aside.write_text(text, encoding="utf-8")


def create_text(path: Path, text: str) -> None:
  """Writes `text` as the file `path` unless it exists: of several writers one wins."""
  aside = path.with_name(temporary_name(path.name))
  try:
    aside.write_text(text, encoding="utf-8")
    sync(aside)
    with contextlib.suppress(FileExistsError):
      os.link(aside, path)
    sync(path.parent)
  finally:
    aside.unlink(missing_ok=True)


def open_regular(path: Path) -> io.BufferedReader:
  """Opens a regular file to read it; ValueError for anything else.

  A FIFO that nobody writes to would be waited for, and a device may never end.
  """
  descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
  if not stat.S_ISREG(os.fstat(descriptor).st_mode):
    os.close(descriptor)
    raise ValueError(f"{path} is not a regular file: name a file, or copy it again")
  return os.fdopen(descriptor, "rb")


def sync(path: Path) -> None:
  """Waits until a file's bytes, or a folder's entries, are on the disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def remove_leftovers(
  folder: Path, of: Callable[[str], bool] = lambda name: True
) -> None:
  """Removes temporary files of killed writers; call it while none is writing.

  Args:
    folder: folder of the temporary files.
    of: whether those of a file with this name are to be removed.
  """
  for leftover in folder.glob(f"{TEMPORARY}*"):
    if of(leftover.name.removeprefix(TEMPORARY).partition("-")[2]):
      leftover.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
  """Whether bytes can only be sent to `path`, since it is no file to replace."""
  try:
    mode = os.stat(path).st_mode
  except FileNotFoundError:
    return False
  if stat.S_ISDIR(mode):
    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
  if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
    return True
  if not stat.S_ISREG(mode):
    kind = "a disk" if stat.S_ISBLK(mode) else "a socket"
    raise OSError(f"{path} is {kind}, which is not overwritten: give another file")
  # /dev/stdout, redirected to a file: replaced, it would no longer be standard output.
  while path.is_symlink():
    if path.parent.resolve().match("/proc/*/fd"):
      return True
    path = path.parent / os.readlink(path)
  return False


@contextlib.contextmanager
def _sent_to(path: Path) -> Iterator[Path]:
  """Gives a temporary path, whose bytes are sent to a device or pipe."""
  # Opening a pipe from which nobody reads would wait for ever, but for O_NONBLOCK.
  flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY
  try:
    descriptor = os.open(path, flags)
  except OSError as error:
    if error.errno != errno.ENXIO:
      raise
    raise OSError(f"{path} is a pipe from which nobody reads") from error
  os.set_blocking(descriptor, True)
  with (
    os.fdopen(descriptor, "wb", buffering=0) as stream,
    tempfile.TemporaryDirectory() as folder,
  ):
    yield (aside := Path(folder) / path.name)
    with aside.open("rb") as file:
      try:
        shutil.copyfileobj(file, stream)
      except OSError as error:
        error.filename = str(path)
        raise


def _remove_dead(aside: Path) -> None:
  """Removes what killed writers of the same file have left beside `aside`.

  Of another machine only what is a day old, for its writer may live.
  """
  own, _, name = aside.name.removeprefix(TEMPORARY).partition("-")
  for other in os.listdir(aside.parent):
    if not other.startswith(TEMPORARY):
      continue
    writer, _, written = other.removeprefix(TEMPORARY).partition("-")
    if written != name or writer == own:
      continue
    leftover = aside.parent / other
    host, _, pid = writer.partition(".")
    with contextlib.suppress(OSError):
      if host == _host() and pid.isdigit():
        dead = not _lives(int(pid))
      else:
        dead = time.time() - leftover.stat().st_mtime > _DAY
      if dead:
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def _lives(pid: int) -> bool:
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  except OSError:
    return True
  return True


def _host() -> str:
  """Where a process id is unique, in a few letters that a file name may hold."""
  name = socket.gethostname()
  with contextlib.suppress(OSError):
    # Containers may share the machine's name, and each counts its processes from 1.
    name += os.readlink("/proc/self/ns/pid")
  return hashlib.sha256(name.encode()).hexdigest()[:8]
