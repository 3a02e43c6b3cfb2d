"""One training step on CPU: this network, the same with plain lax, and in PyTorch.

  python benchmarks/train_cpu.py --batch 16
  python benchmarks/train_cpu.py --batch 16 --rows ours,torch --where

Forward, backward and SGD with momentum, float32, 224², 21,841 classes, one device.
The three take turns in one process, with the same parameters and images, and their
first losses are compared. One JSON line per row: `images_per_s` and `cpu_ms`
(processor time per image, all threads) are medians over the rounds; `relative` is the
median over rounds of PyTorch's wall time over the row's, `relative_cpu` the same of
processor time. Needs torch; the library does not.

`plain` has lax's convolutions and pools with the gradients that JAX derives, and each
pool behind its BatchNorm and ReLU, which are ours. `--where`: see train_cpu_where.py.
"""

import argparse
import contextlib
import functools
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import train_cpu_where
from flax import linen as nn

from im21k import models
from im21k.models import convolution, normalization, pooling
from im21k.models.blocks import STAGES

LEARNING_RATE, MOMENTUM = 0.01, 0.9


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--batch", type=int, default=16)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--rows", default="ours,plain,torch")
  parser.add_argument("--where", action="store_true")
  arguments = parser.parse_args()
  rows = arguments.rows.split(",")
  if arguments.where and "ours" not in rows:
    parser.error("--where needs the row ours")
  generator = np.random.default_rng(0)
  images = generator.normal(size=(arguments.batch, 224, 224, 3)).astype("float32")
  labels = generator.integers(0, 21841, arguments.batch)
  model = models.create("inception_bn_21k")
  variables = jax.jit(functools.partial(model.init, train=False))(
    jax.random.key(0), images[:1]
  )
  steps: dict[str, Callable[[], float]] = {}
  programs: dict[str, str] = {}
  for row in rows:
    if row == "torch":
      steps[row] = torch_step(variables["params"], images, labels)
    else:
      made = jax_step(model, variables, images, labels, row == "plain")
      steps[row], programs[row] = made
  losses = {row: step() for row, step in steps.items()}
  np.testing.assert_allclose(list(losses.values()), losses[rows[0]], rtol=1e-3)

  wall: dict[str, list[float]] = {row: [] for row in rows}
  cpu: dict[str, list[float]] = {row: [] for row in rows}
  for _ in range(arguments.rounds):
    for row, step in steps.items():
      before = time.perf_counter(), time.process_time()
      step()
      wall[row].append(time.perf_counter() - before[0])
      cpu[row].append(time.process_time() - before[1])
  for row in rows:
    result: dict[str, Any] = {
      "row": row,
      "batch": arguments.batch,
      "rounds": arguments.rounds,
      "images_per_s": round(arguments.batch / statistics.median(wall[row]), 2),
      "best_images_per_s": round(arguments.batch / min(wall[row]), 2),
      "cpu_ms": round(1e3 * statistics.median(cpu[row]) / arguments.batch),
      "best_cpu_ms": round(1e3 * min(cpu[row]) / arguments.batch),
    }
    if "torch" in rows:
      result["relative"] = _ratio(wall["torch"], wall[row])
      result["relative_cpu"] = _ratio(cpu["torch"], cpu[row])
    result |= {"first_loss": losses[row], "load": os.getloadavg()[0]}
    print(json.dumps(result), flush=True)
  if arguments.where:
    for part in train_cpu_where.parts(steps["ours"], programs["ours"]):
      print(json.dumps(part), flush=True)


def _ratio(reference: list[float], own: list[float]) -> float:
  pairs = zip(reference, own, strict=True)
  return round(statistics.median(a / b for a, b in pairs), 3)


def jax_step(
  model: nn.Module, variables: Any, images: Any, labels: Any, plain: bool
) -> tuple[Callable[[], float], str]:
  """A step, and the program that XLA made of it."""
  optimizer = optax.sgd(LEARNING_RATE, momentum=MOMENTUM)

  @functools.partial(jax.jit, donate_argnums=0)
  def step(state: Any, images: Any, labels: Any) -> Any:
    params, batch_stats, momenta = state

    def loss_of(params: Any) -> Any:
      own = {"params": params, "batch_stats": batch_stats}
      apply = functools.partial(model.apply, train=True, mutable=["batch_stats"])
      (logits, _), updates = apply(own, images)
      losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
      return losses.mean(), updates["batch_stats"]

    (loss, batch_stats), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
    updates, momenta = optimizer.update(grads, momenta, params)
    return (optax.apply_updates(params, updates), batch_stats, momenta), loss

  state = (variables["params"], variables["batch_stats"])
  state = jax.tree.map(jnp.array, (*state, optimizer.init(state[0])))
  images, labels = map(jnp.asarray, (images, labels))
  with _plain_lax() if plain else contextlib.nullcontext():
    compiled = step.lower(state, images, labels).compile()

  def run() -> float:
    nonlocal state
    state, loss = compiled(state, images, labels)
    jax.block_until_ready(state)
    return float(loss)

  return run, compiled.as_text()


def _plain_lax() -> contextlib.ExitStack:
  def conv2d(*arguments: Any) -> jax.Array:
    *others, layout = arguments
    return jax.lax.conv_general_dilated(*others, dimension_numbers=layout)

  def max_pool(x: jax.Array, stride: int, padding: Any) -> jax.Array:
    return nn.max_pool(x, (3, 3), (stride, stride), padding)

  def sum_pool(x: jax.Array) -> jax.Array:
    return nn.pool(x, 0.0, jax.lax.add, (3, 3), None, ((1, 1), (1, 1)))

  def rectified(*arguments: Any) -> Any:
    *others, pool = arguments
    y, mean, var = own(*others, None)
    return max_pool(y, *pool) if pool else y, mean, var

  own, stack = normalization.rectified, contextlib.ExitStack()
  for module, name, function in (
    (convolution, "conv2d", conv2d),
    (pooling, "max_pool", max_pool),
    (pooling, "sum_pool", sum_pool),
    (normalization, "rectified", rectified),
  ):
    stack.enter_context(mock.patch.object(module, name, function))
  return stack


class TorchConvBN(torch.nn.Sequential):
  def __init__(self, params: Any, stride: int = 1) -> None:
    kernel = np.asarray(params["conv"]["kernel"]).transpose(3, 2, 0, 1)
    out, inputs, k, _ = kernel.shape
    conv = torch.nn.Conv2d(inputs, out, k, stride, k // 2)
    norm = torch.nn.BatchNorm2d(out, eps=1e-10)
    with torch.no_grad():
      conv.weight.copy_(torch.from_numpy(kernel.copy()))
      conv.bias.zero_()
    super().__init__(conv, norm, torch.nn.ReLU(inplace=True))


class TorchBlock(torch.nn.Module):
  def __init__(self, params: Any, pool: str) -> None:
    super().__init__()
    self.halving = "1x1" not in params
    strides = 2 if self.halving else 1

    def two(name):
      return TorchConvBN(params[name], strides)

    def one(name):
      return TorchConvBN(params[name])

    Chain = torch.nn.Sequential
    branches = [
      Chain(one("3x3_reduce"), two("3x3")),
      Chain(one("double_3x3_reduce"), one("double_3x3_0"), two("double_3x3_1")),
    ]
    if self.halving:
      branches.append(torch.nn.MaxPool2d(3, 2, ceil_mode=True))
    else:
      kinds = {
        "max": torch.nn.MaxPool2d(3, 1, 1),
        "avg": torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False),
      }
      branches.insert(0, one("1x1"))
      branches.append(Chain(kinds[pool], one("proj")))
    self.branches = torch.nn.ModuleList(branches)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return torch.cat([branch(x) for branch in self.branches], 1)


def torch_net(params: Any) -> torch.nn.Module:
  """The net in PyTorch, with these parameters of ours."""

  def pool():
    return torch.nn.MaxPool2d(3, 2, ceil_mode=True)

  blocks = [
    TorchBlock(params[f"block_{name}"], row[5])
    for name, row in STAGES["wide"][1].items()
  ]
  kernel = np.asarray(params["head"]["kernel"])
  head = torch.nn.Linear(*kernel.shape)
  with torch.no_grad():
    head.weight.copy_(torch.from_numpy(kernel.T.copy()))
    head.bias.zero_()
  return torch.nn.Sequential(
    TorchConvBN(params["conv1"], 2), pool(), TorchConvBN(params["conv2red"]),
    TorchConvBN(params["conv2"]), pool(), *blocks,
    torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), head,
  )  # fmt: skip


def torch_step(params: Any, images: Any, labels: Any) -> Callable[[], float]:
  model = torch_net(params)
  optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)
  x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
  y = torch.from_numpy(labels)

  def run() -> float:
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return float(loss)

  return run


if __name__ == "__main__":
  main()
