"""Ids of classes: a synset's, or a name of the user's own, such as that of a folder.

A synset id is n and the eight digits of a noun in WordNet 3.0. Ids of own classes are
those that a folder, a line of text and a message can hold without ambiguity.
"""

import re
import unicodedata

PATTERN = "n[0-9]{8}"
LONGEST = 255  # bytes of an own id, as of a folder's name
_ID = re.compile(PATTERN)
_AT_START = re.compile(rf"{PATTERN}(?![0-9A-Za-z])")
_ALMOST = re.compile(r"[nN][0-9]{5,}")
# Categories of characters that nobody sees, or that end a line. Of the formatting ones,
# two join letters and pictures, and belong to words.
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_JOINERS = "\u200c\u200d"


def is_synset(text: str) -> bool:
  """Whether all of `text` is a synset id, such as n01440764."""
  return _ID.fullmatch(text) is not None


def normalized(text: str) -> str:
  """A name as ids have it: composed Unicode (NFC), without spaces at its ends.

  Some systems write the é of a folder's name as two characters.
  """
  return text if text.isascii() and text == text.strip() else _composed(text)


def fault(text: str) -> str | None:
  """Why a text is neither a synset id nor the id of an own class; None if it is one.

  Returns:
    The rest of a sentence that begins with the text.
  """
  if is_synset(text):
    return None
  if not text.strip():
    return "is an empty class id: name the class"
  try:
    size = len(text.encode("utf-8"))
  except UnicodeEncodeError:
    return "is not UTF-8: rename the class"
  if size > LONGEST:
    return f"is a class id of more than {LONGEST} bytes: shorten it"
  if invisible(text):
    return "has control characters or others that nobody sees: rename the class"
  if text != normalized(text):
    return "is not in Unicode's composed form (NFC), or has spaces at its ends"
  if set(text) & {"/", "\\"}:
    return "has a path separator, which no folder's name has: rename the class"
  if text.startswith((".", "#")) or text == "-":
    return "begins with '.' or '#', or is '-', which mean other things: rename it"
  if _ALMOST.fullmatch(text):
    return "is not a synset id; those are n and 8 digits, such as n01440764"
  if _AT_START.match(text):
    return f"is no class id; leave {text[:9]} alone, or do not begin with a synset id"
  return None


def invisible(text: str) -> bool:
  """Whether a text has control characters, line ends or the like."""
  if text.isascii():
    return not text.isprintable()
  return any(
    unicodedata.category(letter) in _INVISIBLE and letter not in _JOINERS
    for letter in text
  )


def _composed(text: str) -> str:
  return unicodedata.normalize("NFC", text).strip()
