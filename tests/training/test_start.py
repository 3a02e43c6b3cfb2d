"""Runs that start from weights: where each part starts, what is trained, refusals."""

import shutil

import jax
import numpy as np
import optax
import pytest

from im21k import parallel, synsets, weights
from im21k.inference.classifier import Classifier
from im21k.training import log, loop, optim, start
from im21k.training import step as steps
from im21k.training.config import Config
from im21k.training.setup import prepare
from im21k.training.workdir import Workdir

MODEL = {"name": "tiny"}


@pytest.fixture
def released(tiny_model):
  """Weights of the tiny model, as if trained, with statistics of their own."""
  return made(tiny_model, 21841, synsets.imagenet21k())


def made(tiny, count, classes, seed=0):
  images = np.zeros((1, 32, 32, 3), np.float32)
  shapes = jax.eval_shape(
    lambda: tiny(count).init(jax.random.key(0), images, train=False)
  )
  rng = np.random.default_rng(seed)
  variables = jax.tree.map(
    lambda leaf: rng.uniform(0.1, 0.5, leaf.shape).astype(np.float32), shapes
  )
  return weights.Weights(
    "tiny", {"num_classes": count}, variables, weights.Input(32, 37), classes
  )


@pytest.fixture
def folder(released, tmp_path):
  released.save(tmp_path / "old")
  return tmp_path / "old"


@pytest.fixture
def begun(config, folder):
  """The short run, started from the weights."""
  return config.changed({"init.weights": str(folder), "init.head": "keep"})


def same(a, b):
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


def test_the_state_before_the_first_step_is_that_of_the_weights(begun, released):
  state = prepare(begun).init()
  same({"params": state.params, "batch_stats": state.batch_stats}, released.variables)
  assert int(state.step) == 0
  for momentum in jax.tree.leaves(state.opt_state):
    assert not np.asarray(momentum).any()
  shapes = jax.tree.map(np.shape, prepare(begun).shapes())
  assert shapes == jax.tree.map(np.shape, state)


@pytest.mark.parametrize("head", ["fresh", "by_synset"])
def test_the_head_starts_where_the_key_says(begun, released, head):
  changed = begun.changed({"init.head": head})
  params = prepare(changed).init().params
  old = released.variables["params"]
  same(params["conv"], old["conv"])
  is_old = np.array_equal(params["head"]["kernel"], old["head"]["kernel"])
  assert is_old == (head == "by_synset")
  if head == "fresh":
    other = prepare(changed.changed({"seed": 1})).init().params
    assert (other["head"]["kernel"] != params["head"]["kernel"]).any()


@pytest.mark.slow
@pytest.mark.parametrize("split_head", [False, True])
def test_a_frozen_trunk_keeps_its_bits_and_the_head_learns(
  begun, released, tmp_path, split_head
):
  """Against softmax regression in numpy on the features of the trunk."""
  frozen = begun.changed({"init.trunk.name": "frozen", "split_head": split_head})
  frozen = frozen.changed({"total.steps": 3, "optimizer.weight_decay": 0.01})
  run = prepare(frozen)
  features, labels = [], []
  model = Classifier(released)
  for batch in [run.loader.batch(8 * index) for index in range(3)]:
    images = batch["image"].reshape(-1, 32, 32, 3)
    features.append(np.asarray(model.features(images)["features"], np.float64))
    labels.append(batch["label"].reshape(-1))
  result = loop.train(frozen, tmp_path / "run")
  new = weights.load(tmp_path / "run" / "weights").variables
  same(new["params"]["conv"], released.variables["params"]["conv"])
  same(new["batch_stats"], released.variables["batch_stats"])
  wanted = regression(released.variables["params"]["head"], features, labels)
  for name, array in wanted.items():
    np.testing.assert_allclose(new["params"]["head"][name], array, rtol=1e-4, atol=1e-6)
  assert result["finished"]


def regression(head, features, labels, rate=0.1, decay=0.01):
  """The head after a step of SGD with momentum 0.9 for each batch."""
  head = {name: np.asarray(array, np.float64) for name, array in head.items()}
  momentum = {name: np.zeros_like(array) for name, array in head.items()}
  for x, y in zip(features, labels, strict=True):
    logits = x @ head["kernel"] + head["bias"]
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    gradient = {"kernel": x.T @ p / len(y), "bias": p.mean(0)}
    for name, array in head.items():
      step = rate * (gradient[name] + decay * array)
      momentum[name] = 0.9 * momentum[name] - step
      head[name] = array + momentum[name]
  return head


def test_a_frozen_run_has_momentum_for_the_head_alone(begun):
  state = prepare(begun.changed({"init.trunk.name": "frozen"})).shapes()
  shapes = {leaf.shape for leaf in jax.tree.leaves(state.opt_state)}
  assert shapes == {(), (8, 21841), (21841,)}


def test_the_trunk_s_rate_is_a_multiple_of_the_head_s():
  params = {"conv": {"kernel": np.ones((2, 2))}, "head": {"kernel": np.ones(3)}}
  params = jax.tree.map(np.float32, params)
  gradients = jax.tree.map(lambda x: x / 2, params)
  plain, slow = (
    optim.sgd(optax.constant_schedule(0.1), weight_decay=0.2, trunk_rate=rate)
    for rate in (1.0, 0.25)
  )
  updates, slowed = (
    one.update(gradients, one.init(params), params)[0] for one in (plain, slow)
  )
  np.testing.assert_allclose(slowed["conv"]["kernel"], updates["conv"]["kernel"] / 4)
  np.testing.assert_array_equal(slowed["head"]["kernel"], updates["head"]["kernel"])


@pytest.mark.slow
def test_a_rate_of_the_trunk_is_that_of_the_run(begun, released):
  """One step with a small trunk rate moves the trunk so much less."""
  moved = []
  for rate in (1.0, 0.125):
    run = prepare(begun.changed({"init.trunk.lr": rate, "optimizer.weight_decay": 0}))
    state = run.init()
    step, axes = run.make_step(state)
    batches = run.batches(0)
    after, _ = step(run.place(state, axes), next(batches))
    batches.close()
    old = released.variables["params"]["conv"]["kernel"]
    moved.append(np.asarray(after.params["conv"]["kernel"]) - old)
  np.testing.assert_allclose(moved[1], moved[0] / 8, rtol=1e-3, atol=1e-7)


@pytest.mark.slow
def test_a_run_goes_on_when_the_weights_are_gone_and_refuses_others(
  begun, folder, tiny_model, tmp_path
):
  loop.train(begun.changed({"total.steps": 4}), tmp_path / "run")
  shutil.move(folder, tmp_path / "away")
  assert loop.train(begun, tmp_path / "run")["finished"]
  moved = begun.changed({"init.weights": str(tmp_path / "away")})
  assert loop.train(moved, tmp_path / "run")["finished"]
  made(tiny_model, 21841, synsets.imagenet21k(), seed=1).save(folder)
  with pytest.raises(ValueError, match=r"other settings: init\.weights was .* hash"):
    loop.train(begun, tmp_path / "run")
  shutil.rmtree(tmp_path / "run")
  shutil.rmtree(folder)
  with pytest.raises(FileNotFoundError, match="holds no weights"):
    loop.train(begun, tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_the_first_evaluation_is_that_of_the_weights(begun, folder, packed, tmp_path):
  from im21k.evaluation.evaluate import evaluate

  loop.train(begun.changed({"total.steps": 0}), tmp_path / "run")
  row = log.read_rows(tmp_path / "run" / "metrics.jsonl")[0]
  wanted = evaluate(folder, packed, csv_file=tmp_path / "scores.csv")["rows"][0]
  assert row["eval_loss"] == pytest.approx(wanted["loss"], rel=1e-5)


def refusal(released, model=None, prepared=None, classes=None, head="keep", path=None):
  released.save(path)
  with pytest.raises(ValueError) as caught:
    start.read(
      start.Init(weights=str(path), head=head),
      model or MODEL,
      prepared or weights.Input(32, 37),
      classes or released.classes,
      seed=0,
    )
  assert "\n" not in str(caught.value)
  return str(caught.value)


def test_weights_that_do_not_fit_are_refused_by_the_names_of_arrays(
  tiny_weights, tmp_path
):
  model = {"name": "inception_bn_21k", "width": 0.25, "bn_epsilon": 1e-5}
  said = refusal(tiny_weights, model, tiny_weights.input, path=tmp_path / "w")
  assert "does not fit: params/block_3a/1x1/" in said
  assert "there" in said and "here" in said and "in all" in said
  assert said.endswith("set model.width=0.125, as these weights need")
  model["width"] = 0.125
  said = refusal(
    tiny_weights, {**model, "bn_epsilon": 1e-3, "pooling": "floor"},
    weights.Input(32, 37, mean=3.0, std=70.0), path=tmp_path / "w",
  )  # fmt: skip
  assert "would compute something else: set model.pooling=ceil" in said
  assert "model.bn_epsilon=1e-05" in said and "mean=117.0" in said
  assert "std=" not in said


def test_what_only_training_needs_may_differ(tiny_weights, tmp_path):
  tiny_weights.save(tmp_path / "w")
  model = {"name": "inception_bn_21k", "width": 0.125, "bn_epsilon": 1e-5}
  free = {"bn_momentum": 0.9, "init_scale": 0.3, "dtype": "bfloat16", "remat": "fit"}
  found = start.read(
    start.Init(weights=str(tmp_path / "w"), head="keep"),
    {**model, **free}, weights.Input(64, 73, std=70.0), tiny_weights.classes, 0,
  )  # fmt: skip
  same(found, tiny_weights.variables)


def test_other_refusals(released, tmp_path):
  folder = tmp_path / "w"
  other = synsets.ClassList("2", ("a", "b"))
  assert "init.head is keep: the head was made" in refusal(
    released, classes=other, path=folder
  )
  said = refusal(released, classes=other, head="by_synset", path=folder)
  assert said.startswith("init.head is by_synset: none of the 2 classes")
  said = refusal(released, {**MODEL, "num_classes": 21900}, path=folder)
  assert "model.num_classes is 21,900" in said and "leave it out" in said


def test_columns_by_synset_are_counted(released, tmp_path, capsys):
  released.save(tmp_path / "w")
  classes = synsets.ClassList(
    "pets", ("n02084071", "rex", "stranger"), under=("", "n02112826", "")
  )
  init = start.Init(weights=str(tmp_path / "w"))
  start.read(init, MODEL, weights.Input(32, 37), classes, seed=0)
  said = capsys.readouterr().err
  assert "of 3 classes start 1 from its own column, 1 from those nearest" in said
  assert "1 afresh (stranger)" in said


def test_forms_of_the_section(document, tmp_path):
  base = {**document, "init": {"weights": "w"}}
  assert Config.from_dict(base).init.trunk.lr == 1
  for trunk, rate, frozen in (
    ("train", 1, False), ("frozen", 0, True), ({"lr": 0.1}, 0.1, False),
    ({"name": "train", "lr": 2}, 2, False),
  ):  # fmt: skip
    config = Config.from_dict({**base, "init": {"weights": "w", "trunk": trunk}})
    assert (config.init.trunk.lr, config.is_frozen) == (rate, frozen)
    assert Config.from_dict(config.to_dict()) == config
  with pytest.raises(
    ValueError, match=r"init\.trunk\.lr needs init\.trunk\.name train"
  ):
    Config.from_dict(
      {**base, "init": {"weights": "w", "trunk": {"name": "frozen", "lr": 1}}}
    )
  with pytest.raises(ValueError, match=r"lacks init\.weights"):
    Config.from_dict({**document, "init": {"head": "keep"}})


def test_a_frozen_trunk_recomputes_nothing(begun, capsys):
  from im21k.training import policies

  model = {"name": "inception_bn_21k", "remat": "fit"}
  document = {**begun.to_dict(), "model": model}
  config = Config.from_dict(document, {"init.trunk.name": "frozen"})
  found = policies.for_devices(config, parallel.devices(4))
  assert found.model["remat"] == "none" and "frozen trunk" in capsys.readouterr().err
  assert policies.for_memory(config, 8, 1, None).model["remat"] == "none"


def test_the_state_of_a_run_without_init_is_as_before(config, tmp_path):
  run = prepare(config)
  assert Workdir(tmp_path, run).document()["init"] is None
  state = run.init()
  wanted = steps.init(run.model, run.optimizer, 32, 0)
  same(state, wanted)
