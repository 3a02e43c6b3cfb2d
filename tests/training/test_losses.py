"""Losses over the hierarchy, against sums over sets of nodes in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from im21k import parallel, synsets
from im21k.synsets import hierarchy
from im21k.training import augment, config, losses, optim
from im21k.training import step as steps

FULL = synsets.imagenet21k()


def graph_of(parents, labels):
  ids = [f"n{node:08}" for node in range(len(parents))]
  return hierarchy.Hierarchy(ids, parents, labels)


# root 0; plant 1, animal 2; fir 3, oak 4 (plants), cat 5 (animal)
TREE = graph_of([[], [0], [0], [1], [1], [2]], [3, 4, 5])
# A class between, and two hypernyms: dog 3 is animal 1 and pet 2, both classes.
DAG = graph_of([[], [0], [0], [1, 2], [3], [3], [1], [0]], [1, 2, 3, 4, 5, 6, 7])


def random_graph(seed):
  rng = np.random.default_rng(seed)
  size = int(rng.integers(3, 14))
  parents = [[]]
  for node in range(1, size):
    count = min(node, int(rng.integers(1, 4)))
    parents.append(sorted(rng.choice(node, count, replace=False).tolist()))
  inner = {above for some in parents for above in some}
  labels = [n for n in range(size) if n not in inner or rng.random() < 0.5]
  return graph_of(parents, labels)


GRAPHS = [TREE, DAG, *map(random_graph, range(30))]


def drawn(graph, seed=0, count=6):
  rng = np.random.default_rng(seed)
  n = len(graph.label_node)
  logits = rng.normal(scale=2, size=(count, n)).astype(np.float32)
  return logits, rng.integers(0, n, count).astype(np.int32)


def log_softmax(logits):
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def heights(graph):
  def height(node):
    below = [n for n, parents in enumerate(graph.parents) if node in parents]
    return 1 + max(map(height, below)) if below else 0

  return np.array([height(node) for node in range(len(graph.ids))])


def soft_label(graph, label, beta):
  """By sets: what each node above both exceeds its lowest hypernym by."""
  close = np.exp(-beta * (height := heights(graph)) / height.max())
  gain = [
    close[v] - max((close[p] for p in graph.parents[v]), default=0.0)
    for v in range(len(graph.ids))
  ]
  mine = set(graph.above(label).tolist())
  row = [
    sum(gain[v] for v in mine & set(graph.above(other).tolist()))
    for other in range(len(graph.label_node))
  ]
  row[label] += 1 - close[graph.label_node[label]]
  return np.array(row) / sum(row)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(GRAPHS)))
@pytest.mark.parametrize("beta", [0.5, 7.0])
def test_smoothed_labels_are_those_counted_by_sets(index, beta):
  graph = GRAPHS[index]
  logits, label = drawn(graph, index)
  found = losses.make(graph, "smoothed", beta=beta)(logits, label)
  expected = [
    -(soft_label(graph, c, beta) * log_softmax(row)).sum()
    for row, c in zip(logits, label, strict=True)
  ]
  np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_in_a_tree_the_smoothed_labels_are_the_published_ones():
  """Oak and fir meet at height 1 of 2, cat and fir at the root."""
  beta = 3.0
  odds = np.exp(-beta * np.array([0.0, 0.5, 1.0]))
  logits = drawn(TREE)[0][:1]
  found = losses.make(TREE, "smoothed", beta=beta)(logits, np.array([0]))
  expected = -(odds / odds.sum() * log_softmax(logits[0])).sum()
  np.testing.assert_allclose(found[0], expected, rtol=1e-5)
  nearly_hard = losses.make(TREE, "smoothed", beta=60.0)(logits, np.array([0]))
  np.testing.assert_allclose(nearly_hard[0], -log_softmax(logits[0])[0], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(GRAPHS)))
@pytest.mark.parametrize("flat", [0.0, 0.3, 1.0])
def test_semantic_softmax_is_the_sum_over_levels_counted_by_hand(index, flat):
  graph = GRAPHS[index]
  logits, label = drawn(graph, index)
  depth = graph.depth[graph.label_node]
  n, levels = len(depth), sorted(set(depth.tolist()))
  above = [
    [c for c in range(n) if graph.label_node[c] in graph.above(a)] for a in range(n)
  ]

  def one(row, right):
    total = 0.0
    for level in levels:
      inside = np.flatnonzero(depth == level)
      answers = [c for c in above[right] if depth[c] == level]
      if answers:
        reach = np.mean([any(depth[c] == level for c in some) for some in above])
        lse = np.log(np.exp(row[inside]).sum())
        total += min(20, 1 / reach) / len(levels) * (lse - row[answers].mean())
    return flat * -log_softmax(row)[right] + (1 - flat) * total

  found = losses.make(graph, "semantic_softmax", flat=flat)(logits, label)
  expected = [one(*pair) for pair in zip(logits.astype(float), label, strict=True)]
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["semantic_softmax", "smoothed"])
@pytest.mark.parametrize("graph", [TREE, DAG], ids=["tree", "dag"])
def test_gradients_are_finite_differences(name, graph):
  logits, label = drawn(graph)
  loss = losses.make(graph, name)
  # The tables stay float32, so that a product with float64 is a promotion.
  with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
    check_grads(
      lambda x: loss(x, label).sum(), (jnp.asarray(logits, jnp.float64),), order=1,
      modes=["rev"], atol=1e-4, rtol=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["semantic_softmax", "smoothed"])
def test_over_all_classes_it_is_finite_and_needs_no_table_of_classes(name):
  graph = hierarchy.over(FULL)
  loss = losses.make(graph, name)
  rng = np.random.default_rng(0)
  logits = rng.normal(scale=30, size=(2, len(FULL))).astype(np.float32)
  # One of the 453 classes with several hypernyms.
  several = next(
    c for c, node in enumerate(graph.label_node) if len(graph.parents[node]) > 1
  )
  label = np.array([several, 5], np.int32)
  lowered = jax.jit(jax.value_and_grad(lambda x: loss(x, label).sum())).lower(logits)
  compiled = lowered.compile()
  value, gradient = compiled(logits)
  assert np.isfinite(value) and np.isfinite(gradient).all()
  np.testing.assert_allclose(np.sum(gradient, -1), 0, atol=1e-3)
  # Two examples have 87 KB a row; what one pair of tables holds is 12 MB.
  assert compiled.memory_analysis().temp_size_in_bytes < 64 << 20


def test_smoothing_leaves_most_to_the_class_itself():
  """With the default, over the 21,841 classes."""
  graph = hierarchy.over(FULL)
  loss = losses.make(graph, "smoothed")
  labels = np.arange(0, len(FULL), 1000)
  logits = jnp.zeros((len(labels), len(FULL)))
  soft = -jax.grad(lambda x: loss(x, labels).sum())(logits) + 1 / len(FULL)
  own = np.asarray(soft)[np.arange(len(labels)), labels]
  assert (own == np.asarray(soft).max(1)).all()
  assert own.mean() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["semantic_softmax", "smoothed"])
def test_the_mapped_step_with_mixed_labels_takes_both(tiny_model, name):
  """One step without learning on two devices, against the loss computed by hand."""
  rng = np.random.default_rng(0)
  photos = rng.integers(0, 256, (2, 4, 16, 16, 3), dtype=np.uint8)
  label = rng.integers(0, 7, (2, 4)).astype(np.int32)
  on, model, chosen = parallel.devices(2), tiny_model(7), augment.Mix(mixup=1.0)
  optimizer = optim.sgd(optax.constant_schedule(0.0))
  state = steps.init(model, optimizer, 16, seed=1)
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  loss, wanted = losses.make(DAG, name), []
  for device in range(2):
    common = jax.random.fold_in(jax.random.key(5), 0)
    image, other, share = chosen.apply(
      common, jax.random.fold_in(common, device),
      jnp.asarray(photos[device], jnp.float32), jnp.asarray(label[device]),
    )  # fmt: skip
    (logits, _), _ = model.apply(
      variables, image - 117.0, train=True, mutable=["batch_stats"]
    )
    both = share * loss(logits, label[device]) + (1 - share) * loss(logits, other)
    wanted.append(both.mean())
  made = steps.TrainStep(
    model=model, optimizer=optimizer, mix=chosen, seed=5, loss=losses.make(DAG, name)
  )
  state = jax.device_put(state, parallel.replicated(on))
  _, metrics = parallel.train_step(made.take, on)(
    state, {"image": photos, "label": label}
  )
  assert float(metrics["loss"]) == pytest.approx(float(np.mean(wanted)), rel=1e-5)


# What a config may say.


def run_with(loss, **more):
  return config.Config.from_dict(
    {
      "data": "none", "model": {"name": "tiny"}, "total": {"steps": 1}, "batch_size": 4,
      "schedule": {"name": "stepwise", "rates": [0.1], "until": {"steps": []}},
      "loss": loss, "devices": 1, **more,
    }
  )  # fmt: skip


@pytest.mark.parametrize(
  ("loss", "more", "message"),
  [
    ({"name": "smothed"}, {}, "loss.name is 'smothed'; did you mean 'smoothed'"),
    ({"beta": 3.0}, {}, "key loss.beta needs loss.name smoothed, but it is cross_ent"),
    (
      {"name": "smoothed", "betta": 3},
      {},
      "unknown config key 'loss.betta'; did you mean 'loss.beta'",
    ),
    ({"name": "smoothed", "beta": 0}, {}, "loss.beta is 0.0, but must be above 0"),
    (
      {"name": "semantic_softmax", "flat": 2},
      {},
      "loss.flat is 2.0, but must be from 0",
    ),
    ({"name": "smoothed"}, {"split_head": True}, "set split_head to False"),
    (
      {"name": "cross_entropy"},
      {"split_head": True, "optimizer": {"clip_norm": 1.0}},
      "clip_norm needs the norm of all gradients",
    ),
    (
      {"name": "cross_entropy", "smoothing": 1},
      {},
      "loss.smoothing is 1.0, but must be",
    ),
  ],
)
def test_wrong_losses_are_refused(loss, more, message):
  with pytest.raises(ValueError, match=message):
    run_with(loss, **more).make_loss()


@pytest.mark.parametrize("smoothing", [0.1, 0.9])
def test_evenly_smoothed_labels_are_those_written_out(smoothing):
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(6, 7)).astype(np.float32)
  labels = rng.integers(0, 7, 6)
  wanted = np.full((6, 7), smoothing / 7)
  wanted[np.arange(6), labels] += 1 - smoothing
  p = np.exp(logits.astype(np.float64))
  p /= p.sum(1, keepdims=True)
  loss = run_with({"name": "cross_entropy", "smoothing": smoothing}).make_loss()
  found = loss(jnp.asarray(logits), jnp.asarray(labels))
  np.testing.assert_allclose(found, -(wanted * np.log(p)).sum(1), rtol=1e-5)


def test_the_sigmoid_loss_is_that_of_every_class_by_itself():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(6, 7), scale=5)
  labels = rng.integers(0, 7, 6)
  right = np.eye(7)[labels]
  p = 1 / (1 + np.exp(-logits))
  wanted = -(right * np.log(p) + (1 - right) * np.log(1 - p)).sum(1)
  loss = run_with({"name": "sigmoid"}).make_loss()
  found = loss(jnp.asarray(logits, jnp.float32), jnp.asarray(labels))
  np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_without_a_loss_it_is_cross_entropy():
  assert run_with({}).make_loss() is losses.cross_entropy
  assert run_with({"name": "cross_entropy"}, split_head=True).make_loss()
