"""Files that options of `pack` name: replacements of classes, hashes to leave out."""

from pathlib import Path

from im21k.synsets import ClassList, is_synset, normalized


def read_remap(path: Path, classes: ClassList) -> dict[str, str | None]:
  """Classes and their replacements, None for those to leave out.

  Raises:
    OSError, ValueError: it cannot be read, or a line is wrong; says which.
  """
  remap: dict[str, str | None] = {}
  for number, line in enumerate(_lines(path), 1):
    fields = line.split()
    if classes.own and "\t" in line:  # Their ids may have spaces.
      fields = [*map(normalized, line.split("\t"))]
    known = classes.own or all(is_synset(f) for f in fields if f != "-")
    if len(fields) != 2 or not all(fields) or not known:
      raise ValueError(
        f"{path} line {number}: not a synset and its replacement, but {line[:80]!r}"
      )
    remap[fields[0]] = None if fields[1] == "-" else fields[1]
  return remap


def read_hashes(path: Path) -> frozenset[bytes]:
  """The SHA-256 that a file in the format of sha256sum lists; errors as above."""
  hashes = set()
  for number, line in enumerate(_lines(path), 1):
    word = line.split()[0] if line.strip() else ""
    try:
      digest = bytes.fromhex(word)
    except ValueError:
      digest = b""
    if len(digest) != 32:
      raise ValueError(
        f"{path} line {number}: not a SHA-256 of 64 digits, but {line[:80]!r}"
      )
    hashes.add(digest)
  return frozenset(hashes)


def _lines(path: Path) -> list[str]:
  try:
    return path.read_text(encoding="utf-8").splitlines()
  except UnicodeDecodeError as error:
    raise ValueError(f"{path}: not UTF-8 text ({error.reason})") from error
