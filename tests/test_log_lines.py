"""What a log gets of long lines, and that a terminal gets them as they are."""

import io
import sys

import pytest

from im21k import log_lines

NOTE = "11-28 08:15:48 run runs/21k\n"
LONG = " ".join(f"word-{n}" for n in range(40))


@pytest.mark.parametrize(
  "text", [LONG, f"11-28 08:15:48 {LONG}"], ids=["error", "note"]
)
def test_a_long_line_is_wrapped_between_words(text):
  lines = log_lines.wrapped(text).split("\n")
  assert len(lines) > 1 and all(len(line) <= log_lines.WIDTH for line in lines)
  indent = 15 if text[0] == "1" else 2
  assert all(line.startswith(" " * indent + "word-") for line in lines[1:])
  assert " ".join(line.strip() for line in lines) == text


def test_lines_that_fit_and_long_words_stay_as_they_are():
  fits, word = "a  b" * 30, "/" + "x" * 200
  assert log_lines.wrapped(fits) == fits and len(fits) == log_lines.WIDTH
  assert log_lines.wrapped(f"see {word} there").split() == ["see", word, "there"]


def test_only_whole_lines_are_written_and_other_commands_are_left_alone(monkeypatch):
  stream = io.StringIO()
  monkeypatch.setattr(sys, "stderr", stream)
  with log_lines.of("evaluate"):
    assert sys.stderr is stream
  with log_lines.of("train"):
    for part in (
      f"{LONG}\n",
      NOTE,
      LONG[:100],
      LONG[100:],
      "\n",
      "next\n",
      "no ",
      "end",
    ):
      sys.stderr.write(part)
    sys.stderr.flush()
    assert not sys.stderr.isatty()
  assert sys.stderr is stream
  before, log = f"{LONG}\n{NOTE}", f"{log_lines.wrapped(LONG)}\nnext\nno end"
  assert stream.getvalue() == before + log, "an error before the run stays one line"


def test_on_a_terminal_nothing_is_wrapped(monkeypatch):
  stream = io.StringIO()
  stream.isatty = lambda: True
  monkeypatch.setattr(sys, "stderr", stream)
  with log_lines.of("train"):
    assert sys.stderr is stream


def test_a_stream_that_is_closed_ends_nothing(monkeypatch):
  stream = io.StringIO()
  monkeypatch.setattr(sys, "stderr", stream)
  stream.close()
  with log_lines.of("train"), pytest.raises(ValueError, match="closed"):
    sys.stderr.write("a\n")
