"""Own classes in the hierarchy: leaves below the synset that they hang under."""

import numpy as np
import pytest

from im21k import synsets
from im21k.answers import naming, rules
from im21k.synsets import ClassList, hierarchy

DOG, CAT, ANIMAL = "n02084071", "n02121620", "n00015388"
PETS = ClassList(
  "pets", ("rex", "bello", "tom", "car"), ("Rex", "", "Tom", ""), (DOG, DOG, CAT, "")
)


def test_own_classes_are_leaves_under_their_synsets():
  graph = hierarchy.over(PETS)
  nodes = graph.probabilities(np.array([[0.4, 0.3, 0.2, 0.1]], np.float32))[0]
  by_id = dict(zip(graph.ids, nodes.tolist(), strict=True))
  assert by_id["rex"] == pytest.approx(0.4)
  assert by_id[DOG] == pytest.approx(0.7)
  assert by_id[ANIMAL] == pytest.approx(0.9)
  assert by_id[synsets.load().root] == pytest.approx(1.0), "what hangs nowhere is there"
  assert [graph.ids[v] for v in graph.label_node] == list(PETS.synsets)
  leaves = graph.count[graph.label_node]
  assert leaves.tolist() == [1, 1, 1, 1]
  below = graph.below(graph.node[ANIMAL]).tolist()
  assert below == [0, 1, 2]


def test_my_dog_or_else_dog_or_else_animal():
  namer = naming.Namer(PETS, 2)
  p = np.array(
    [[0.9, 0.03, 0.03, 0.04], [0.5, 0.45, 0.03, 0.02], [0.4, 0.2, 0.39, 0.01]]
  )
  names = [[answer[0]["name"] for answer in namer.hedged(p, 3.0)]]
  assert names[0][0] == "Rex"
  assert names[0][1].startswith("dog, domestic dog")
  assert names[0][2].startswith("carnivore")
  (first, second), *_ = namer.diverse(p[2:])
  assert {first["name"], second["name"]} == {"Rex", "Tom"}
  assert namer.flat(p)[0][0] == {"synset": "rex", "name": "Rex", "probability": 0.9}


def test_a_class_is_allowed_by_what_it_hangs_under():
  graph = hierarchy.over(PETS)
  allowed = rules.allowed_classes(graph, PETS, under=[DOG])
  assert allowed.tolist() == [True, True, False, False]
  listed = rules.allowed_classes(None, PETS, listed=ClassList("one", ("tom",)))
  assert listed.tolist() == [False, False, True, False]


def test_an_own_class_below_another_class_of_the_list():
  graph = hierarchy.over(ClassList("two", (DOG, "rex"), under=("", DOG)))
  nodes = graph.probabilities(np.array([[0.25, 0.75]], np.float32))[0]
  assert nodes[graph.node[DOG]] == pytest.approx(1.0)


def test_names_that_two_classes_share_are_told_apart():
  graph = hierarchy.over(ClassList("two", ("a", "b"), ("Rex", "Rex"), (DOG, DOG)))
  assert {graph.name(graph.node[one]) for one in "ab"} == {"Rex (a)", "Rex (b)"}


@pytest.mark.parametrize(
  ("classes", "message"),
  [
    (ClassList("mine", ("rex", "tom")), "'rex' hangs under no synset.*id,name,under"),
    (ClassList("mine", ("n99999999",)), "'n99999999' is not in the WordNet 3.0 graph"),
  ],
)
def test_without_a_place_there_is_no_hierarchy_and_one_line_says_so(classes, message):
  with pytest.raises(
    ValueError, match=rf"'mine' has no hierarchy: {message}"
  ) as caught:
    hierarchy.over(classes)
  assert "\n" not in str(caught.value)
  assert not hierarchy.has(classes)
  shown = hierarchy.to_show(classes)
  assert [shown.ids[v] for v in shown.label_node] == list(classes.synsets)
  roots = [v for v, parents in enumerate(shown.parents) if not parents]
  assert [shown.name(root) for root in roots] == ["all classes"]


def test_a_list_with_a_hierarchy_shows_it():
  assert hierarchy.has(PETS) and hierarchy.to_show(PETS) is hierarchy.over(PETS)
