"""Heads for other classes: columns by synset, fresh ones, and refusals."""

import jax
import numpy as np
import pytest

from im21k import synsets
from im21k.inference.classifier import Classifier
from im21k.synsets import ClassList, wordnet
from im21k.weights import heads

DOG, CORGI, PUP, CAT = "n02084071", "n02112826", "n01322604", "n02121620"
FULL = synsets.imagenet21k()


def test_ilsvrc_s_999_classes_get_the_restricted_answers(tiny_weights, sample_photos):
  """Before any training, and up to the last bit but one of a sum of 128 products."""
  known = set(FULL.synsets)
  ids = [one for one in synsets.get("ilsvrc2012").synsets if one in known]
  assert len(ids) == 999
  classes = ClassList("999", tuple(ids))
  before = Classifier(tiny_weights)
  after = before.with_head(classes, start="by_synset")
  labels = [FULL.index(one) for one in ids]
  for name in ("kernel", "bias"):
    old = before.variables["params"]["head"][name]
    new = after.variables["params"]["head"][name]
    np.testing.assert_array_equal(new, old[..., labels])
  images = before.prepare(sorted(sample_photos.glob("*/*.jpg"))[:12])
  restricted = np.asarray(before.logits(images))[:, labels]
  found = np.asarray(after.logits(images))
  np.testing.assert_allclose(found, restricted, atol=1e-6 * abs(restricted).max())
  np.testing.assert_array_equal(found.argmax(1), restricted.argmax(1))


def test_a_fresh_head_is_that_of_a_fresh_model(linear_weights):
  released = linear_weights(
    np.ones((48, 3)), np.ones(3), ClassList("3", ("a", "b", "c"))
  )
  new = heads.with_classes(released, ClassList("2", ("a", "d")), "fresh", seed=5)
  images = np.zeros((1, 32, 32, 3), np.float32)
  whole = new.model.init(jax.random.key(5), images, train=False)["params"]["head"]
  for name, array in whole.items():
    np.testing.assert_array_equal(new.variables["params"]["head"][name], array)
  other = heads.with_classes(released, ClassList("2", ("a", "d")), "fresh", seed=6)
  assert (other.variables["params"]["head"]["kernel"] != whole["kernel"]).any()


def climbed(one, under, old):
  """The rule in other words, with sets of all that is above a synset."""
  graph = wordnet.load()

  def closure(synset):
    found = {synset}
    for up in graph.hypernyms(synset):
      found |= closure(up)
    return found

  start = under or one
  if not graph.knows(start):
    return ()
  at = [start]
  while at and at != [graph.root]:
    labels = []
    for label, other in enumerate(old):
      if any(
        other == synset or (synset not in old and synset in closure(other))
        for synset in at
        if synset != graph.root
      ):
        labels.append(label)
    if labels:
      return tuple(labels)
    at = sorted({up for synset in at for up in graph.hypernyms(synset)})
  return ()


def test_sources_are_those_of_brute_force():
  rng = np.random.default_rng(0)
  every = np.array(FULL.synsets)
  for _ in range(20):
    old = tuple(rng.choice(every, 12, replace=False).tolist())
    new = tuple(rng.choice(every, 6, replace=False).tolist())
    under = tuple(rng.choice(every, 3, replace=False).tolist())
    own = ("my own", "another", "third")
    classes = ClassList("new", (*new, *own), under=(*("",) * 6, *under))
    found = heads.sources(classes, ClassList("old", old))
    for one, above, labels in zip(classes.synsets, classes.under, found, strict=True):
      wanted = (old.index(one),) if one in old else climbed(one, above, old)
      assert labels == wanted, (one, above, old)


def test_own_classes_start_from_what_they_hang_under(linear_weights):
  kernel = np.arange(48.0 * 3).reshape(48, 3).astype(np.float32)
  bias = np.array([1, 2, 3], np.float32)
  released = linear_weights(kernel, bias, ClassList("old", (DOG, CORGI, "n01440764")))
  classes = ClassList("pets", ("rex", "stranger"), under=(CORGI, ""))
  new = heads.with_classes(released, classes, "by_synset", seed=1)
  head = new.variables["params"]["head"]
  np.testing.assert_array_equal(head["kernel"][:, 0], kernel[:, 1])
  assert head["bias"][0] == 2
  fresh = heads.with_classes(released, classes, "fresh", seed=1)
  drawn = fresh.variables["params"]["head"]["kernel"]
  np.testing.assert_array_equal(head["kernel"][:, 1], drawn[:, 1])
  np.testing.assert_array_equal(released.variables["params"]["head"]["kernel"], kernel)


def test_a_class_that_is_missing_starts_from_those_below_it_or_above(linear_weights):
  # A puppy is below dog; the old classes have a corgi below dog, and a goldfish.
  old = ClassList("old", (CORGI, "n02113023", "n01440764"))
  (labels,) = heads.sources(ClassList("new", (DOG,)), old)
  assert labels == (0, 1)
  (labels,) = heads.sources(ClassList("new", (PUP,)), ClassList("old", (DOG, CORGI)))
  assert labels  # By what both are.


def test_several_columns_give_their_mean_and_a_class_of_its_own_gives_itself(
  linear_weights,
):
  kernel = np.arange(48.0 * 3).reshape(48, 3).astype(np.float32)
  bias = np.array([1, 2, 6], np.float32)
  retriever = "n02099601"
  released = linear_weights(kernel, bias, ClassList("old", (CORGI, retriever, CAT)))
  new = heads.with_classes(released, ClassList("new", (DOG, "n01440764")), "by_synset")
  head = new.variables["params"]["head"]
  np.testing.assert_allclose(head["kernel"][:, 0], kernel[:, :2].mean(1))
  assert head["bias"][0] == 1.5
  old = ClassList("old", (DOG, CORGI))
  own = ClassList("own", ("rex",), under=(DOG,))
  assert heads.sources(own, old) == ((0,),), "dog, not the corgi below it"


def test_where_nothing_is_near_it_is_refused(linear_weights):
  released = linear_weights(np.ones((48, 2)), np.ones(2), ClassList("old", ("a", "b")))
  with pytest.raises(ValueError, match="none of the 2 classes of 'new'"):
    heads.with_classes(released, ClassList("new", ("c", "d")), "by_synset")
  with pytest.raises(ValueError, match="class list"):
    heads.with_classes(released, ClassList("new", ("c", "d")), "keep")
  kept = heads.with_classes(released, ClassList("new", ("a", "b")), "keep")
  assert kept.variables is released.variables


def test_a_model_without_head_is_refused(linear_weights):
  released = linear_weights(np.ones((48, 2)), np.ones(2), ClassList("old", ("a", "b")))
  released.variables["params"]["other"] = released.variables["params"].pop("head")
  with pytest.raises(ValueError, match="no parameters called 'head'"):
    heads.with_classes(released, released.classes, "keep")
