"""Inception-BN in PyTorch: im21k.json and weights.safetensors -> an `nn.Module`.

  from model import classes, load, prepare

  model = load().eval()                            # a plain nn.Module; .to("cuda"), …
  images = torch.from_numpy(prepare(["cat.jpg"]))  # uint8 [b, h, w, 3], RGB
  logits = model(images)                           # float32 [b, classes]
  print(classes()[int(logits[0].argmax())])

Needs torch, safetensors, numpy and pillow. Images are normalised by the model. Trains
as any module; what `model.answer(logits)` gives was exported with `--answers`.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

Row = tuple[int, int, int, int, int, str, int]


def load(folder: Any = None) -> "InceptionBN":
  """The exported model, by default that beside this file."""
  from safetensors.torch import load_file

  folder = Path(__file__).parent if folder is None else Path(folder)
  text = (folder / "im21k.json").read_text(encoding="utf-8")
  model = InceptionBN(json.loads(text))
  model.load_state_dict(load_file(folder / "weights.safetensors"))
  return model


class ConvBN(nn.Module):
  """Convolution with bias, BatchNorm, ReLU."""

  def __init__(
    self, channels: int, features: int, kernel: int, stride: int, bn: dict[str, float]
  ) -> None:
    super().__init__()
    self.conv = nn.Conv2d(channels, features, kernel, stride, kernel // 2)
    self.bn = nn.BatchNorm2d(features, eps=bn["epsilon"], momentum=bn["momentum"])

  def forward(self, x: Any) -> Any:
    """`[b, c, h, w]` -> `[b, features, h, w]`."""
    return functional.relu(self.bn(self.conv(x)))


class Block(nn.Module):
  """One Inception block: parallel branches, joined along the channels.

  The row is: 1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3, pool, projection.
  """

  def __init__(self, channels: int, row: Row, network: dict[str, Any]) -> None:
    super().__init__()
    n1, n3_reduce, n3, double_reduce, double, self.pool, projection = row
    self.halving, self.pooling = not n1, network["pooling"]
    self.counted = network["average_pool"] == "counted"
    self.channels = n1 + n3 + double + (channels if self.halving else projection)
    stride = 2 if self.halving else 1

    def layer(name: str, channels: int, features: int, kernel: int, step: int) -> None:
      self.add_module(name, ConvBN(channels, features, kernel, step, network["bn"]))

    if n1:
      layer("1x1", channels, n1, 1, 1)
      layer("proj", channels, projection, 1, 1)
    layer("3x3_reduce", channels, n3_reduce, 1, 1)
    layer("3x3", n3_reduce, n3, 3, stride)
    layer("double_3x3_reduce", channels, double_reduce, 1, 1)
    layer("double_3x3_0", double_reduce, double, 3, 1)
    layer("double_3x3_1", double, double, 3, stride)

  def forward(self, x: Any) -> Any:
    """`[b, c, h, w]` -> the branches side by side."""

    def run(x: Any, *names: str) -> Any:
      for name in names:
        x = self.get_submodule(name)(x)
      return x

    branches = [] if self.halving else [run(x, "1x1")]
    branches.append(run(x, "3x3_reduce", "3x3"))
    branches.append(run(x, "double_3x3_reduce", "double_3x3_0", "double_3x3_1"))
    if self.halving:
      branches.append(halved(x, self.pooling, beside=True))
    elif self.pool == "avg":
      pooled = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=self.counted)
      branches.append(run(pooled, "proj"))
    else:
      branches.append(run(functional.max_pool2d(x, 3, 1, 1), "proj"))
    return torch.cat(branches, 1)


class InceptionBN(nn.Module):
  """The network that a description, `im21k.json`, tells of."""

  answer_node: Any
  answer_below: Any
  answer_reward: Any

  def __init__(self, description: dict[str, Any]) -> None:
    super().__init__()
    network, taken = description["network"], description["input"]
    c1, c2_reduce, c2 = network["stem"]
    self.pooling, bn = network["pooling"], network["bn"]
    for name in ("mean", "std"):
      values = torch.tensor(taken[name], dtype=torch.float32).reshape(1, -1, 1, 1)
      self.register_buffer(name, values, persistent=False)
    self.conv1 = ConvBN(3, c1, 7, 2, bn)
    self.conv2red = ConvBN(c1, c2_reduce, 1, 1, bn)
    self.conv2 = ConvBN(c2_reduce, c2, 3, 1, bn)
    blocks, channels = {}, c2
    for name, row in network["blocks"].items():
      blocks[name] = block = Block(channels, row, network)
      channels = block.channels
    self.blocks = nn.ModuleDict(blocks)
    self.head = nn.Linear(channels, len(description["classes"]["ids"]))
    answers = description["answers"]
    self.temperature = answers["temperature"] if answers else None
    if answers:
      for name in ("node", "below"):
        pairs = torch.zeros(network["pairs"], dtype=torch.int64)
        self.register_buffer(f"answer_{name}", pairs)
      self.register_buffer("answer_reward", torch.zeros(len(answers["nodes"]["ids"])))

  def features(self, images: Any) -> Any:
    """uint8 `[b, h, w, 3]`, RGB -> pooled features `[b, c]`."""
    x = (images.permute(0, 3, 1, 2).float() - self.mean) / self.std
    x = halved(self.conv1(x), self.pooling)
    x = halved(self.conv2(self.conv2red(x)), self.pooling)
    for block in self.blocks.values():
      x = block(x)
    return x.mean((2, 3))

  def forward(self, images: Any) -> Any:
    """uint8 `[b, h, w, 3]`, RGB -> logits `[b, classes]`."""
    return self.head(self.features(images))

  def answer(self, logits: Any) -> dict[str, Any]:
    """`probabilities`, and of each hedged answer `node` and `node_probability`."""
    if self.temperature is None:
      raise ValueError("the model was exported without answers: im21k export --answers")
    probabilities = (logits / self.temperature).softmax(1)
    p = probabilities.double()  # Sums over up to all classes.
    nodes = p.new_zeros(len(p), len(self.answer_reward))
    nodes = nodes.index_add(1, self.answer_node, p[:, self.answer_below]).float()
    value = nodes * self.answer_reward
    # The first of equal values, which `argmax` does not promise.
    node = (value == value.amax(1, keepdim=True)).int().argmax(1)
    chosen = nodes.gather(1, node[:, None])[:, 0].clamp(max=1)
    return {
      "probabilities": probabilities, "node": node, "node_probability": chosen,
    }  # fmt: skip


def halved(x: Any, pooling: str, beside: bool = False) -> Any:
  """The largest of 3x3 windows, every second one; `beside` a convolution of stride 2.

  `ceil` pads where a last window extends over the edge, `floor` on every side.
  """

  def pads(side: int) -> tuple[int, int]:
    if pooling == "floor" or (beside and side % 2):
      return 1, 1
    windows = max(1, -((3 - side) // 2) + 1)
    return 0, max(0, 2 * (windows - 1) + 3 - side)

  height, width = x.shape[2:]
  padded = functional.pad(x, (*pads(width), *pads(height)), value=-torch.inf)
  return functional.max_pool2d(padded, 3, 2)
