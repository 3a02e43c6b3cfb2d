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


def test_files_come_in_their_order_with_values_or_a_reason(
  released, sample_photos, tmp_path, tiles_of
):
  some = [str(path) for path in sorted(sample_photos.rglob("*.jpg"))[:9]]
  (tmp_path / "bad.jpg").write_bytes(b"no photo")
  some[2:2] = [str(tmp_path / "bad.jpg"), str(tmp_path / "none.jpg")]
  found = list(stream.of_files(released, iter(some), batch_size=4))
  assert [vector.key for vector in found] == some
  assert [at for at, vector in enumerate(found) if vector.error] == [2, 3]
  assert found[2].values is None and found[2].error.startswith("not an image")
  assert "No such file" in found[3].error
  for path, values, error in found[:2] + found[4:]:
    assert error is None and values.dtype == np.float32
    with open(path, "rb") as file:
      tiles = tiles_of(images.decode(file.read()))
    np.testing.assert_allclose(values, tiles, rtol=1e-4, atol=1e-3)


def test_paths_are_asked_for_as_they_are_needed(released, sample_photos):
  path = next(sample_photos.rglob("*.jpg"))
  asked = 0

  def endless():
    nonlocal asked
    while True:
      asked += 1
      yield path

  found = stream.of_files(released, endless(), batch_size=2)
  assert next(found).key == str(path)
  assert asked < 200  # Threads read ahead, by a number that cores set.
  found.close()


def test_one_path_and_bad_options_are_refused_at_once(released):
  with pytest.raises(TypeError, match=r"paths is 'a\.jpg', one path: give a list"):
    stream.of_files(released, "a.jpg", batch_size=2)
  with pytest.raises(ValueError, match="did you mean 'features'"):
    stream.of_files(released, ["a.jpg"], "feature", batch_size=2)
  with pytest.raises(ValueError, match="batch_size is 0"):
    stream.of_files(released, ["a.jpg"], batch_size=0)
  assert list(stream.of_files(released, [], batch_size=2)) == []
