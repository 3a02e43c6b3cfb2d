"""Makes the table that `im21k.synsets.wordnet` reads.

In: WordNet 3.0's `data.noun` (Debian package wordnet-base) and the label list of the
released 2015 model, whose ids are the 21,841 classes. Out: `wordnet-3.0.tsv.gz`. The
same input gives the same bytes (with the same zlib), so a rebuild leaves git quiet.
"""

import argparse
import gzip
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from im21k import files
from im21k.synsets import class_files, wordnet

NOUNS = Path("/usr/share/wordnet/data.noun")
LABELS = Path(__file__).parents[2] / "data" / "inception_21k_synset.txt"

# Teddy bear is a class of ILSVRC2012 and not among the 21,841, bleacher one of Google's
# 21,843; a model of these classes should be able to name them.
EXTRAS = ("n04399382", "n09859684")

HEADER = (
  "# Made from WordNet 3.0 Copyright 2006 by Princeton University. "
  "All rights reserved. See LICENSE.wordnet.\n"
  "# id\tkind\thypernyms\tname\tdefinition\n"
)


class Noun(NamedTuple):
  """What is kept of one line of `data.noun`."""

  hypernyms: tuple[str, ...]  # Of classes (`@`) and of instances (`@i`).
  lemmas: tuple[str, ...]  # With spaces, not underscores.
  definition: str  # The gloss up to its first example; examples are left out.


def read_nouns(path: Path) -> dict[str, Noun]:
  """All nouns of WordNet 3.0 by synset id; the format is that of `man wndb`.

  Raises:
    FileNotFoundError: there is no such file; says where to get it.
    ValueError: another release than 3.0, or a line that is not at the byte offset
      that it states, as after a conversion of line ends.
  """
  if not path.is_file():
    raise FileNotFoundError(
      f"{path} is missing; install Debian's wordnet-base, or give WordNet 3.0's "
      "data.noun with --wordnet"
    )
  nouns = {}
  position = 0
  release = False
  for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
    if line.startswith(b" "):  # The licence notice.
      release = release or b"WordNet 3.0 Copyright" in line
    else:
      offset, noun = _read_line(line.decode("ascii"))
      if int(offset) != position:
        raise ValueError(
          f"{path}, line {number}: is at byte {position} but says {offset}; synset ids "
          "are byte offsets, so the file must be exactly as released"
        )
      nouns[f"n{offset}"] = noun
    position += len(line)
  if not release:
    raise ValueError(
      f"{path}: its notice does not say WordNet 3.0; other releases have other offsets"
    )
  return nouns


def table(
  nouns: Mapping[str, Noun], synsets: Iterable[str], extras: Iterable[str]
) -> str:
  r"""The table of `synsets`, all that is above them, and `extras`.

  After two lines that begin with `#` comes one row for each synset, sorted by id, of
  fields separated by tabs: id; kind (`class`: one of `synsets`; `inner`: above them;
  `extra`: to be named, but no node of the graph); hypernym ids, separated by spaces;
  lemmas, separated by `, `; definition.

  Raises:
    ValueError: a synset is not in WordNet, an extra hangs outside the graph, or a
      separator occurs inside a field.
  """
  kinds = _kinds(nouns, tuple(synsets), tuple(extras))
  rows = []
  for synset, kind in sorted(kinds.items()):
    noun = nouns[synset]
    if any("," in lemma for lemma in noun.lemmas) or "\t" in noun.definition:
      raise ValueError(f"{synset}: a separator of the table inside {noun}")
    fields = (" ".join(noun.hypernyms), ", ".join(noun.lemmas), noun.definition)
    rows.append("\t".join((synset, kind, *fields)) + "\n")
  return HEADER + "".join(rows)


def compress(text: str) -> bytes:
  """Gzip without time or file name, so that equal text gives equal bytes."""
  buffer = io.BytesIO()
  with gzip.GzipFile("", "wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
    file.write(text.encode("ascii"))
  return buffer.getvalue()


def main(arguments: list[str] | None = None) -> None:
  """The command line; prints what was written."""
  parser = argparse.ArgumentParser(
    prog="python -m im21k.synsets.build",
    description="Makes the table of WordNet 3.0 that im21k reads.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
  )
  parser.add_argument("--wordnet", type=Path, default=NOUNS, help="data.noun")
  parser.add_argument("--labels", type=Path, default=LABELS, help="the 21,841 ids")
  parser.add_argument("--out", type=Path, default=wordnet.TABLE, help="the table")
  options = parser.parse_args(arguments)
  synsets = class_files.from_file(options.labels).synsets
  text = table(read_nouns(options.wordnet), synsets, EXTRAS)
  data = compress(text)
  with files.whole(options.out) as aside:
    aside.write_bytes(data)
  rows = text.count("\n") - HEADER.count("\n")
  print(f"{options.out}: {rows:,} synsets, {len(data):,} bytes")


def _read_line(line: str) -> tuple[str, Noun]:
  head, gloss = line.split(" | ", 1)
  offset, _, _, count, *rest = head.split(" ")
  words = 2 * int(count, 16)  # A word and its number; this count alone is in hex.
  lemmas = tuple(word.replace("_", " ") for word in rest[:words:2])
  pointers = rest[words + 1 :]  # Symbol, offset, part of speech, and which words.
  pairs = zip(pointers[::4], pointers[1::4], strict=True)
  hypernyms = tuple(f"n{target}" for symbol, target in pairs if symbol in ("@", "@i"))
  definition = re.split(r';\s*"', gloss, maxsplit=1)[0].strip()
  return offset, Noun(hypernyms, lemmas, definition)


def _kinds(
  nouns: Mapping[str, Noun], synsets: tuple[str, ...], extras: tuple[str, ...]
) -> dict[str, str]:
  """The kind of each synset of the table."""
  unknown = [synset for synset in (*synsets, *extras) if synset not in nouns]
  if unknown:
    raise ValueError(
      f"{len(unknown)} synsets are not nouns of this WordNet: {', '.join(unknown[:5])}"
    )
  kinds = dict.fromkeys(synsets, "class")
  waiting = list(synsets)
  while waiting:
    for hypernym in nouns[waiting.pop()].hypernyms:
      if hypernym not in kinds:
        kinds[hypernym] = "inner"
        waiting.append(hypernym)
  for extra in extras:
    outside = [synset for synset in nouns[extra].hypernyms if synset not in kinds]
    if outside:
      raise ValueError(f"extra {extra} hangs outside the graph, under {outside[0]}")
  return dict.fromkeys(extras, "extra") | kinds


if __name__ == "__main__":
  main()
