"""Update rules against transcriptions of MXNet's and of the papers', in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from im21k.training import optim, optimizers, schedules


def test_update_is_that_of_mxnet_through_a_change_of_rate():
  schedule = schedules.stepwise([0.1, 0.01], [5])
  optimizer = optim.sgd(schedule, momentum=0.9, weight_decay=0.05)
  rng = np.random.default_rng(0)
  weight = {"kernel": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)}
  params = {key: jnp.asarray(value, jnp.float32) for key, value in weight.items()}
  state = optimizer.init(params)
  momentum = {key: np.zeros_like(value) for key, value in weight.items()}
  for step in range(12):
    gradient = {key: rng.normal(size=value.shape) for key, value in weight.items()}
    lr = 0.1 if step < 5 else 0.01
    for key in weight:
      momentum[key] *= 0.9
      momentum[key] -= lr * (gradient[key] + 0.05 * weight[key])
      weight[key] += momentum[key]
    as_jax = {key: jnp.asarray(value, jnp.float32) for key, value in gradient.items()}
    updates, state = optimizer.update(as_jax, state, params)
    params = optax.apply_updates(params, updates)
  for key in weight:
    np.testing.assert_allclose(params[key], weight[key], rtol=1e-5)


def test_decay_on_kernels_leaves_vectors_alone():
  optimizer = optim.sgd(optax.constant_schedule(1.0), weight_decay=0.5, decay="kernels")
  params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
  zeros = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
  updates, _ = optimizer.update(zeros, optimizer.init(params), params)
  np.testing.assert_array_equal(updates["kernel"], -0.5 * np.ones((2, 2)))
  np.testing.assert_array_equal(updates["bias"], np.zeros(2))


def test_misspelt_decay_is_an_error():
  with pytest.raises(ValueError, match="decay is 'kernel', but must be"):
    optim.sgd(optax.constant_schedule(1.0), decay="kernel")


def test_nesterov_is_that_of_pytorch():
  """Where the rate is constant, their forms with the rate inside and outside agree."""
  optimizer = optim.sgd(
    optax.constant_schedule(0.1), momentum=0.9, weight_decay=0.05, nesterov=True
  )
  rng = np.random.default_rng(0)
  weight, buffer = rng.normal(size=(3, 2)), np.zeros((3, 2))
  params = {"kernel": jnp.asarray(weight, jnp.float32)}
  state = optimizer.init(params)
  for _ in range(8):
    gradient = rng.normal(size=(3, 2))
    with_decay = gradient + 0.05 * weight
    buffer = 0.9 * buffer + with_decay
    weight = weight - 0.1 * (with_decay + 0.9 * buffer)
    as_jax = {"kernel": jnp.asarray(gradient, jnp.float32)}
    updates, state = optimizer.update(as_jax, state, params)
    params = optax.apply_updates(params, updates)
  np.testing.assert_allclose(params["kernel"], weight, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_gradients_are_clipped_by_their_norm_over_all_parameters(scale):
  optimizer = optim.sgd(
    optax.constant_schedule(1.0), momentum=0.0, weight_decay=0.5, clip_norm=2.0
  )
  rng = np.random.default_rng(1)
  params = {key: rng.normal(size=4).astype(np.float32) for key in "ab"}
  gradient = {key: scale * rng.normal(size=4).astype(np.float32) for key in "ab"}
  norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
  assert (norm > 2) == (scale > 1)
  updates, _ = optimizer.update(gradient, optimizer.init(params), params)
  for key in "ab":  # The decay is added to what was clipped.
    wanted = -(gradient[key] * min(1, 2 / norm) + 0.5 * params[key])
    np.testing.assert_allclose(updates[key], wanted, rtol=1e-5)


def normal(seed=0):
  """A small net's tree of arrays, float64."""
  rng = np.random.default_rng(seed)
  return {
    "conv": {"kernel": rng.normal(size=(3, 3, 2, 6)), "bias": rng.normal(size=6)},
    "bn": {"scale": rng.normal(size=6), "bias": rng.normal(size=6)},
    "head": {"kernel": rng.normal(size=(6, 5)), "bias": rng.normal(size=5)},
  }


def leaves(tree):
  """Arrays by the names of their part and themselves."""
  return {(part, name): x for part, inner in tree.items() for name, x in inner.items()}


def as_jax(tree):
  return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def taken(optimizer, steps=5):
  """The parameters after some steps, and the gradients that they were given."""
  params, given = as_jax(normal()), [normal(seed) for seed in range(1, steps + 1)]
  state, update = optimizer.init(params), jax.jit(optimizer.update)
  for gradients in given:
    updates, state = update(as_jax(gradients), state, params)
    params = optax.apply_updates(params, updates)
  return leaves(jax.device_get(params)), [leaves(g) for g in given]


class Adam:
  """Directions of Adam in NumPy: Kingma & Ba 2015, algorithm 1."""

  def __init__(self, b1, b2, epsilon):
    self.b1, self.b2, self.epsilon = b1, b2, epsilon
    self.mean, self.square, self.step = 0.0, 0.0, 0

  def __call__(self, gradient):
    self.step += 1
    self.mean = self.b1 * self.mean + (1 - self.b1) * gradient
    self.square = self.b2 * self.square + (1 - self.b2) * gradient**2
    mean = self.mean / (1 - self.b1**self.step)
    square = self.square / (1 - self.b2**self.step)
    return mean / (np.sqrt(square) + self.epsilon)


RATES = schedules.stepwise([0.1, 0.02], [3])


def rate_at(step):
  return 0.1 if step < 3 else 0.02


def check(found, wanted, rtol=1e-4):
  assert found.keys() == wanted.keys()
  for name, value in wanted.items():
    np.testing.assert_allclose(found[name], value, rtol, 1e-6, err_msg=str(name))


def test_adamw_is_that_of_the_paper():
  keys = optimizers.AdamW(b1=0.8, b2=0.95, epsilon=1e-3, weight_decay=0.3)
  found, given = taken(keys.make(RATES))
  weights = leaves(normal())
  for name, weight in weights.items():
    direction = Adam(0.8, 0.95, 1e-3)
    for step, gradients in enumerate(given):
      weight = weight - rate_at(step) * (direction(gradients[name]) + 0.3 * weight)
    weights[name] = weight
  check(found, weights)


def test_lamb_is_that_of_the_paper():
  """Each array moves by the rate times its own norm."""
  keys = optimizers.Lamb(b1=0.8, b2=0.95, epsilon=1e-3, weight_decay=0.3)
  found, given = taken(keys.make(RATES))
  weights = leaves(normal())
  for name, weight in weights.items():
    direction = Adam(0.8, 0.95, 1e-3)
    for step, gradients in enumerate(given):
      update = direction(gradients[name]) + 0.3 * weight
      update *= np.linalg.norm(weight) / np.linalg.norm(update)
      weight = weight - rate_at(step) * update
    weights[name] = weight
  check(found, weights)


def nearly_orthogonal(matrix, steps):
  """Newton-Schulz iterations as in Jordan's post, `[rows, columns]`."""
  a, b, c = 3.4445, -4.7750, 2.0315
  x = matrix / np.linalg.norm(matrix)
  x = x.T if len(x) > len(x.T) else x
  for _ in range(steps):
    gram = x @ x.T
    x = a * x + (b * gram + c * gram @ gram) @ x
  return x if x.shape == matrix.shape else x.T


@pytest.mark.parametrize("rms", [0.2, None])
@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_is_jordan_s_for_kernels_of_the_trunk_and_adamw_for_the_rest(
  rms, nesterov
):
  """With optax's corrections of the first steps' momentum, which do not change the
  direction without Nesterov."""
  keys = optimizers.Muon(
    momentum=0.9, nesterov=nesterov, ns_steps=4, rms=rms, weight_decay=0.3
  )
  found, given = taken(keys.make(RATES))
  weights = leaves(normal())
  for name, weight in weights.items():
    direction, momentum = Adam(0.9, 0.999, 1e-8), 0.0
    for step, gradients in enumerate(given):
      gradient = gradients[name]
      update = direction(gradient)
      if name == ("conv", "kernel"):
        momentum = 0.9 * momentum + 0.1 * gradient
        ahead = momentum
        if nesterov:
          ahead = 0.9 * momentum / (1 - 0.9 ** (step + 2))
          ahead += 0.1 * gradient / (1 - 0.9 ** (step + 1))
        update = nearly_orthogonal(ahead.reshape(18, 6), 4).reshape(3, 3, 2, 6)
        update *= rms * np.sqrt(18) if rms else 1.0
      weight = weight - rate_at(step) * (update + 0.3 * weight)
    weights[name] = weight
  check(found, weights, rtol=1e-3)


def test_muon_is_that_of_optax():
  keys = optimizers.Muon(weight_decay=0.0)
  dimensions = {
    "conv": {"kernel": contrib.MuonDimensionNumbers((0, 1, 2), 3), "bias": None},
    "bn": None,
    "head": None,
  }
  theirs = contrib.muon(
    0.1, consistent_rms=0.2, muon_weight_dimension_numbers=dimensions
  )

  def update(updates, state, params):
    with jax.numpy_dtype_promotion("standard"):
      return theirs.update(updates, state, params)

  wanted, _ = taken(optax.GradientTransformation(theirs.init, update), steps=1)
  found, _ = taken(keys.make(lambda _: 0.1), steps=1)
  kernel = ("conv", "kernel")
  np.testing.assert_allclose(found[kernel], wanted[kernel], 1e-5)


@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (1, 1, 4, 40), (5, 7)])
def test_kernels_updates_are_orthogonal_within_what_the_iterations_leave(shape):
  """Singular values are about from 0.7 to 1.2, whatever the gradient's were."""
  rule = optim.orthogonal(0.9, True, 5, 1e-8, None)
  rng = np.random.default_rng(0)
  kernel = {"kernel": jnp.asarray(rng.normal(size=shape), jnp.float32)}
  with jax.numpy_dtype_promotion("standard"):
    updates, _ = rule.update(kernel, rule.init(kernel), kernel)
  outputs = shape[-1]
  matrix = np.asarray(updates["kernel"]).reshape(-1, outputs)
  values = np.linalg.svd(matrix, compute_uv=False)
  values /= np.sqrt(max(1, outputs / len(matrix)))
  assert values.min() > 0.65 and values.max() < 1.25
  gradient = np.asarray(kernel["kernel"]).reshape(-1, outputs)
  left, _, right = np.linalg.svd(gradient, full_matrices=False)
  # The same singular vectors: in their basis it is diagonal.
  diagonal = left.T @ matrix @ right.T
  np.testing.assert_allclose(diagonal, np.diag(np.diag(diagonal)), atol=1e-3)


@pytest.mark.parametrize("name", ["adamw", "lamb", "muon"])
def test_other_rules_clip_by_the_norm_over_all_parameters_too(name):
  """Adam's first direction is the sign alone, unless epsilon is large."""
  make = functools.partial(optimizers.OPTIMIZERS[name], epsilon=0.1)
  rate = optax.constant_schedule(0.1)
  whole = np.sqrt(sum((x**2).sum() for x in leaves(normal(1)).values()))
  clipped, _ = taken(make(clip_norm=0.5 * whole).make(rate), steps=1)

  halved = as_jax(jax.tree.map(lambda x: 0.5 * x, normal(1)))
  rule, params = make().make(rate), as_jax(normal())
  updates, _ = rule.update(halved, rule.init(params), params)
  check(clipped, leaves(optax.apply_updates(params, updates)))
