"""Where the mass is: a tree whose parts sum up, from where it divides."""

import itertools

import numpy as np
import pytest

from im21k import synsets
from im21k.pages import icicle, mass
from im21k.synsets import hierarchy

# root 0 > thing 1 > animal 2 > dog 3, a class, > poodle 4; thing 1 > fir 5.
# Pet 6, below thing 1, is above the poodle, too.
GRAPH = hierarchy.Hierarchy(
  [f"n{at:08}" for at in range(7)],
  [[], [0], [1], [2], [3, 6], [1], [1]],
  [3, 4, 5],
  {f"n{at:08}": name for at, name in enumerate(
    ("root, top", "thing", "animal", "dog", "poodle", "fir", "pet")
  )},
)  # fmt: skip


def tree(*probabilities):
  return mass.tree(GRAPH, np.array(probabilities, np.float32))


def test_the_tree_begins_where_the_mass_divides():
  names, (dog, fir) = tree(0.2, 0.5, 0.3)
  assert names == ("root", "thing")
  # Animal has nothing but dogs: it is above them, and no row of its own.
  assert (dog.name, dog.above) == ("dog", ("animal",))
  assert (dog.probability, dog.mass) == pytest.approx((0.7, 0.7))
  assert [(part.name, round(part.mass, 3)) for part in dog.below] == [
    ("poodle", 0.5),
    ("dog itself", 0.2),
  ]
  assert (fir.name, fir.below, fir.rest) == ("fir", (), 0.0)


def test_what_has_nearly_all_stands_for_what_is_above_it():
  names, nodes = tree(0.0, 0.995, 0.005)
  assert names == () or names[-1] != "poodle"
  assert [node.name for node in nodes] == ["poodle"]
  assert names + nodes[0].above == ("root", "thing", "animal", "dog")


def test_a_node_with_two_hypernyms_counts_once_below_the_likelier():
  _, nodes = tree(0.3, 0.4, 0.3)
  assert [node.name for node in nodes] == ["dog", "fir"], "pets are counted as dogs"
  # root 0 > dog 1, pet 2; poodle 3 is both, cat 4 a pet: pets are likelier than dogs.
  graph = hierarchy.Hierarchy(
    [f"n{at:08}" for at in range(5)], [[], [0], [0], [1, 2], [2]], [3, 4],
    {f"n{at:08}": name for at, name in enumerate(
      ("root", "dog", "pet", "poodle", "cat")
    )},
  )  # fmt: skip
  names, nodes = mass.tree(graph, np.array([0.6, 0.4], np.float32))
  assert names == ("root", "pet")
  assert [node.name for node in nodes] == ["poodle", "cat"]


@pytest.mark.parametrize("seed", range(5))
def test_parts_and_rest_sum_to_each_nodes_mass_over_all_classes(seed):
  graph = hierarchy.over(synsets.imagenet21k())
  rng = np.random.default_rng(seed)
  p = rng.dirichlet(np.full(21_841, 0.002)).astype(np.float32)
  names, nodes = mass.tree(graph, p)
  seen = []

  def check(node):
    seen.append(node)
    assert node.mass >= mass.LEAST and node.probability >= node.mass - 1e-4
    if node.below:
      parts = sum(part.mass for part in node.below)
      assert parts + node.rest == pytest.approx(node.mass, abs=1e-5)
      masses = [part.mass for part in node.below]
      assert masses == sorted(masses, reverse=True)
    for part in node.below:
      check(part)

  for node in nodes:
    check(node)
  # Every class of so much is in the tree, by its own probability.
  leaves = sorted(round(node.mass, 4) for node in seen if not node.below)
  assert len(leaves) >= (p >= mass.LEAST).sum() - 1 and names[:1] == ("entity",)
  chart = icicle.layout(names, nodes)
  assert all(-0.02 <= one.x <= one.x + one.width <= 100.05 for one in chart.rectangles)
  by_row = {}
  for one in chart.rectangles:
    by_row.setdefault(one.y, []).append((one.x, one.width))
  for row in by_row.values():  # No two overlap.
    row.sort()
    for (x, width), (after, _) in itertools.pairwise(row):
      assert x + width <= after + 0.05


def test_the_icicle_is_as_wide_as_the_mass_and_names_what_fits():
  names, nodes = tree(0.2, 0.5, 0.29)
  dog, poodle, itself, fir, *rest = icicle.layout(names, nodes).rectangles
  assert (dog.x, dog.width, dog.y) == (0, 70.0, 0) and dog.wide == "dog 70.0 %"
  assert (poodle.x, poodle.width, poodle.y) == (0, 50.0, icicle.ROW)
  assert (itself.x, itself.width) == (50.0, 20.0)
  assert (fir.x, fir.y) == (70.0, 0) and fir.kind.startswith("b2")
  assert poodle.path == "root › thing › animal › dog › poodle: 50.0 %"
  assert len(rest) == 1 and rest[0].kind == "rest" and rest[0].width == pytest.approx(1)


def test_the_rest_claims_nothing_of_its_parts():
  """A class that one below it stands for may have more than others shown."""
  names, nodes = tree(0.02, 0.78, 0.2)
  rest = icicle.layout(names, nodes).rectangles[-1]
  assert (rest.kind, rest.width) == ("rest", pytest.approx(2))
  assert rest.path == "root › thing › others: 2.0 % in all"


@pytest.mark.parametrize(
  ("width", "text"),
  [(200, "poodle 50.0 %"), (60, "poodle"), (50, "pood…"), (30, ""), (0, "")],
)
def test_texts_are_shortened_to_what_fits(width, text):
  assert icicle.fitted("poodle 50.0 %", "poodle", width) == text


def test_without_a_hierarchy_there_is_one_row():
  graph = hierarchy.Hierarchy(
    ["a", "b", ""],
    [[2], [2], []],
    [0, 1],
    {"a": "zebra", "b": "alpaca", "": "all classes"},
  )
  names, nodes = mass.tree(graph, np.array([0.6, 0.4], np.float32))
  assert len(names) == 1 and [len(node.below) for node in nodes] == [0, 0]
  assert {one.y for one in icicle.layout(names, nodes).rectangles} == {0}
