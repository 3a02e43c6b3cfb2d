"""This is that network: every number against MXNet 1.9.1, for the full nets at 224².

`figures` prints the largest differences: pytest tests/golden -s.
"""

import functools
import itertools
import json
from pathlib import Path

import formula
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from im21k import models
from im21k.convert import arrays as layouts
from im21k.training import optim, schedules

HERE = Path(__file__).parent
NAMES = {"full": "inception_bn_21k", "plain": "inception_bn_1k"}
FIGURES = json.loads((HERE / "figures.json").read_text())


@functools.cache
def golden(net):
  with np.load(HERE / f"{net}.npz", allow_pickle=False) as arrays:
    return dict(arrays)


@functools.cache
def variables_of(net):
  """Our variables, by way of MXNet's names and shapes."""
  model = models.create(NAMES[net])
  images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
  shapes = jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False), images
  )

  def draw(path, leaf):
    path = tuple(key.key for key in path)
    outside = layouts.to_mxnet(path, np.empty(leaf.shape, bool), None).shape
    name = layouts.name_of(path).split(":")[1]
    return layouts.from_mxnet(path, formula.array(name, outside), None)

  return jax.tree_util.tree_map_with_path(draw, shapes)


def images(net, index=0):
  return jnp.asarray(formula.images(net, index).transpose(0, 2, 3, 1))


def relative(ours, theirs):
  ours, theirs = np.float64(ours), np.float64(theirs)
  return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def by_mxnet_name(tree):
  """Arrays in MXNet's form, by their names there without `arg:` or `aux:`."""
  return {
    layouts.name_of(path).split(":")[1]: layouts.to_mxnet(path, np.asarray(leaf), None)
    for path, leaf in (
      (tuple(key.key for key in path), leaf)
      for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    )
  }


@pytest.mark.slow
@pytest.mark.parametrize(
  ("net", "pooling", "average_pool"),
  [
    *itertools.product(["full"], ["ceil", "floor"], ["counted", "ignored"]),
    ("plain", "ceil", "ignored"),
    ("plain", "floor", "counted"),
  ],
)
def test_inference(net, pooling, average_pool, capsys):
  model = models.create(NAMES[net], pooling=pooling, average_pool=average_pool)
  run = jax.jit(functools.partial(model.apply, train=False))
  logits, _ = run(variables_of(net), images(net))
  difference = relative(logits, golden(net)[f"inference {pooling} {average_pool}"])
  with capsys.disabled():
    print(f"\n{net}, {pooling}, {average_pool}: logits {difference:.1e}")
  assert difference <= 1e-5


@functools.cache
def gradient_step(net):
  model = models.create(NAMES[net], average_pool="counted")

  @jax.jit
  def step(variables, image, label):
    def loss_of(params):
      (logits, _), updates = model.apply(
        {**variables, "params": params}, image, train=True, mutable=["batch_stats"]
      )
      losses = optax.softmax_cross_entropy_with_integer_labels(logits, label)
      return losses.mean(), (logits, updates["batch_stats"])

    return jax.value_and_grad(loss_of, has_aux=True)(variables["params"])

  return step


@functools.cache
def trained(net, index):
  """Loss, logits, statistics and gradients of a batch, by MXNet's names."""
  label = formula.labels(formula.CLASSES[net], index)
  (loss, (logits, stats)), gradients = gradient_step(net)(
    variables_of(net), images(net, index), label
  )
  return (
    float(loss),
    np.asarray(logits),
    by_mxnet_name({"batch_stats": stats}),
    by_mxnet_name({"params": gradients}),
  )


@pytest.mark.slow
@pytest.mark.parametrize("net", NAMES)
def test_training_mode(net, capsys):
  loss, logits, stats, _ = trained(net, 0)
  assert loss == pytest.approx(FIGURES[f"{net} loss"], rel=1e-5)
  difference = relative(logits, golden(net)["training"])
  largest = max(relative(v, golden(net)[f"aux {name}"]) for name, v in stats.items())
  with capsys.disabled():
    print(f"\n{net}, training: logits {difference:.1e}, statistics {largest:.1e}")
  assert difference <= 1e-4 and largest <= 1e-4


@pytest.mark.slow
def test_epsilon_is_as_negligible_as_in_mxnet(capsys):
  """BatchNorm cancels any scale of its convolution, unless epsilon is felt.

  Kernels and biases divided by 128 (exact in float32) make every variance 16,384 times
  smaller. With the original's epsilon of 1e-10 the logits are still MXNet's, to 1e-6;
  with an epsilon of 1e-5 they are off by 3 %.
  """
  variables = variables_of("plain")

  def shrink(path, leaf):
    return leaf / 128 if any(key.key == "conv" for key in path) else leaf

  params = jax.tree_util.tree_map_with_path(shrink, variables["params"])
  label = formula.labels(formula.CLASSES["plain"], 0)
  (_, (logits, _)), _ = gradient_step("plain")(
    {**variables, "params": params}, images("plain"), label
  )
  difference = relative(logits, golden("plain")["training"])
  with capsys.disabled():
    print(f"\nplain, training with small variances: logits {difference:.1e}")
  assert difference <= 1e-4


def differences(net, index):
  """Of every gradient: of its stored entries, and of its length."""
  gradients = trained(net, index)[3]
  norms = FIGURES[f"{net} gradient norms"][index]
  assert gradients.keys() == norms.keys()
  found = {}
  samples = golden(net)[f"gradients {index}"]
  for name, theirs in zip(sorted(norms), samples, strict=True):
    ours = np.float64(gradients[name])
    if name.startswith("conv_") and name.endswith("_bias"):
      # BatchNorm takes the mean away: zero but for rounding, in both.
      assert max(np.linalg.norm(ours), norms[name]) < 1e-5 * max(norms.values())
      continue
    # As many entries have this length on average.
    length = norms[name] * np.sqrt(formula.SAMPLES / ours.size)
    found[name] = max(
      np.linalg.norm(formula.sample(name, ours) - theirs) / length,
      abs(np.linalg.norm(ours) / norms[name] - 1),
    )
  return found


@pytest.mark.slow
@pytest.mark.parametrize("net", NAMES)
def test_every_gradient(net, capsys):
  """On one batch at least: a wrong gradient is wrong on all (see `formula.BATCHES`)."""
  batches = [differences(net, index) for index in range(len(formula.BATCHES[net]))]
  best = {name: min(found[name] for found in batches) for name in batches[0]}
  with capsys.disabled():
    by_batch = ", ".join(f"{max(found.values()):.1e}" for found in batches)
    print(f"\n{net}, gradients: {max(best.values()):.1e}; batch by batch {by_batch}")
  assert max(best.values()) <= 1e-3


@pytest.mark.slow
def test_twenty_steps_of_sgd(capsys):
  """With momentum, weight decay on everything and a change of the learning rate."""
  variables = variables_of("full")
  schedule = schedules.stepwise(list(formula.RATES), [formula.CHANGE])
  optimizer = optim.sgd(schedule, formula.MOMENTUM, formula.DECAY)

  @jax.jit
  def update(gradients, state, params):
    updates, state = optimizer.update(gradients, state, params)
    return optax.apply_updates(params, updates), state

  params, stats = variables["params"], variables["batch_stats"]
  state, losses = optimizer.init(params), []
  for step in range(formula.STEPS):
    label = formula.labels(formula.CLASSES["full"], step % 4)
    (loss, (_, stats)), gradients = gradient_step("full")(
      {"params": params, "batch_stats": stats}, images("full", step % 4), label
    )
    params, state = update(gradients, state, params)
    losses.append(float(loss))
  theirs = np.array(FIGURES["full trajectory"])
  difference = np.abs(np.array(losses) / theirs - 1).max()
  with capsys.disabled():
    print(f"\nfull, {formula.STEPS} steps: loss {difference:.1e}")
  assert difference <= 1e-4 and theirs[-1] < theirs[0]
