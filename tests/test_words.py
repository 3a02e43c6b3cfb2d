"""Counted nouns, and characters that move a cursor or turn a line."""

import pytest

from im21k import words


@pytest.mark.parametrize(
  ("number", "noun", "expected"),
  [
    (1, "photo", "1 photo"),
    (0, "photo", "0 photos"),
    (14_197_122, "photo", "14,197,122 photos"),
    (1, "class", "1 class"),
    (2, "class", "2 classes"),
    (3, "batch", "3 batches"),
  ],
)
def test_a_noun_fits_its_number(number, noun, expected):
  assert words.counted(number, noun) == expected


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("über – ×\u3042", "über – ×\u3042"),
    ("\x1b[2J\r\n\t\x07", r"\x1b[2J\r\n\t\x07"),
    ("\x7f\x9b\x80", r"\x7f\x9b\x80"),
    ("a\u202egpj.exe\u2069\u200f\u061c", r"a\u202egpj.exe\u2069\u200f\u061c"),
    ("\u2028\u2029", r"\u2028\u2029"),
    ("caf\udce9", r"caf\xe9"),
    ("\ud800", r"\ud800"),
  ],
)
def test_what_cannot_be_seen_is_written_out(text, expected):
  assert words.visible(text) == expected
  words.visible(text).encode("utf-8")


def test_line_ends_of_ones_own_text_stay():
  assert words.visible("a\nb\x1b", keep="\n") == "a\nb\\x1b"
