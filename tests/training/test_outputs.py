"""Errors of writing in one line; a standard error that nobody reads."""

import errno
import os
import subprocess
import sys

import pytest

from im21k.training.outputs import CannotWrite, Notes, one_line, root, writing

FULL = OSError(errno.ENOSPC, "No space left on device", "/tmp/.writing-1-x")


@pytest.mark.parametrize(
  ("error", "reason"),
  [
    (FULL, "no space left on device"),
    (OSError(errno.EIO, "x"), "input/output error"),
    (
      ValueError("A: No space left on device [28]\nmore"),
      "no space left on devi",
    ),
    (RuntimeError("I/O error: File too large (os error 27)"), "file too large"),
  ],
)
def test_an_error_of_writing_names_file_reason_and_remedy(tmp_path, error, reason):
  with pytest.raises(CannotWrite) as caught, writing(tmp_path / "a"):
    raise error
  message = str(caught.value)
  assert message.startswith(f"{tmp_path / 'a'} cannot be written: {reason}")
  assert message.endswith("continues from the last checkpoint") and "\n" not in message


def test_other_errors_stay_what_they_are(tmp_path):
  with pytest.raises(ZeroDivisionError), writing(tmp_path):
    raise ZeroDivisionError
  with pytest.raises(CannotWrite, match="inner"), writing(tmp_path), writing("inner"):
    raise FULL


def test_a_long_error_is_shortened():
  assert one_line(ValueError("a" * 999)) == "a" * 160 + "…"
  assert one_line(ValueError("a\nb")) == "a" and one_line(KeyError()) == "KeyError"


def test_the_root_of_an_error_is_what_came_first():
  try:
    try:
      raise OSError("first")
    except OSError:
      raise ValueError("second")  # noqa: B904
  except ValueError as error:
    assert str(root(error)) == "first"


LOST = """
import sys
from im21k.training.outputs import Notes, say
if sys.argv[1] == "closed":
  sys.stderr.close()
say("x" * 9)
assert Notes().isatty() is False
print("whole")
"""


@pytest.mark.parametrize("kind", ["open", "closed"])
def test_a_lost_standard_error_ends_nothing(kind):
  """As of a terminal that is closed, or of `2>&1 | head`."""
  reader, writer = os.pipe()
  os.close(reader)
  done = subprocess.run(
    [sys.executable, "-c", LOST, kind],
    stdout=subprocess.PIPE, stderr=writer, check=False,
  )  # fmt: skip
  os.close(writer)
  assert done.stdout == b"whole\n"


def test_notes_are_written(capsys):
  assert Notes().write("a\n") == 2
  Notes().flush()
  assert capsys.readouterr().err == "a\n"
