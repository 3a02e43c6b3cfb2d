"""Changes of photos on the device are what they say, and labels go with them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from im21k import parallel
from im21k.training import augment, optim
from im21k.training import keys as keys_module
from im21k.training import step as steps
from im21k.training.augment import Mix


@pytest.fixture
def image():
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.integers(0, 256, (6, 12, 16, 3)).astype(np.float32))


def keys(seed=0):
  return jax.random.key(seed), jax.random.key(seed + 100)


LABEL = jnp.arange(6)


def test_nothing_asked_for_changes_nothing(image):
  mixed, other, share = Mix().apply(*keys(), image, LABEL)
  np.testing.assert_array_equal(mixed, image)
  np.testing.assert_array_equal(other, LABEL[::-1])
  assert share == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_mixup_is_the_weighted_mean_of_two_photos(image, seed):
  mixed, other, share = Mix(mixup=0.4).apply(*keys(seed), image, LABEL)
  share = float(share)
  assert 0 <= share <= 1
  for i in range(6):
    wanted = share * image[i] + (1 - share) * image[int(other[i])]
    np.testing.assert_allclose(mixed[i], wanted, rtol=1e-5, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_cutmix_puts_a_rectangle_in_and_counts_its_pixels(image, seed):
  mixed, other, share = Mix(cutmix=1.0).apply(*keys(seed), image, LABEL)
  own = np.asarray((mixed == image).all(-1))
  theirs = np.asarray((mixed == image[other]).all(-1))
  assert (own | theirs).all()
  inside = ~own[0]
  if inside.any():
    rows, columns = inside.any(1), inside.any(0)
    np.testing.assert_array_equal(inside, rows[:, None] & columns[None])
    assert np.diff(np.flatnonzero(rows)).tolist() == [1] * (rows.sum() - 1)
  assert float(share) == pytest.approx(1 - inside.mean(), abs=0.02)


@pytest.mark.slow
def test_with_both_each_is_taken_about_every_second_time(image):
  apply = jax.jit(Mix(mixup=1.0, cutmix=1.0).apply)
  cut = 0
  for seed in range(60):
    mixed, other, _ = apply(*keys(seed), image, LABEL)
    cut += bool(((mixed == image) | (mixed == image[other])).all())
  assert 15 < cut < 45


def test_shares_are_drawn_from_beta(image):
  apply = jax.jit(lambda a, b: Mix(mixup=0.2).apply(a, b, image, LABEL)[2])
  shares = np.array([apply(*keys(seed)) for seed in range(300)])
  # Beta(0.2, 0.2): mean 1/2, variance 1/5.6.
  assert abs(shares.mean() - 0.5) < 0.1
  assert abs(shares.var() - 1 / 5.6) < 0.03


def test_colours_are_changed_as_they_are_defined(image):
  grey = (image * jnp.array([0.299, 0.587, 0.114])[None, None, None]).sum(
    -1, keepdims=True
  )
  np.testing.assert_allclose(
    augment.brightness(image, jnp.float32(0.5)), image / 2, rtol=1e-6
  )
  np.testing.assert_allclose(
    augment.saturation(image, jnp.float32(0.0)),
    jnp.broadcast_to(grey, image.shape),
    rtol=1e-5,
  )
  flat = augment.contrast(image, jnp.float32(0.0))
  np.testing.assert_allclose(flat[2], jnp.full_like(flat[2], grey[2].mean()), rtol=1e-5)
  for change in (augment.brightness, augment.saturation, augment.contrast):
    np.testing.assert_allclose(change(image, jnp.float32(1.0)), image, atol=1e-3)


def test_jitter_keeps_to_its_strength(image):
  half = image / 2
  found = augment.color_jitter(jax.random.key(1), half, 0.2)
  assert found.shape == image.shape and not np.allclose(found, half)
  assert float(found.max()) <= 255 and float(found.min()) >= 0
  ratio = np.asarray(found.mean((1, 2, 3)) / half.mean((1, 2, 3)))
  assert (ratio > 0.79).all() and (ratio < 1.21).all()
  assert len(set(ratio.round(4).tolist())) == 6, "each photo has its own"


@pytest.mark.slow
def test_affine_moves_pixels_where_the_matrix_says(image):
  photo = image[0, :12, :12]
  still = jnp.eye(2, 3)
  np.testing.assert_allclose(augment.affine(photo, still), photo, rtol=1e-6)
  down = augment.affine(photo, still.at[0, 2].set(-3.0))
  np.testing.assert_allclose(down[3:], photo[:-3], rtol=1e-5)
  assert (down[:3] == 128).all()
  turned = augment.affine(photo, jnp.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]))
  np.testing.assert_allclose(turned, jnp.rot90(photo), atol=1e-2)


@pytest.mark.slow
def test_rand_augment_takes_every_operation(image):
  many = jnp.tile(image[:1], (200, 1, 1, 1))
  found = np.asarray(augment.rand_augment(jax.random.key(0), many, 0.5))
  kinds = {photo.round(1).tobytes() for photo in found}
  # Eleven operations; most have a sign.
  assert 11 <= len(kinds) <= 20
  assert np.asarray(many[0]).round(1).tobytes() in kinds, "identity is one"
  assert found.min() >= 0 and found.max() <= 255


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"color_jitter": 1.5}, "mix.color_jitter is 1.5, but must be from 0 to 1"),
    ({"mixup": -1.0}, "mix.mixup is -1.0, but must be 0 or more"),
  ],
)
def test_wrong_strengths_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    keys_module.build(Mix, fields, (), "mix.")


@pytest.mark.slow
def test_the_loss_is_that_of_both_labels(tiny_model):
  """One step without learning, against the loss computed by hand."""
  rng = np.random.default_rng(0)
  photos = rng.integers(0, 256, (2, 4, 16, 16, 3), dtype=np.uint8)
  label = rng.integers(0, 7, (2, 4)).astype(np.int32)
  on, model, chosen = parallel.devices(2), tiny_model(7), Mix(mixup=1.0)
  optimizer = optim.sgd(optax.constant_schedule(0.0))
  state = steps.init(model, optimizer, 16, seed=1)
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  wanted = []
  for device in range(2):
    common = jax.random.fold_in(jax.random.key(5), 0)
    image, other, share = chosen.apply(
      common,
      jax.random.fold_in(common, device),
      jnp.asarray(photos[device], jnp.float32),
      jnp.asarray(label[device]),
    )
    (logits, _), _ = model.apply(
      variables, image - 117.0, train=True, mutable=["batch_stats"]
    )
    log_p = np.asarray(jax.nn.log_softmax(logits))
    own = -log_p[np.arange(4), label[device]].mean()
    wanted.append(share * own - (1 - share) * log_p[np.arange(4), other].mean())
  made = steps.TrainStep(model=model, optimizer=optimizer, mix=chosen, seed=5)
  state = jax.device_put(state, parallel.replicated(on))
  _, metrics = parallel.train_step(made.take, on)(
    state, {"image": photos, "label": label}
  )
  assert float(metrics["loss"]) == pytest.approx(np.mean(wanted), rel=1e-5)
