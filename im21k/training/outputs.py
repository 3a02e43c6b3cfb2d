"""What a run writes: files, whose errors become one line, and notes for the reader.

In come the places that are written. Out come errors that name place, cause and remedy;
and a standard error whose loss, as that of a closed terminal, ends no run.
"""

import contextlib
import dataclasses
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from im21k import words

_silent: list[bool] = []  # Not empty: another host shows what happens.
STAMP = "%m-%d %H:%M:%S"  # Before each note: month and day, for runs of many days.
_LONGEST = 160  # characters of another library's message
# What stops a file from being written.
_ERRORS = (
  errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES,
  errno.EPERM, errno.ENOENT, errno.ESTALE, errno.EMFILE, errno.ENFILE,
)  # fmt: skip


class CannotWrite(OSError):
  """A file of the work folder cannot be written; the run can be resumed."""


@contextlib.contextmanager
def writing(path: Path, what: str = "") -> Iterator[None]:
  """Names the file in errors of writing it, and what to do.

  Args:
    path: the file or folder that is written.
    what: what is written there, if the path does not say it.

  Raises:
    CannotWrite: in place of the errors of the system, and of libraries that report
      them as text.
  """
  try:
    yield
  except CannotWrite:
    raise
  except Exception as error:
    if not isinstance(error, OSError) and not _number_in(str(error)):
      raise
    place = f"{what} in {path}" if what else str(path)
    raise CannotWrite(
      f"{place} cannot be written: {_reason(error)}: make room or mend the disk, then "
      "run the same command again, which continues from the last checkpoint"
    ) from error


def root(error: BaseException) -> BaseException:
  """The error that came first, of those that were raised while handling another."""
  while cause := error.__cause__ or error.__context__:
    error = cause
  return error


def one_line(error: BaseException) -> str:
  """An error of another library, without its later lines, shortened."""
  text = " ".join(str(error).split("\n", 1)[0].split()) or type(error).__name__
  return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


@dataclasses.dataclass(frozen=True)
class Notes:
  """Standard error as a file that can be lost: then what is written is dropped."""

  def write(self, text: str) -> int:
    """Writes `text`, if this host shows anything and somebody still reads it."""
    if _silent:
      return len(text)
    with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed.
      sys.stderr.write(text)
    return len(text)

  def flush(self) -> None:
    """Hands over what is buffered, if somebody still reads it."""
    with contextlib.suppress(OSError, ValueError):
      sys.stderr.flush()

  def isatty(self) -> bool:
    """Whether it is a terminal, where progress can be shown."""
    try:
      return not _silent and sys.stderr.isatty()
    except (OSError, ValueError):
      return False

  def fileno(self) -> int:
    """The descriptor, by which the width of the terminal is known."""
    return sys.stderr.fileno()


@contextlib.contextmanager
def silent(is_silent: bool) -> Iterator[None]:
  """Inside, nothing is said if so: the first of several hosts says it for all."""
  if is_silent:
    _silent.append(True)
  try:
    yield
  finally:
    if is_silent:
      _silent.pop()


def say(text: str) -> None:
  """Writes a line with the time to standard error, if somebody still reads it.

  What cannot be seen, such as a line end in the name of a folder, is written out. On a
  terminal the line stands above a bar of progress.
  """
  notes = Notes()
  with contextlib.ExitStack() as above:
    if notes.isatty():
      above.enter_context(tqdm.external_write_mode(file=notes))
    notes.write(f"{time.strftime(STAMP)} {words.visible(text)}\n")
    notes.flush()


def _reason(error: Exception) -> str:
  number = getattr(error, "errno", None) or _number_in(str(error))
  return os.strerror(number).lower() if number else one_line(error)


def _number_in(text: str) -> int | None:
  """The system's error that a library reports as text: `… (os error 28)`."""
  return next((n for n in _ERRORS if os.strerror(n) in text), None)
