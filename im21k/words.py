"""Numbers and strangers' names -> text for people: counted nouns, visible characters.

File names, class lists and documents of other people hold what they like. On a terminal
a control character moves the cursor, and a bidirectional override reverses a line.
"""

import re

# C0, DEL and C1; marks, embeddings, overrides and isolates of text direction; the line
# and paragraph separators; lone surrogates, which stand for bytes that are not UTF-8.
_INVISIBLE = re.compile(
  "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def counted(number: int, noun: str) -> str:
  """`1 photo`, `2,000 photos`, `0 classes`: a number and the noun that fits it."""
  if number != 1:
    noun += "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
  return f"{number:,} {noun}"


def visible(text: str, keep: str = "") -> str:
  r"""`text` with control characters and the like written out, such as `\x1b`.

  Args:
    text: of any origin.
    keep: characters that stay, such as line ends.
  """
  return _INVISIBLE.sub(lambda m: m[0] if m[0] in keep else _written_out(m[0]), text)


def _written_out(character: str) -> str:
  code = ord(character)
  if 0xDC80 <= code <= 0xDCFF:  # As Python decodes a byte of a name that is not UTF-8.
    code -= 0xDC00
  return _SHORT.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
