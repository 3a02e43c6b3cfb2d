"""Rows of features from any source, over any number of devices."""

import dataclasses

import jax
import numpy as np
import pytest

from im21k import photos
from im21k.features import stream
from im21k.photos import images
from im21k.photos.photo import Chosen, Photo


def rows_of(released, source, devices=1, batch_size=8, **options):
  on = jax.local_devices()[:devices]
  return list(
    stream.extract(released, source, devices=on, batch_size=batch_size, **options)
  )


@pytest.mark.parametrize("devices", [1, 4])
def test_each_photo_comes_once_with_its_own_row(
  released, sample_photos, devices, tiles_of
):
  found = rows_of(released, photos.open(sample_photos), devices)
  expected = list(photos.open(sample_photos))
  assert [key for rows in found for key in rows.keys] == [p.key for p in expected]
  assert [s for rows in found for s in rows.synsets] == [p.synset for p in expected]
  values = np.concatenate([rows.values for rows in found])
  tiles = [tiles_of(images.decode(photo.data)) for photo in expected]
  np.testing.assert_allclose(values, tiles, rtol=1e-4, atol=1e-3)
  assert [rows.read for rows in found] == [8] * 20 + [3]
  assert found[-1].last == expected[-1].key


def test_photos_without_class_have_rows_and_bad_ones_a_reason(released, jpeg):
  some = [
    Photo("a", "", jpeg(1)),
    Photo("b", "", b"no photo"),
    Photo("c", "", problem=("unreadable", "it was on the moon")),
    Photo("d", "", jpeg(2)),
  ]
  (rows,) = rows_of(released, photos.Source((Chosen(tuple(some)),)))
  assert rows.keys == ["a", "d"] and rows.synsets == ["", ""] and rows.read == 4
  assert rows.values.shape == (2, 48)
  reasons = [(item.key, item.error[:13]) for item in rows.bad]
  assert reasons == [("b", "not an image "), ("c", "it was on the")]


def test_a_number_beyond_its_type_is_an_error_that_names_the_photo(released, jpeg):
  loud = dataclasses.replace(released.input, std=1e-4)
  released = dataclasses.replace(released, input=loud)
  source = photos.Source((Chosen((Photo("a", "", jpeg(1)),)),))
  assert rows_of(released, source)[0].keys == ["a"]
  with pytest.raises(
    ValueError, match=r"a: stage features has .* float16: use float32"
  ):
    rows_of(released, source, dtype="float16")


def test_no_photos_give_nothing(released):
  assert rows_of(released, photos.Source((Chosen(()),))) == []
