"""One step of the tiny model on fixed photos, with numbers that were written down.

They hold every part of the step at once: initialisation, normalisation, the mixture of
photos, the loss, gradients over two devices, weight decay, momentum and the statistics.
"""

import json

import jax
import numpy as np
import optax
import pytest

from im21k import parallel
from im21k.training import optim
from im21k.training import step as steps
from im21k.training.augment import Mix

# Loss and top-1 of two steps, then sums of absolute values of the state after them.
GOLDEN = {
  "plain": [1.796769, 0.375, 2.014919, 0.25, 60.323972, 8.689706, 2.470242],
  "mixed, bfloat16 on the wire": [
    1.898044, 0.375, 2.014639, 0.25, 60.263813, 7.754654, 2.551034,
  ],
}  # fmt: skip
OPTIONS = {
  "plain": {},
  "mixed, bfloat16 on the wire": {
    "mix": Mix(mixup=0.5, color_jitter=0.2), "seed": 3, "wire_dtype": "bfloat16",
  },
}  # fmt: skip
UPDATE = (
  "a step computes other numbers than when they were written down. Update GOLDEN with "
  "the numbers below only if the change was meant to alter what is learnt, say so in "
  "the changelog, and note that runs from before it cannot be reproduced: {}"
)


def numbers(tiny, options):
  on, optimizer = parallel.devices(2), optim.sgd(optax.constant_schedule(0.05))
  state = steps.init(tiny(7), optimizer, 16, seed=1)
  state = jax.device_put(state, parallel.replicated(on))
  made = steps.TrainStep(model=tiny(7), optimizer=optimizer, **options)
  step = parallel.train_step(made.take, on)
  rng, found = np.random.default_rng(0), []
  for _ in range(2):
    image = rng.integers(0, 256, (2, 4, 16, 16, 3), dtype=np.uint8)
    label = rng.integers(0, 7, (2, 4)).astype(np.int32)
    state, metrics = step(state, {"image": image, "label": label})
    found += [float(metrics["loss"]), float(metrics["top_1"])]
  for tree in (state.params, state.batch_stats, state.opt_state):
    leaves = [np.abs(np.asarray(x, np.float64)).sum() for x in jax.tree.leaves(tree)]
    found.append(float(sum(leaves)))
  return found


@pytest.mark.parametrize("name", GOLDEN)
def test_a_step_computes_the_numbers_that_were_written_down(tiny_model, name):
  found = numbers(tiny_model, OPTIONS[name])
  # Another order of summation moves the fifth digit.
  agrees = found == pytest.approx(GOLDEN[name], rel=1e-4)
  assert agrees, UPDATE.format(json.dumps({name: [round(x, 6) for x in found]}))
