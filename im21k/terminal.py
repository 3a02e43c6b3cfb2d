"""The process and its streams: results out, one line of error, signals as exceptions.

Whatever standard output and standard error are (closed, full, a closed pipe, ASCII),
and whatever a result holds, what is written is whole or the exit status says so.
"""

import codecs
import contextlib
import json
import logging
import math
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn, TextIO

from im21k import words

# As shells report a command that a signal has ended: 128 + the signal.
INTERRUPTED, BROKEN_PIPE = 128 + signal.SIGINT, 128 + signal.SIGPIPE
# If it is set, an error that nobody expected is shown with its traceback.
TRACEBACK = "IM21K_TRACEBACK"
_LONGEST = 2_000  # Characters of an error, of which a path can be most.
_LATIN = {
  "–": "-", "—": "-", "−": "-", "×": "x", "·": "*", "…": "...", "λ": "lambda",
  "→": "->", "“": '"', "”": '"', "’": "'", "\xa0": " ",
}  # fmt: skip


class Ended(BaseException):
  """SIGTERM or SIGHUP has come; like KeyboardInterrupt, no command catches it."""

  def __init__(self, number: int):
    super().__init__(signal.Signals(number).name)
    self.status = 128 + number


class _OneLine(logging.Formatter):
  """A record as one line, with nothing that moves the cursor."""

  def format(self, record: logging.LogRecord) -> str:
    return words.visible(" ".join(super().format(record).split()))


class OutputError(Exception):
  """Standard output takes no more; `status` is the exit status to end with."""

  def __init__(self, reason: str, status: int = 1):
    super().__init__(f"standard output: {reason}")
    self.status = status


def prepare() -> None:
  """Makes the streams take every text.

  Raises:
    OutputError: standard output is closed.
  """
  for descriptor in range(3):
    try:
      os.fstat(descriptor)
    except OSError:  # Else the next file that is opened would be the stream.
      os.open(os.devnull, os.O_RDWR)
  if sys.stderr is None:
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
  if logging.lastResort:  # What prints warnings that nobody else handles.
    logging.lastResort.setFormatter(_OneLine())
  codecs.register_error("im21k", _in_ascii)
  for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):
      stream.reconfigure(errors="im21k")
  if sys.stdout is None:
    raise OutputError("it is closed; to discard the result, say >/dev/null")


@contextlib.contextmanager
def signals() -> Iterator[None]:
  """Inside, SIGTERM and SIGHUP raise `Ended`, and a warning is one line."""
  process, before = os.getpid(), {}

  def receive(number: int, _: object) -> None:
    if os.getpid() == process:
      raise Ended(number)
    signal.signal(number, signal.SIG_DFL)  # A forked worker ends as if without us.
    os.kill(os.getpid(), number)

  shown = warnings.formatwarning
  warnings.formatwarning = _one_line
  for number in (signal.SIGTERM, signal.SIGHUP):
    # What `nohup` ignores stays ignored; only the main thread may set handlers.
    with contextlib.suppress(ValueError):
      if signal.getsignal(number) is signal.SIG_DFL:
        before[number] = signal.signal(number, receive)
  try:
    yield
  finally:
    warnings.formatwarning = shown
    for number, handler in before.items():
      signal.signal(number, handler)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Inside, what C++ writes on standard error is dropped.

  Beside the compiler for CUDA, `import jax` says six times that there is no GPU, before
  any setting could silence it.
  """
  sys.stderr.flush()
  kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
  os.dup2(nowhere, 2)
  try:
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
    os.close(nowhere)


def write(text: str) -> None:
  """Prints a result, at once.

  Raises:
    OutputError: it cannot be written.
  """
  try:
    print(text)
    sys.stdout.flush()
  except OSError as error:
    refused(error)


def flush() -> None:
  """Writes what libraries have printed; errors as of `write`."""
  try:
    sys.stdout.flush()
  except OSError as error:
    refused(error)


def refused(error: OSError) -> NoReturn:
  """Raises OutputError, for an error of whoever printed to standard output."""
  _discard(sys.stdout)
  if isinstance(error, BrokenPipeError):  # As in `im21k … | head`.
    reason = "it was closed before the whole result was written"
    raise OutputError(reason, BROKEN_PIPE) from error
  raise OutputError((error.strerror or str(error)).lower()) from error


def say(line: str) -> None:
  """Prints one line on standard error, with nothing that moves the cursor."""
  line = words.visible(" ".join(line.split()))
  if len(line) > _LONGEST:
    line = f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
  try:
    print(line, file=sys.stderr, flush=True)
  except OSError:
    _discard(sys.stderr)


def line_of(error: Exception) -> str:
  """An error in one line; that of a file as `FILE: no such file or directory`."""
  text = str(error)
  if isinstance(error, OSError) and error.strerror:
    # Of a file that is renamed, the new name is the one that the user knows.
    file = error.filename if error.filename2 is None else error.filename2
    text = f"{error.strerror[:1].lower()}{error.strerror[1:]}"
    if file is not None:
      text = f"{os.fsdecode(file) if not isinstance(file, int) else file}: {text}"
  if type(error) is MemoryError and text:  # Of this package; Python's have no text.
    return text
  if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
    return f"out of memory ({text or 'no more is free'}): use a smaller batch or number"
  if isinstance(error, ValueError | OSError | FloatingPointError):
    return text or type(error).__name__
  # Of none of these the message alone says what has happened.
  hint = f"; with {TRACEBACK}=1 in the environment it says where"
  return f"unexpected {type(error).__name__}: {text}{hint}"


def as_json(result: Any) -> str:
  """A result as one line of JSON that every parser takes.

  What is no Unicode is written out as in texts, and numbers that are not finite are
  null.
  """
  return json.dumps(_valid(result), allow_nan=False)


def shown(value: Any) -> Any:
  """A result whose texts have no control characters, for what composes lines of it."""
  if isinstance(value, dict):
    return {shown(key): shown(one) for key, one in value.items()}
  if isinstance(value, list | tuple):
    return [shown(one) for one in value]
  return words.visible(value) if isinstance(value, str) else value


def _valid(value: Any) -> Any:
  if isinstance(value, dict):
    return {_valid(key): _valid(one) for key, one in value.items()}
  if isinstance(value, list | tuple):
    return [_valid(one) for one in value]
  if isinstance(value, str) and not value.isascii():
    return "".join(words.visible(c) if "\ud800" <= c <= "\udfff" else c for c in value)
  return None if isinstance(value, float) and not math.isfinite(value) else value


def _discard(stream: TextIO) -> None:
  """Else Python would report the same error once more when it ends."""
  with contextlib.suppress(OSError, ValueError):
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _one_line(message: Warning | str, *_: Any, **__: Any) -> str:
  return f"im21k: warning: {words.visible(' '.join(str(message).split()))}\n"


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
  """Error handler of streams that have not all characters."""
  if not isinstance(error, UnicodeEncodeError):
    raise error
  text = error.object[error.start : error.end]
  written = "".join(
    _LATIN.get(c) or words.visible(c).encode("ascii", "backslashreplace").decode()
    for c in text
  )
  return written, error.end
