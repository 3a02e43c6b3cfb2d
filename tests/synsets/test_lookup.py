"""Words to synsets, and names that tell synsets apart."""

import pytest

from im21k import synsets
from im21k.synsets import lookup


def test_word_finds_its_synsets_with_definition_and_kind():
  (fir,) = lookup.synset("Fir")["synsets"]
  assert fir["synset"] == "n11620673" and fir["above"][0] == "conifer"
  assert fir["above"][-1] == "entity" and "Abies" in fir["definition"]
  cranes = lookup.synset("crane")["synsets"]
  assert len(cranes) > 1 and len({c["synset"] for c in cranes}) == len(cranes)
  assert lookup.synset("n11620673")["synsets"] == [fir]
  assert "conifer" in lookup.text({"synsets": [fir]})
  with pytest.raises(ValueError, match="called 'xyzzy'"):
    lookup.synset("xyzzy")
  with pytest.raises(ValueError, match="called 'goldfsh'; did you mean 'goldfish'"):
    lookup.synset("goldfsh")


def test_no_two_synsets_share_a_distinct_name():
  graph = synsets.load()
  names = [lookup.distinct_name(synset) for synset in graph.ids]
  assert len(set(names)) == len(names)
  assert len({graph.name(synset) for synset in graph.ids}) < len(names)
