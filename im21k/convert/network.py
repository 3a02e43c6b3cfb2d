"""An `InceptionBN` -> its symbol for MXNet, with a softmax on top."""

from typing import Any

from im21k.interop import symbol
from im21k.models import InceptionBN
from im21k.models.blocks import STAGES


def document(model: InceptionBN) -> dict[str, Any]:
  """The content of the symbol file of a model.

  Raises:
    ValueError: the model has no head.
  """
  if model.num_classes is None:
    raise ValueError("a model without classes has no symbol")
  stem, rows = STAGES[model.table]
  network = _Network(model)
  x = network.add("null", "data", [])
  x = network.halve(network.conv(x, "conv1", stem[0], 7, 2), "pool1")
  x = network.conv(network.conv(x, "conv2red", stem[1], 1), "conv2", stem[2], 3)
  x = network.halve(x, "pool2")
  for name, row in rows.items():
    x = network.block(x, name, row)
  x = network.add(
    "Pooling", "global_pool", [x], kernel=(1, 1), pool_type="avg", global_pool=True
  )
  x = network.add("Flatten", "flatten", [x])
  x = network.add(
    "FullyConnected", "fc1", [x], ["weight", "bias"], num_hidden=model.num_classes
  )
  network.add("SoftmaxOutput", "softmax", [x], ["label"])
  return network.graph.document()


class _Network:
  """A graph that grows by layers; each method returns the node of its result."""

  def __init__(self, model: InceptionBN):
    self.model, self.graph = model, symbol.Graph()
    self.add = self.graph.add

  def conv(self, x: int, name: str, count: int, kernel: int, stride: int = 1) -> int:
    """Convolution with bias, BatchNorm, ReLU."""
    pad = kernel // 2
    y = self.add(
      "Convolution", f"conv_{name}", [x], ["weight", "bias"],
      kernel=(kernel, kernel), stride=(stride, stride), pad=(pad, pad),
      num_filter=self.model.channels(count),
    )  # fmt: skip
    y = self.add(
      "BatchNorm", f"bn_{name}", [y], ["gamma", "beta", "moving_mean", "moving_var"],
      eps=self.model.bn_epsilon, momentum=self.model.bn_momentum, fix_gamma=False,
    )  # fmt: skip
    return self.add("Activation", f"relu_{name}", [y], act_type="relu")

  def halve(self, x: int, name: str) -> int:
    """Maximum over 3x3 windows of stride 2, in the model's geometry."""
    ceil = self.model.pooling == "ceil"
    pad = 0 if ceil else 1
    return self.add(
      "Pooling", name, [x], kernel=(3, 3), stride=(2, 2), pad=(pad, pad),
      pool_type="max", pooling_convention="full" if ceil else "valid",
    )  # fmt: skip

  def block(self, x: int, name: str, row: Any) -> int:
    """One Inception block; for the row see `models.inception_bn`."""
    n1, n3_reduce, n3, double_reduce, double, pool, projection = row
    stride = 1 if n1 else 2
    branches = [self.conv(x, f"{name}_1x1", n1, 1)] if n1 else []
    y = self.conv(x, f"{name}_3x3_reduce", n3_reduce, 1)
    branches.append(self.conv(y, f"{name}_3x3", n3, 3, stride))
    y = self.conv(x, f"{name}_double_3x3_reduce", double_reduce, 1)
    y = self.conv(y, f"{name}_double_3x3_0", double, 3)
    branches.append(self.conv(y, f"{name}_double_3x3_1", double, 3, stride))
    if n1:
      y = self.add(
        "Pooling", f"{name}_pool", [x], kernel=(3, 3), stride=(1, 1), pad=(1, 1),
        pool_type=pool, count_include_pad=self.model.average_pool == "counted",
      )  # fmt: skip
      branches.append(self.conv(y, f"{name}_proj", projection, 1))
    else:
      branches.append(self.halve(x, f"{name}_pool"))
    return self.add("Concat", f"{name}_concat", branches, num_args=len(branches))
