"""What names of folders may mean."""

import pytest

from im21k import synsets
from im21k.synsets import suggestions

DOG, CAT, CAR, GOLDEN = "n02084071", "n02121620", "n04285008", "n02099601"


@pytest.mark.parametrize(
  ("name", "first"),
  [
    ("dog", DOG),
    ("my dog", DOG),
    ("Dogs", DOG),
    ("cats", CAT),
    ("sports_cars", CAR),
    ("red Sports-Car", CAR),
    ("golden_retriever", GOLDEN),
    ("our golden retrievers", GOLDEN),
    ("foxes", "n02118333"),
    ("butterflies", "n02274259"),
    ("our firemen", "n10091651"),
    ("glasses", "n04272054"),  # Also a word of its own in the plural.
    ("French horns", "n03394916"),
  ],
)
def test_the_last_words_in_the_singular(name, first):
  found = suggestions.candidates(name)
  assert found[0] == first, [synsets.load().name(one) for one in found]


@pytest.mark.parametrize("name", ["", "zzz", "12", "s", "_", "Ä 犬", "'", "dog 1"])
def test_no_guess_where_the_last_word_is_no_word(name):
  assert suggestions.candidates(name) == ()


def test_every_name_of_every_class_finds_it():
  """With its own lemmas, in plural of the simplest kind too."""
  graph = synsets.load()
  for synset in synsets.imagenet21k().synsets[::97]:
    for lemma in graph.lemmas(synset):
      plain = lemma.replace("_", " ").replace("-", " ")
      if plain == lemma and "." not in lemma and "'" not in lemma:
        assert synset in suggestions.candidates(lemma), lemma
