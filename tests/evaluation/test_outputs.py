"""Logits of labelled photos, against a product of matrices."""

import numpy as np
import pytest

from im21k.evaluation import inputs, outputs
from im21k.photos import Photo, Source
from im21k.photos.photo import Chosen
from im21k.synsets import ClassList

GOLDFISH, CAT, TEDDY = "n01443537", "n02121620", "n04399382"
TWO = ClassList("two", (GOLDFISH, CAT))


@pytest.fixture
def released(linear_weights, rng):
  kernel = rng.normal(scale=0.01, size=(48, 2)).astype(np.float32)
  return linear_weights(kernel, np.float32([0.5, -0.5]), TWO)


@pytest.fixture
def source(jpeg):
  """Nine photos; the second cannot be decoded, the fifth is of an unknown class."""
  data = [jpeg(seed) for seed in range(9)]
  data[1] = b"GIF89a"
  ids = [TEDDY if i == 4 else TWO.synsets[i % 2] for i in range(9)]
  return [
    Photo(f"{i}", synset, one)
    for i, (synset, one) in enumerate(zip(ids, data, strict=True))
  ]


def of(photos):
  """A source of these photos."""
  return Source((Chosen(tuple(photos)),))


@pytest.mark.parametrize("batch_size", [1, 4, 16])
@pytest.mark.parametrize("most", [3, 7, 100])
def test_logits_are_those_of_the_first_photos_that_can_be_used(
  released, source, batch_size, most
):
  found = outputs.compute(released, of(source), most=most, batch_size=batch_size)
  usable = [0, 2, 3, 5, 6, 7, 8][:most]
  assert found.positions.tolist() == usable
  assert found.labels.tolist() == [TWO.index(source[i].synset) for i in usable]
  squares = np.stack([inputs.square(source[i], released.input) for i in usable])
  tiles = squares.reshape(-1, 4, 8, 4, 8, 3).mean((2, 4)).reshape(-1, 48) - 117
  head = released.variables["params"]["head"]
  np.testing.assert_allclose(
    found.logits, tiles @ head["kernel"] + head["bias"], rtol=1e-3, atol=1e-4
  )
  assert found.logits.dtype == np.float32
  (bad,) = found.bad
  assert bad.key == "1" and bad.reason.endswith("it begins with b'GIF89a'")
  counts = found.counts()
  assert counts.pop("photos") == sum(counts.values())
  assert found.unknown == ({TEDDY: 1} if most > 3 else {})


def test_without_a_photo_that_can_be_used_the_reasons_are_counted(released, source):
  with pytest.raises(
    ValueError, match=r"of 2 photos can be used: 1 cannot .* \(.*: .*\), 1 are of class"
  ):
    outputs.compute(released, of([source[1], source[4]]), most=5, batch_size=4)
  with pytest.raises(ValueError, match="images is 0, but must be at least 1"):
    outputs.compute(released, of(source), most=0, batch_size=4)
