"""A lock on a folder, which ends with the process that holds it, however that ends.

In: a folder, and what is done in it. Out: nobody else holds the folder meanwhile. The
lock is one of `fcntl` on a small file in the folder: the kernel drops it when its
holder is killed, and NFS passes it on to the server.
"""

import contextlib
import datetime
import errno
import fcntl
import itertools
import json
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAME = ".lock"
# What file systems answer that cannot lock.
_CANNOT = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_ATTEMPTS = 100  # to open a file in a folder that others remove meanwhile
_warned: set[Path] = set()  # folders that cannot be locked
# Descriptors of the locks that this process holds, by device and inode of their files.
_held: dict[tuple[int, int], int] = {}


class Held(BlockingIOError):
  """Another process, or another thread of this one, holds the folder."""


@contextlib.contextmanager
def hold(
  folder: Path, what: str, name: str = NAME, *, wait: bool = False
) -> Iterator[None]:
  """Holds a folder: a second holder is refused, or waits, until the context ends.

  A child process does not hold it, not even after `fork`: it is free as soon as the
  process that called is gone. What a killed process leaves is a file without a lock.
  Where the file system cannot lock, one line on standard error says so, and the context
  is entered.

  Args:
    folder: the folder; created where it is missing.
    what: what its holder does, for the message: "packing", "training".
    name: path in the folder of the lock's file, which is removed at the end.
    wait: wait for another holder to end, instead of refusing.

  Raises:
    Held: it is held; the message says by whom, and since when.
    OSError: the folder cannot be created or written to; or it was removed.
  """
  path = folder / name
  descriptor = _acquire(path, folder, wait)
  if descriptor is None:
    _warn(folder)
    try:
      yield
    finally:
      path.unlink(missing_ok=True)
    return
  status = os.fstat(descriptor)
  _held[status.st_dev, status.st_ino] = descriptor
  try:
    _sign(descriptor, what)
    yield
  finally:
    # First the file, so that nobody acquires the lock of a file that is then removed.
    if _is_at(descriptor, path):
      path.unlink(missing_ok=True)
    # A child that was forked within the context has forgotten and closed it.
    if _held.pop((status.st_dev, status.st_ino), None) is not None:
      os.close(descriptor)


def _acquire(path: Path, folder: Path, wait: bool) -> int | None:
  """Descriptor of the locked file; None where files cannot be locked."""
  for attempt in itertools.count():
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
      descriptor = os.open(path, flags, 0o666)
    except FileNotFoundError:  # Whoever found nothing to do removed the empty folder.
      if attempt < _ATTEMPTS:
        continue
      raise
    try:
      _lock(descriptor, folder, wait)
      # Whoever held it before may have removed it after it was opened here.
      if _is_at(descriptor, path):
        return descriptor
    except OSError as error:
      os.close(descriptor)
      if error.errno in _CANNOT:
        return None
      raise
    os.close(descriptor)
  return None


def _warn(folder: Path) -> None:
  """Says once for each folder that it cannot be locked."""
  if folder not in _warned:
    _warned.add(folder)
    print(
      f"im21k: warning: the file system of {folder} cannot lock files: nothing stops a "
      "second process from writing there, so start none",
      file=sys.stderr,
    )


def _lock(descriptor: int, folder: Path, wait: bool) -> None:
  """Locks the whole file; refuses, naming the holder, if it is locked."""
  status = os.fstat(descriptor)
  if (status.st_dev, status.st_ino) in _held and not hasattr(fcntl, "F_OFD_SETLK"):
    raise Held(_refusal(descriptor, folder))  # Such locks do not see other threads.
  try:
    if hasattr(fcntl, "F_OFD_SETLK"):
      # Unlike lockf's, it stays when the process opens the file again and closes it.
      command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
      fcntl.fcntl(
        descriptor, command, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
      )
    else:
      fcntl.lockf(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
  except OSError as error:
    if error.errno not in (errno.EAGAIN, errno.EACCES):
      raise
    raise Held(_refusal(descriptor, folder)) from None


def _sign(descriptor: int, what: str) -> None:
  """Writes who holds the lock, for messages; on a full disk they do without."""
  holder = {
    "what": what,
    "pid": os.getpid(),
    "host": socket.gethostname(),
    "since": datetime.datetime.now().astimezone().isoformat(" ", "seconds"),
  }
  with contextlib.suppress(OSError):
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode() + b"\n", 0)


def _refusal(descriptor: int, folder: Path) -> str:
  try:
    holder: dict[str, Any] = json.loads(os.pread(descriptor, 4096, 0))
    pid, host = int(holder["pid"]), ascii(holder["host"])[1:-1]
    by = (
      f"{ascii(holder['what'])[1:-1]} by process {pid} on {host} since "
      f"{ascii(holder['since'])[1:-1]}"
    )
    end = f"wait until it has ended, or end it (on {host}: kill {pid})"
  except (OSError, ValueError, TypeError, KeyError):
    by, end = "by another process", "wait until it has ended, or end it"
  return f"{folder} is in use ({by}): {end}"


def _is_at(descriptor: int, path: Path) -> bool:
  """Whether an open file is still the one at this path."""
  try:
    return os.path.samestat(os.fstat(descriptor), os.lstat(path))
  except OSError:
    return False


def _forget() -> None:
  """In a forked child: its descriptors would keep the parent's locks alive."""
  for descriptor in _held.values():
    with contextlib.suppress(OSError):
      os.close(descriptor)
  _held.clear()


os.register_at_fork(after_in_child=_forget)
