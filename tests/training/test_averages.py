"""Averages of weights: against NumPy, and in whole runs."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from im21k import parallel, weights
from im21k.training import averages, log, loop, optim
from im21k.training import step as steps
from im21k.training.averages import Averaging, Ema, Tail
from im21k.training.durations import Duration
from im21k.training.export_checkpoint import export_checkpoint
from im21k.training.setup import prepare

EVERY_STEP = {"save_every.steps": 1, "keep_latest": 99}


def flat(variables):
  return {
    jax.tree_util.keystr(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables)
  }


def same(ours, theirs):
  ours, theirs = flat(ours), flat(theirs)
  assert ours.keys() == theirs.keys()
  for name in ours:
    np.testing.assert_array_equal(ours[name], theirs[name], name)


def near(ours, theirs):
  ours, theirs = flat(ours), flat(theirs)
  assert ours.keys() == theirs.keys()
  for name in ours:
    np.testing.assert_allclose(ours[name], theirs[name], 1e-5, 1e-6, err_msg=name)


def followed(averaging, weights_, start=0):
  """The average after each step, of scalars as parameters and twice as statistics."""
  update = jax.jit(averaging.update)
  average = averaging.init(jnp.float32(0), {"mean": jnp.float32(0)})
  found = []
  for step, w in enumerate(weights_, start + 1):
    w = jnp.float32(w)
    average = update(average, jnp.int32(step), w, {"mean": 2 * w})
    assert float(average.batch_stats["mean"]) == 2 * float(average.params)
    found.append((int(average.count), float(average.params)))
  return found


def test_an_exponential_average_is_that_of_numpy(rng):
  values = rng.normal(size=60).astype(np.float32)
  found = followed(Averaging(every=2, share=0.25), values)
  average, wanted = None, []
  for step, w in enumerate(values, 1):
    count = step // 2
    if step % 2 == 0:
      share = max(0.25, 9 / (9 + count - 1))
      average = w if average is None else (1 - share) * average + share * w
    wanted.append((count, 0.0 if average is None else average))
  np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_the_tail_is_the_mean_of_its_weights(rng):
  values = rng.normal(size=30).astype(np.float32)
  found = followed(Averaging(every=3, share=0.0, begin=10), values)
  taken = values[np.arange(30)[11::3]]  # After steps 12, 15, …, 30.
  assert found[:11] == [(0, 0.0)] * 11 and found[-1][0] == len(taken) == 7
  assert found[-1][1] == pytest.approx(taken.mean(), rel=1e-5)


def test_a_lengthened_run_begins_its_tail_anew(rng):
  values = rng.normal(size=12)
  averaging = Averaging(every=1, share=0.0, begin=8)
  average = averages.Average(jnp.int32(5), jnp.float32(3e30), {})
  for step, w in enumerate(values, 1):
    average = averaging.update(average, jnp.int32(step), jnp.float32(w), {})
  assert int(average.count) == 4
  assert float(average.params) == pytest.approx(values[8:].mean(), rel=1e-5)


def test_a_horizon_is_a_decay():
  """In epochs it is the same share of a run, whatever batch and data."""
  made = Ema(horizon=Duration(0.5, "epochs"), every=8).make(64, 12_800, 999)
  assert 1 - made.share == pytest.approx(np.exp(-8 / 100))
  larger = Ema(horizon=Duration(0.5, "epochs"), every=4).make(128, 12_800, 999)
  assert larger.share == pytest.approx(made.share)
  # A weight counts 1 / e of the newest, a horizon later.
  assert (1 - made.share) ** (100 / 8) == pytest.approx(1 / np.e)
  assert Tail(span=Duration(0.5, "epochs")).make(64, 12_800, 900).begin == 800
  assert Tail(span=Duration(9, "epochs")).make(64, 12_800, 900).begin == 0


@pytest.mark.parametrize(
  ("section", "total"),
  [({"name": "ema"}, 7), ({"name": "tail", "span": {"steps": 3}, "every": 5}, 9)],
)
def test_a_run_without_an_average_at_its_end_is_refused(config, section, total):
  document = {**config.to_dict(), "average": section, "total": {"steps": total}}
  with pytest.raises(
    ValueError, match=r"average\.every is \d steps, but none"
  ) as error:
    prepare(config.from_dict(document))
  assert "\n" not in str(error.value)


def test_without_an_average_a_state_is_what_it_was(config):
  """So are checkpoints, and those of before are read."""
  state = prepare(config).shapes()
  names = {str(path[0]) for path, _ in jax.tree_util.tree_leaves_with_path(state)}
  assert names == {".step", ".params", ".batch_stats", ".opt_state"}
  assert type(state) is steps.TrainState


def trained(tiny, devices):
  on = parallel.devices(devices)
  model = tiny(7, bn_axis_name=parallel.AXIS)
  optimizer = optim.sgd(optax.constant_schedule(0.05))
  averaging = Averaging(every=2, share=0.3)
  state = steps.init(tiny(7), optimizer, 16, 1, averaging)
  state = parallel.place(state, on)
  made = steps.TrainStep(model=model, optimizer=optimizer, averaging=averaging)
  take = parallel.train_step(made.take, on)
  rng, seen = np.random.default_rng(0), []
  for _ in range(6):
    image = rng.integers(0, 256, (devices, 16 // devices, 16, 16, 3), np.uint8)
    label = rng.integers(0, 7, (devices, 16 // devices)).astype(np.int32)
    state, _ = take(state, {"image": image, "label": label})
    seen.append(jax.device_get(averages.variables(state, raw=True)))
    for leaf in jax.tree.leaves(state.average):
      copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
      assert all((copy == copies[0]).all() for copy in copies)
  return seen, jax.device_get(averages.variables(state))


@pytest.mark.slow
def test_four_devices_and_one_have_the_same_average(tiny_model):
  raw, four = trained(tiny_model, 4)
  _, one = trained(tiny_model, 1)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), four, one
  )
  second, third, last = raw[1], raw[3], raw[5]
  mixed = jax.tree.map(lambda a, b: 0.1 * a + 0.9 * b, second, third)
  near(four, jax.tree.map(lambda a, b: 2 / 11 * a + 9 / 11 * b, mixed, last))


@pytest.mark.slow
@pytest.mark.parametrize("split_head", [False, True])
def test_a_run_scores_and_exports_the_mean_of_its_tail(config, tmp_path, split_head):
  """Before the tail, the weights themselves."""
  run = tmp_path / "run"
  tail = {"average": {"name": "tail", "span": {"steps": 4}, "every": 1}}
  document = {**config.changed(EVERY_STEP).to_dict(), **tail, "split_head": split_head}
  averaged = config.from_dict(document)
  assert loop.train(averaged, run)["step"] == 12
  raw = {}
  for step in (6, 9, 10, 11, 12):
    export_checkpoint(run, tmp_path / f"raw{step}", step=str(step), raw=True)
    raw[step] = weights.load(tmp_path / f"raw{step}").variables
  mean = jax.tree.map(
    lambda *each: np.mean(each, 0), *(raw[n] for n in (9, 10, 11, 12))
  )
  final = weights.load(run / "weights").variables
  near(final, mean)
  export_checkpoint(run, tmp_path / "average")
  same(weights.load(tmp_path / "average").variables, final)
  export_checkpoint(run, tmp_path / "before", step="6")
  same(weights.load(tmp_path / "before").variables, raw[6])
  scorer = prepare(averaged).eval_sets[0].scorer
  row = log.read_rows(run / "metrics.jsonl")[-1]
  assert row["eval_loss"] == scorer(final).rows()[0]["loss"]
  assert row["eval_loss"] != scorer(raw[12]).rows()[0]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("split_head", [False, True])
def test_with_an_average_a_stopped_run_ends_in_the_same_bits(
  config, tmp_path, monkeypatch, split_head
):
  """And its raw weights are as without."""
  config = config.changed({"split_head": split_head})
  changes = {"average.name": "ema", "average.horizon.steps": 5, "average.every": 2}
  averaged = config.changed(changes)
  loop.train(averaged, tmp_path / "unbroken")
  loop.train(config, tmp_path / "plain")
  export_checkpoint(tmp_path / "unbroken", tmp_path / "raw", raw=True)
  same(
    weights.load(tmp_path / "raw").variables,
    weights.load(tmp_path / "plain" / "weights").variables,
  )
  original, step = log.StepLog.add, 0

  def add(self, metrics):
    nonlocal step
    step += 1
    if step in (1, 7):
      os.kill(os.getpid(), signal.SIGTERM)
    return original(self, metrics)

  monkeypatch.setattr(log.StepLog, "add", add)
  while not loop.train(averaged, tmp_path / "broken")["finished"]:
    pass
  same(
    *(weights.load(tmp_path / n / "weights").variables for n in ("unbroken", "broken"))
  )


def test_of_a_frozen_trunk_the_head_alone_is_averaged(tiny_model):
  optimizer = optim.of_head(optim.sgd(optax.constant_schedule(0.05)))
  averaging = Averaging(every=1, share=0.5, head_only=True)
  state = steps.init(tiny_model(7), optimizer, 16, 1, averaging)
  assert set(state.average.params) == {"head"} and not state.average.batch_stats
  before = jax.device_get(averages.variables(state))
  on = parallel.devices(2)
  made = steps.TrainStep(
    model=tiny_model(7), optimizer=optimizer, averaging=averaging, frozen=True
  )
  take, seen = parallel.train_step(made.take, on), []
  state = parallel.place(state, on)
  for label in (1, 2):
    image = np.full((2, 2, 16, 16, 3), 50 * label, np.uint8)
    batch = {"image": image, "label": np.full((2, 2), label, np.int32)}
    state, _ = take(state, batch)
    seen.append(jax.device_get(state.params["head"]))
  used = jax.device_get(averages.variables(state))
  near(used["params"]["head"], jax.tree.map(lambda a, b: a / 10 + b * 0.9, *seen))
  same(used["batch_stats"], before["batch_stats"])
  same(used["params"]["conv"], before["params"]["conv"])
