"""A name that people use -> the synsets that it may mean, the likeliest first.

`golden_retrievers`, `my dog` and `Sports cars` are found by their last words, in the
singular. A word has many senses, so these are proposals for people to confirm.
"""

import functools
import re
from collections.abc import Iterator

from im21k.synsets import hierarchy, lookup, wordnet
from im21k.synsets.published import imagenet21k

# Endings of plurals and what they stand for; after WordNet's own rules for nouns.
_ENDINGS = (
  ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"),
  ("men", "man"), ("ies", "y"), ("s", ""),
)  # fmt: skip


def candidates(name: str) -> tuple[str, ...]:
  """Synset ids that a name may mean; none if WordNet has none of its last words.

  Of the longest run of last words that is known, all senses: first those that need no
  singular, then those whose own name it is, then those with more of the 21,841 classes
  at or below them.
  """
  graph = wordnet.load()
  words = re.sub(r"[^\w']+|_", " ", name.casefold()).split()
  for first in range(len(words)):
    found: dict[str, str] = {}  # synset -> the lemma by which it was found
    phrase = " ".join(words[first:])
    for lemma in _singulars(phrase):
      for synset in lookup.of_lemma(lemma):
        found.setdefault(synset, lemma)
    if found:
      below = _classes_below()
      return tuple(
        sorted(
          found,
          key=lambda one: (
            found[one] != phrase,
            graph.lemmas(one)[0].casefold() != found[one],
            -below.get(one, 0),
            one,
          ),
        )
      )
  return ()


@functools.cache
def _classes_below() -> dict[str, int]:
  """How many of the 21,841 classes are at or below each synset."""
  graph = hierarchy.over(imagenet21k())
  return dict(zip(graph.ids, graph.count.tolist(), strict=True))


def _singulars(phrase: str) -> Iterator[str]:
  """The phrase, then its singular by each rule."""
  yield phrase
  for ending, single in _ENDINGS:
    if phrase.endswith(ending) and len(phrase) > len(ending) + 1:
      yield phrase.removesuffix(ending) + single
