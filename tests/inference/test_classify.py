"""Batches of photos: right probabilities, one program, one full photo in memory."""

import weakref

import numpy as np
import pytest

from im21k import synsets, weights
from im21k.inference import classifier
from im21k.inference.classify import BATCH, batches
from im21k.photos import images

FULL = synsets.imagenet21k()


@pytest.fixture
def probabilities():
  """(weights, photos, …) -> probabilities `[photos, classes]`, over all batches."""

  def probabilities(released, photos, *how):
    named = ((str(at), photo) for at, photo in enumerate(photos))
    found = list(batches(classifier.Classifier(released), named, *how))
    names = [name for batch in found for name in batch.names]
    assert names == [str(at) for at in range(len(names))]
    assert all(len(batch.names) <= BATCH for batch in found)
    return np.concatenate([batch.probabilities for batch in found])

  return probabilities


@pytest.mark.parametrize("count", [1, 15, 16, 17])
def test_answer_does_not_depend_on_the_company(
  released, some, count, probabilities, by_hand
):
  photos = [images.read(path) for path in some]
  found = probabilities(released, photos[:count])
  assert found.shape == (count, len(FULL))
  for row, photo in zip(found, photos, strict=False):
    np.testing.assert_allclose(row, by_hand(released, photo), rtol=1e-4)


def test_all_batches_go_through_one_program(released, some, monkeypatch, probabilities):
  traced, normalize = [], weights.Input.normalize
  monkeypatch.setattr(
    weights.Input, "normalize", lambda *how: traced.append(1) or normalize(*how)
  )
  assert len(probabilities(released, [images.read(some[0])] * 33)) == 33
  assert len(traced) == 1


def test_photos_are_held_one_at_a_time(released, probabilities):
  """Or the photos of a telephone, 36 MB each, would soon fill the memory."""
  alive = weakref.WeakSet()
  most = 0

  class Photo(np.ndarray):  # Plain arrays cannot be in a set.
    __hash__ = object.__hash__

  def photos():
    nonlocal most
    for _ in range(9):
      photo = np.zeros((900, 300, 3), np.uint8).view(Photo)
      alive.add(photo)
      most = max(most, len(alive))
      yield photo

  assert len(probabilities(released, photos(), 1.0, True)) == 9
  assert most <= 2


def test_thumbnails_are_kept_where_asked_for(released, some):
  model = classifier.Classifier(released)
  photos = [("a", np.zeros((960, 480, 3), np.uint8))] * 2
  (batch,) = batches(model, photos)
  assert batch.thumbnails == []
  (batch,) = batches(model, photos, thumbnails=True)
  assert [small.shape for small in batch.thumbnails] == [(480, 240, 3)] * 2


def test_temperature_divides_the_logits(released, some, probabilities, by_hand):
  photo = images.read(some[0])
  odds = np.sqrt(by_hand(released, photo))
  (found,) = probabilities(released, [photo], 2.0)
  np.testing.assert_allclose(found, odds / odds.sum(), rtol=1e-4)


@pytest.mark.parametrize(
  ("mean", "std"), [(100.0, 2.0), ((123.7, 116.3, 103.5), (1.5, 2.0, 3.0))]
)
def test_normalisation_of_the_weights_is_applied(
  released, linear_weights, some, mean, std, probabilities, by_hand
):
  head = released.variables["params"]["head"]
  prepared = weights.Input(size=32, short_side=37, mean=mean, std=std)
  other = linear_weights(head["kernel"], head["bias"], FULL, input=prepared)
  (found,) = probabilities(other, [images.read(some[0])])
  expected = by_hand(other, images.read(some[0]))
  np.testing.assert_allclose(found, expected, rtol=1e-4)
