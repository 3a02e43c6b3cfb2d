"""Words to synsets, and names that no two synsets share."""

import difflib
import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

from im21k.synsets import wordnet


def distinct_name(synset: str) -> str:
  """The synonyms, and where another synset has the same ones, what it is a kind of."""
  graph = wordnet.load()
  name, above = graph.name(synset), graph.hypernyms(synset)
  if _counts()[name] == 1 or not above:
    return name
  kind = f"{name} ({graph.lemmas(above[0])[0]})"
  return kind if _kinds()[kind] == 1 else f"{kind}, {synset}"


def definition(one: str, above: Sequence[str]) -> str:
  """WordNet's gloss of a class or node; of an own class, what it hangs under.

  Args:
    one: the id.
    above: ids of what is directly above it in the hierarchy; none where there is none.
  """
  graph = wordnet.load()
  if graph.knows(one):
    return graph.definition(one)
  kinds = ", ".join(graph.name(synset) for synset in above)
  return f"own class under {kinds}" if kinds else "own class"


def of_lemma(lemma: str) -> Sequence[str]:
  """The synsets of a word or phrase in lower case, with spaces; empty: none has it."""
  return _by_lemma().get(lemma, ())


def synset(word: str) -> dict[str, Any]:
  """Looks up a word: its synsets, with names, definitions and hypernyms.

  Args:
    word: Name such as fir, in any case, or a synset id.

  Returns:
    `synsets`: for each `synset`, `name`, `definition`, `is_class` (of the 21,841) and
    `above`, from its first hypernym to the root.

  Raises:
    ValueError: no synset has this name.
  """
  graph = wordnet.load()
  wanted = word.casefold().replace("_", " ").strip()
  chosen = [word] if word in graph.index else _by_lemma().get(wanted, [])
  if not chosen:
    close = difflib.get_close_matches(wanted, _by_lemma(), n=1, cutoff=0.8)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"no synset is called {word!r}{hint}")
  return {
    "synsets": [
      {
        "synset": one,
        "name": graph.name(one),
        "definition": graph.definition(one),
        "is_class": bool(graph.is_class[graph.index[one]]),
        "above": _above(graph, one),
      }
      for one in chosen
    ]
  }


def text(result: dict[str, Any]) -> str:
  """Formats the result of `synset` for reading."""
  lines = []
  for one in result["synsets"]:
    outside = "" if one["is_class"] else "  (no class)"
    lines.append(f"{one['synset']}  {one['name']}{outside}")
    lines.append(f"  {one['definition']}")
    lines.append(f"  in: {' < '.join(one['above'])}")
  return "\n".join(lines)


def _above(graph: wordnet.WordNet, synset: str) -> list[str]:
  names = []
  while above := graph.hypernyms(synset):
    synset = above[0]
    names.append(graph.lemmas(synset)[0])
  return names


@functools.cache
def _counts() -> Counter[str]:
  graph = wordnet.load()
  return Counter(graph.name(synset) for synset in graph.ids)


@functools.cache
def _kinds() -> Counter[str]:
  graph = wordnet.load()
  return Counter(
    f"{graph.name(synset)} ({graph.lemmas(above[0])[0]})"
    for synset in graph.ids
    if (above := graph.hypernyms(synset))
  )


@functools.cache
def _by_lemma() -> dict[str, list[str]]:
  graph = wordnet.load()
  synsets: dict[str, list[str]] = {}
  for synset in graph.ids:
    for lemma in dict.fromkeys(lemma.casefold() for lemma in graph.lemmas(synset)):
      synsets.setdefault(lemma, []).append(synset)
  return synsets
