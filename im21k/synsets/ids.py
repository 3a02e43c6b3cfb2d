"""What a synset id looks like: n and the eight digits of a noun in WordNet 3.0."""

import re

PATTERN = "n[0-9]{8}"
_ID = re.compile(PATTERN)


def is_synset(text: str) -> bool:
  """Whether all of `text` is a synset id, such as n01440764."""
  return _ID.fullmatch(text) is not None
