"""Multiples of rate and decay by part of the net, against each part by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from im21k import models
from im21k.training import groups, optim, optimizers

NAMES = ("head", "kernels", "norms", "biases")
RULES = tuple(optimizers.OPTIMIZERS)
PARTS = {
  "conv": {"kernel": "kernels", "bias": "biases"},
  "block": {"a": {"bn": {"scale": "norms", "bias": "norms"}}},
  "head": {"kernel": "head", "bias": "head"},
}
KERNEL = (3, 3, 2, 4)


def tree(seed):
  rng = np.random.default_rng(seed)

  def one(path, _):
    shape = KERNEL if "kernel" in jax.tree_util.keystr(path) else (4,)
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  return jax.tree_util.tree_map_with_path(one, PARTS)


def moved(rule, decay="all", trunk_rate=1.0, steps=3, **keys):
  """Where the parameters are after some steps."""
  each = optimizers.OPTIMIZERS[rule](decay=decay, **keys)
  made = each.make(optax.constant_schedule(0.1), trunk_rate)
  params = tree(0)
  state = made.init(params)
  update = jax.jit(made.update)
  for seed in range(1, steps + 1):
    updates, state = update(tree(seed), state, params)
    params = optax.apply_updates(params, updates)
  return jax.device_get(params)


def test_each_parameter_is_in_one_part():
  assert groups.parts(tree(0)) == PARTS


def test_the_parts_of_the_shipped_net_are_its_layers():
  model = models.create("inception_bn_21k", width=0.125, num_classes=9)
  images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  shapes = jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False)["params"], images
  )
  found = jax.tree_util.tree_leaves_with_path(groups.parts(shapes))
  counts = dict.fromkeys(NAMES, 0)
  for path, part in found:
    text = jax.tree_util.keystr(path)
    counts[part] += 1
    assert part == (
      "head" if text.startswith("['head']")
      else "kernels" if "kernel" in text
      else "norms" if "'bn'" in text or "norm" in text.lower()
      else "biases"
    ), text  # fmt: skip
  layers = counts["kernels"]
  assert counts == {"head": 2, "kernels": layers, "norms": 2 * layers, "biases": layers}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("decay", ["all", "kernels"])
def test_a_part_moves_as_if_the_whole_net_had_its_rate_and_decay(rule, decay):
  """Rules work on each array by itself, so that whole nets can be put together."""
  rates = dict(zip(NAMES, (0.5, 2.0, 0.0, 3.0), strict=True))
  decays = dict(zip(NAMES, (2.0, 0.0, 3.0, 0.5), strict=True))
  keys = {f"{name}_rate": value for name, value in rates.items()}
  keys |= {f"{name}_decay": value for name, value in decays.items()}
  found = moved(rule, decay, weight_decay=0.1, groups=groups.Groups(**keys))
  for name in NAMES:
    alone = optimizers.OPTIMIZERS[rule](decay=decay, weight_decay=0.1 * decays[name])
    made = alone.make(optax.constant_schedule(0.1 * rates[name]))
    params = tree(0)
    state, update = made.init(params), jax.jit(made.update)
    for seed in (1, 2, 3):
      updates, state = update(tree(seed), state, params)
      params = optax.apply_updates(params, updates)
    jax.tree.map(
      lambda part, a, b, name=name: part != name
      or np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
      PARTS, found, jax.device_get(params),
    )  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_a_trunk_s_rate_multiplies_those_of_its_parts(rule):
  keys = groups.Groups(kernels_rate=0.5, head_rate=3.0)
  both = moved(rule, trunk_rate=0.5, groups=keys)
  wanted = groups.Groups(
    kernels_rate=0.25, norms_rate=0.5, biases_rate=0.5, head_rate=3.0
  )
  jax.tree.map(np.testing.assert_array_equal, both, moved(rule, groups=wanted))


@pytest.mark.parametrize("rule", RULES)
def test_groups_that_change_nothing_are_the_same_bits(rule):
  """Multiples of 1 by way of groups are those of the rule without groups."""
  plain = moved(rule, trunk_rate=0.25)
  keys = groups.Groups(kernels_rate=0.25, norms_rate=0.25, biases_rate=0.25)
  jax.tree.map(np.testing.assert_array_equal, plain, moved(rule, groups=keys))


@pytest.mark.parametrize("rule", RULES)
def test_a_head_alone_has_its_part(rule):
  """As with a frozen trunk, whose parameters have no state."""
  keys = optimizers.OPTIMIZERS[rule](groups=groups.Groups(head_rate=0.5, head_decay=2))
  made = optim.of_head(keys.make(optax.constant_schedule(0.1)))
  whole = keys.make(optax.constant_schedule(0.1))
  params, gradients = tree(0), tree(1)
  state = made.init(params)
  wanted, _ = whole.update(gradients, whole.init(params), params)
  head = {"head": params["head"]}
  found, _ = made.update({"head": gradients["head"]}, state, head)
  jax.tree.map(np.testing.assert_array_equal, found["head"], wanted["head"])
  others = {x.size for x in jax.tree.leaves(state)} - {1, 3}
  assert others <= {x.size for x in jax.tree.leaves(head)}
