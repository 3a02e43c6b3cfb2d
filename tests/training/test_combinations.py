"""Parts of recipes together: any of them, drawn at random, in whole runs."""

import os
import random
import signal

import jax
import numpy as np
import pytest

from im21k import weights
from im21k.training import log, loop

# Each key of the outer dict is drawn from by itself.
PARTS = {
  "optimizer": [
    {},
    {"optimizer.nesterov": True, "optimizer.decay": "kernels"},
    {"optimizer.name": "adamw", "optimizer.epsilon": 1e-2},
    {
      "optimizer.name": "muon", "optimizer.epsilon": 1e-2,
      "optimizer.groups.head_rate": 2,
    },
  ],
  "loss": [{}, {"loss.smoothing": 0.1}, {"loss.name": "sigmoid"}],
  "average": [
    {},
    {"average.name": "ema", "average.horizon.steps": 4, "average.every": 2},
    {"average.name": "tail", "average.span.steps": 5, "average.every": 1},
  ],
  "schedule": [
    {"schedule.rates": [0.01, 0.001]},
    {"schedule": {"name": "linear", "peak": 0.01, "warmup": {"epochs": 0.05}}},
  ],
  "size": [
    {},
    {"eval_size": 40, "eval_short_side": 40},
    {
      "phases": {"image_sizes": [24], "batch_sizes": [16], "until": {"steps": [4]}},
      "eval_size": 40,
    },
  ],
  "augment": [
    {},
    {"augment.mirror": "alternating", "augment.crop": "inception"},
    {"mix.mixup": 0.2, "augment.mirror": False},
  ],
  "head": [{"split_head": False}, {"split_head": True}],
  "parts": [{}, {"accumulate": 2}],
  "end": [{}, {"recalibrate": 24}],
}  # fmt: skip


def drawn(seed):
  """A choice of each; every choice of each comes in the seeds that are tried."""
  orders = random.Random(0)
  found = {}
  for choices in PARTS.values():
    order = list(choices)
    orders.shuffle(order)
    found |= order[seed % len(order)]
  return found


def arrays(folder):
  return jax.tree.leaves(weights.load(folder / "weights").variables)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_run_of_many_parts_ends_in_the_same_bits(config, tmp_path, monkeypatch, seed):
  """Stopped after two steps, and at one of those that follow."""
  config = config.changed({"total.steps": 10, **drawn(seed)})
  loop.train(config, tmp_path / "unbroken")
  stops = {2, 3 + random.Random(seed).randrange(6)}
  original, step = log.StepLog.add, 0

  def add(self, metrics):
    nonlocal step
    step += 1
    if step in stops:
      os.kill(os.getpid(), signal.SIGTERM)
    return original(self, metrics)

  monkeypatch.setattr(log.StepLog, "add", add)
  for _ in range(2):
    assert not loop.train(config, tmp_path / "broken")["finished"]
  assert loop.train(config, tmp_path / "broken")["finished"]
  pairs = zip(arrays(tmp_path / "unbroken"), arrays(tmp_path / "broken"), strict=True)
  for one, other in pairs:
    np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_four_devices_learn_what_one_does(config, tmp_path, seed):
  """With shared statistics; one device has its head whole, and no parts.

  Photos are mixed with others of the same device, so here they are not.
  """
  alike = {"sync_bn": True, "accumulate": 1, "mix.mixup": 0}
  config = config.changed({"total.steps": 6, **drawn(seed), **alike})
  for count in (1, 4):
    loop.train(
      config.changed({"devices": count, "split_head": config.split_head and count > 1}),
      tmp_path / str(count),
    )
  one, four = (
    [row["loss"] for row in log.read_rows(tmp_path / str(count) / "metrics.jsonl")
     if "loss" in row]
    for count in (1, 4)
  )  # fmt: skip
  np.testing.assert_allclose(one, four, rtol=1e-3)
  for a, b in zip(arrays(tmp_path / "1"), arrays(tmp_path / "4"), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-2, atol=2e-3)
