"""Lines on standard error -> lines that a log can hold.

In comes all that is written there while a command trains: notes, errors, warnings of
libraries. Out come lines of at most 120 characters, if no word, as a path, is longer.
"""

import contextlib
import re
import sys
import textwrap
import typing
from collections.abc import Iterator
from typing import Any, TextIO

WIDTH = 120
_COMMANDS = ("train", "finetune")
_NOTE = re.compile("[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} ")


@contextlib.contextmanager
def of(command: str) -> Iterator[None]:
  """For a command whose standard error is a log, wraps lines that are too long for one.

  The log begins with the first note that has a time: an error before it stays one line.
  On a terminal nothing changes: there text is as wide as that.
  """
  if command not in _COMMANDS or _is_terminal(sys.stderr):
    yield
    return
  stream, fitted = sys.stderr, Wrapped(sys.stderr)
  sys.stderr = typing.cast(TextIO, fitted)
  try:
    yield
  finally:
    sys.stderr = stream
    fitted.end()


class Wrapped:
  """A text stream that writes whole lines to another, in a log none too long."""

  def __init__(self, stream: TextIO):
    self._stream, self._begun = stream, ""
    self._is_log = False

  def write(self, text: str) -> int:
    """Takes text, of which a last line that has no end yet waits for it."""
    *lines, self._begun = f"{self._begun}{text}".split("\n")
    if lines:
      self._stream.write("".join(f"{self._fitted(line)}\n" for line in lines))
    return len(text)

  def end(self) -> None:
    """Writes the last line, also where it has no end."""
    with contextlib.suppress(OSError, ValueError):
      self._stream.write(self._fitted(self._begun))
      self._stream.flush()
    self._begun = ""

  def flush(self) -> None:
    """Hands over what is whole."""
    self._stream.flush()

  def _fitted(self, line: str) -> str:
    self._is_log |= _NOTE.match(line) is not None
    return wrapped(line) if self._is_log else line

  def __getattr__(self, name: str) -> Any:
    return getattr(self._stream, name)


def _is_terminal(stream: TextIO) -> bool:
  try:
    return stream.isatty()
  except (OSError, ValueError):  # It is closed.
    return False


def wrapped(line: str) -> str:
  """A line as it is, or as several, whose later ones are indented; words stay whole."""
  if len(line) <= WIDTH:
    return line
  indent = " " * (15 if _NOTE.match(line) else 2)  # Below the text.
  return textwrap.fill(
    line, WIDTH, subsequent_indent=indent, break_long_words=False,
    break_on_hyphens=False,
  )  # fmt: skip
