"""Words to synsets, and names that no two synsets share."""

import functools
from collections import Counter
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


def synset(word: str) -> dict[str, Any]:
  """Looks up a word: its synsets, with names, definitions and what they are kinds of.

  Args:
    word: a name such as fir, in any case; or a synset id.

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
    raise ValueError(f"no synset of the graph is called {word!r}")
  return {
    "synsets": [
      {
        "synset": found,
        "name": graph.name(found),
        "definition": graph.definition(found),
        "is_class": bool(graph.is_class[graph.index[found]]),
        "above": _above(graph, found),
      }
      for found in chosen
    ]
  }


def text(result: dict[str, Any]) -> str:
  """What `synset` found, for people."""
  lines = []
  for found in result["synsets"]:
    outside = "" if found["is_class"] else "  (no class)"
    lines.append(f"{found['synset']}  {found['name']}{outside}")
    lines.append(f"  {found['definition']}")
    lines.append(f"  in: {' < '.join(found['above'])}")
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
  found: dict[str, list[str]] = {}
  for synset in graph.ids:
    for lemma in dict.fromkeys(lemma.casefold() for lemma in graph.lemmas(synset)):
      found.setdefault(lemma, []).append(synset)
  return found
