"""The one scorer against brute force, and that it can be called again and again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im21k import parallel, synsets, weights
from im21k.evaluation import score
from im21k.evaluation.accuracy import Scores
from im21k.loading import scoring
from im21k.photos import Photo, Source, crops, images
from im21k.photos.photo import Chosen
from im21k.synsets import ClassList

FULL = synsets.imagenet21k()
THIRTY = ClassList("thirty", synsets.ilsvrc2012().synsets[:30])
GOLDFISH, CAT = "n01443537", "n02121620"
INPUT = weights.Input(size=8, short_side=9, mean=100.0, std=50.0)


class Fixed:
  """A model whose logits are the first pixels of the image."""

  def apply(self, variables, image, *, train):
    assert not train
    return image[:, 0, :, 0] * variables, {}


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 4])
@given(seed=st.integers(0, 999), missing=st.integers(0, 7))
@settings(max_examples=8, deadline=None)
def test_scores_equal_brute_force(devices, seed, missing):
  classes, count = len(THIRTY), 8
  rng = np.random.default_rng(seed)
  # Few levels, so that equal logits occur.
  image = np.zeros((count, 1, classes, 3), np.uint8)
  image[:, 0, :, 0] = rng.integers(0, 40, (count, classes))
  label = rng.integers(0, classes, count).astype(np.int32)
  allowed = np.isin(np.arange(classes), [0, *rng.integers(0, classes, 15)])
  batch = jax.tree.map(
    lambda x: x.reshape(devices, -1, *x.shape[1:]), {"image": image, "label": label}
  )
  subsets = {"all": None, "some": allowed}
  step = parallel.eval_step(
    score.rank_step(Fixed(), 0.0, 1.0, subsets), parallel.devices(devices)
  )
  ids = THIRTY.synsets
  examples = [
    scoring.Item(f"{i}", ids[c], int(c), "damaged" if i < missing else None)
    for i, c in enumerate(label)
    if allowed[c]
  ]
  kept = np.flatnonzero(allowed[label])
  ranks = jax.tree.map(
    lambda x: x[kept], jax.device_get(step(jnp.float32(0.25), batch))
  )
  scores = Scores(THIRTY, subsets)
  scores.add(examples, ranks)
  rows = {row["answers"]: row for row in scores.rows()}
  for name, subset in subsets.items():
    inside = np.ones(classes, bool) if subset is None else subset
    expected = {"images": 0, "loss": 0.0, "top_1": 0, "top_5": 0, "top_20": 0}
    for example, at in zip(examples, kept, strict=True):
      if example.error:
        continue
      logits, right = image[at, 0, :, 0] * 0.25, label[at]
      rivals = sum(
        inside[c] and c != right and logits[c] >= logits[right] for c in range(classes)
      )
      expected["images"] += 1
      expected["loss"] += np.log(np.exp(logits[inside]).sum()) - logits[right]
      for k in (1, 5, 20):
        expected[f"top_{k}"] += rivals < k
    if not expected["images"]:
      assert name not in rows
      continue
    for key, value in expected.items():
      mean = value if key == "images" else value / expected["images"]
      np.testing.assert_allclose(rows[name][key], mean, rtol=1e-4, atol=1e-4)


def test_constant_answers_earn_nothing():
  logits = jnp.zeros((3, 30))
  assert score.rank(logits, jnp.array([0, 1, 29])).tolist() == [29, 29, 29]


def test_answers_that_are_no_numbers_earn_nothing():
  logits = jnp.array([[jnp.nan, 1.0], [0.0, jnp.nan]])
  assert score.rank(logits, jnp.array([0, 1])).tolist() == [2, 2]


class Mean:
  """Logits of two classes: means of the left half and of the right, by a factor."""

  traced = 0

  def apply(self, variables, image, *, train):
    self.traced += 1
    half = image.shape[2] // 2
    sides = [image[:, :, :half].mean((1, 2, 3)), image[:, :, half:].mean((1, 2, 3))]
    return jnp.stack(sides, -1) * variables["factor"], {}


TWO = ClassList("two", (GOLDFISH, CAT))


@pytest.fixture
def source(jpeg):
  """Ten photos of two classes, of which the fourth is no JPEG."""
  data = [jpeg(seed) for seed in range(10)]
  data[3] = b"GIF89a"
  photos = (Photo(f"{i}", TWO.synsets[i % 2], one) for i, one in enumerate(data))
  return Source((Chosen(tuple(photos)),))


def by_hand(source, factor, flip=False):
  """Top-1 and mean loss, photo by photo in float64."""
  right, losses = 0, []
  for photo in source:
    if photo.key == "3":
      continue
    square = crops.center_crop(images.decode(photo.data), 8, 9)
    sides = [(half.mean() - 100) / 50 for half in (square[:, :4], square[:, 4:])]
    logits = np.array(sides) * factor
    if flip:
      logits = (logits + logits[::-1]) / 2
    label = TWO.index(photo.synset)
    right += logits[label] > logits[1 - label]
    losses.append(np.log(np.exp(logits).sum()) - logits[label])
  return right / len(losses), np.mean(losses)


@pytest.mark.parametrize(("devices", "batch_size"), [(1, 3), (4, 8)])
def test_each_call_scores_the_variables_it_is_given(source, devices, batch_size):
  on, model = parallel.devices(devices), Mean()
  scorer = score.Scorer(model, INPUT, TWO, source, devices=on, batch_size=batch_size)
  for factor in (1.0, -2.0):
    variables = {"factor": np.float32(factor)}
    for given_as in (variables, parallel.place(variables, on)):
      scores = scorer(given_as)
      (row,) = scores.rows()
      top_1, loss = by_hand(source, factor)
      assert (row["answers"], row["images"], row["bad"]) == ("all 2", 9, 1)
      assert row["top_1"] == top_1 and row["top_20"] == 1
      assert row["loss"] == pytest.approx(loss, rel=1e-5)
      why = "not an image of a common format; it begins with b'GIF89a'"
      assert scores.bad == [("3", why, None)]
  assert model.traced == 1


def test_mirrored_logits_are_the_mean_of_both(source):
  scorer = score.Scorer(
    score.Mirrored(Mean()), INPUT, TWO, source,
    devices=parallel.devices(1), batch_size=5,
  )  # fmt: skip
  (row,) = scorer({"factor": np.float32(3)}).rows()
  assert row["loss"] == pytest.approx(by_hand(source, 3, flip=True)[1], rel=1e-5)
  assert row["loss"] == pytest.approx(np.log(2), rel=1e-5)


def test_no_photo_that_can_be_decoded_is_an_error(source):
  scorer = score.Scorer(
    Mean(),
    INPUT,
    TWO,
    Source((Chosen(tuple(source.pick([3]))),)),
    devices=parallel.devices(1),
    batch_size=5,
  )
  with pytest.raises(ValueError, match=r"none of 1 photo can be scored \(.*: "):
    scorer({"factor": np.float32(1)})
