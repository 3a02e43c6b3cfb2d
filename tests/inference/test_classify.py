"""Batches of photos: right probabilities, one program, few photos in memory."""

import io
import threading
import weakref

import jax
import numpy as np
import pytest
from PIL import Image

from im21k import parallel, synsets, weights
from im21k.inference import classifier, classify
from im21k.inference.classify import BATCH, batches
from im21k.photos import Photo, images

FULL = synsets.imagenet21k()


def photo_of(pixels, name="0"):
  """A photo of which decoding gives these pixels."""
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "PNG", compress_level=1)
  return Photo(name, "", file.getvalue())


@pytest.fixture
def probabilities():
  """(weights, photos, …) -> probabilities `[photos, classes]`, over all batches."""

  def probabilities(released, photos, *how):
    named = (photo_of(photo, str(at)) for at, photo in enumerate(photos))
    found = list(batches(classifier.Classifier(released), named, *how))
    names = [photo.name for batch in found for photo in batch.photos]
    assert names == [str(at) for at in range(len(names))]
    assert all(len(batch.photos) <= BATCH * jax.device_count() for batch in found)
    return np.concatenate([batch.probabilities for batch in found])

  return probabilities


@pytest.mark.parametrize("count", [1, 16, 17, 65])
def test_answer_does_not_depend_on_the_company(
  released, some, count, probabilities, by_hand
):
  photos = [images.read(path) for path in some]
  found = probabilities(released, (photos * 4)[:count])
  assert found.shape == (count, len(FULL))
  for row, photo in zip(found, photos * 4, strict=False):
    np.testing.assert_allclose(row, by_hand(released, photo), rtol=1e-4)


@pytest.mark.parametrize(("count", "shape"), [(1, 1), (3, 3), (18, 20), (150, 64)])
def test_all_batches_go_through_one_program(
  released, some, monkeypatch, probabilities, count, shape
):
  """Of one photo it is for one, as nobody should wait for a larger program."""
  traced, normalize = [], weights.Input.normalize
  monkeypatch.setattr(
    weights.Input,
    "normalize",
    lambda self, x: traced.append(x.shape[0]) or normalize(self, x),
  )
  assert len(probabilities(released, [images.read(some[0])] * count)) == count
  assert traced == [shape]


def test_devices_share_a_batch(released, monkeypatch):
  """Each computes its part; else three of four would do nothing."""
  placed, divided = [], parallel.divided
  monkeypatch.setattr(parallel, "divided", lambda on: placed.append(on) or divided(on))
  model = classifier.Classifier(released)
  logits = model.logits_on(jax.devices())(np.zeros((8, 32, 32, 3), np.uint8))
  assert placed == [jax.devices()]
  assert {shard.data.shape for shard in logits.addressable_shards} == {(2, len(FULL))}


def test_few_photos_are_held(released, monkeypatch):
  """Or the photos of a telephone, 36 MB each, would soon fill the memory."""
  monkeypatch.setattr(classify, "_threads", lambda: 2)
  alive, most = weakref.WeakSet(), 0
  file = photo_of(np.zeros((90, 30, 3), np.uint8)).data

  class Held(Photo):  # With slots alone it could not be in such a set.
    pass

  def photos():
    nonlocal most
    for at in range(200):
      alive.add(photo := Held(str(at), "", file))
      yield photo
      del photo
      most = max(most, len(alive))

  found = batches(classifier.Classifier(released), photos(), 1.0, True)
  assert sum(len(batch.photos) for batch in found) == 200
  assert most <= 8


def test_bad_photos_keep_their_place(released, monkeypatch):
  good = photo_of(np.zeros((40, 40, 3), np.uint8)).data
  kinds = [b"no photo", good, b"", good, *[b"no photo"] * 150, good]
  photos = [Photo(str(at), "", data) for at, data in enumerate(kinds)]
  found = list(batches(classifier.Classifier(released), photos))
  assert [p.name for b in found for p in b.photos] == [p.key for p in photos]
  assert [not p.reason for b in found for p in b.photos] == [k == good for k in kinds]
  assert sum(len(batch.probabilities) for batch in found) == 3
  assert max(len(batch.photos) for batch in found) <= 128


def test_a_slow_list_is_answered_as_it_comes(released):
  """Each photo before the next is named; the program is that of a whole batch."""
  file = photo_of(np.zeros((40, 40, 3), np.uint8)).data
  answered = threading.Semaphore(0)

  def photos():
    for at in range(3):
      yield Photo(str(at), "", file)
      assert answered.acquire(timeout=600)

  for at, batch in enumerate(batches(classifier.Classifier(released), photos())):
    assert [photo.name for photo in batch.photos] == [str(at)]
    answered.release()


def test_thumbnails_are_kept_where_asked_for(released, some):
  model = classifier.Classifier(released)
  photos = [photo_of(np.zeros((960, 480, 3), np.uint8))] * 2
  (batch,) = batches(model, photos)
  assert [photo.thumbnail for photo in batch.photos] == [None, None]
  (batch,) = batches(model, photos, thumbnails=True)
  assert [p.thumbnail.shape for p in batch.photos] == [(480, 240, 3)] * 2


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
