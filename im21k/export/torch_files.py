"""A program -> a folder for PyTorch: one file of code, and its arrays.

Nothing of PyTorch is needed to write it. Where it is installed, the module is compared
with JAX before it is written.
"""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util
from safetensors.numpy import save

from im21k.export import comparison, extras, prepare
from im21k.export.program import DOCUMENT, Program, checksum
from im21k.models import InceptionBN
from im21k.models.blocks import STAGES

FILE, ARRAYS = "model.py", "weights.safetensors"
_SOURCE = "torch_model.py"
# What `prepare` imports, in its place.
_IMPORTS = {
  "import json\n": "import functools\nimport json\n",
  "import torch\n": "import numpy as np\nimport numpy.typing as npt\nimport torch\n"
  "from PIL import Image, ImageOps\n",
}
# Our last names of arrays -> PyTorch's.
_NAMES = {
  "conv/kernel": "conv.weight", "conv/bias": "conv.bias",
  "bn/scale": "bn.weight", "bn/bias": "bn.bias",
  "bn/mean": "bn.running_mean", "bn/var": "bn.running_var",
  "head/kernel": "head.weight", "head/bias": "head.bias",
}  # fmt: skip


def check() -> None:
  """Nothing can be missing: writing needs no PyTorch."""


def write(program: Program, folder: Path) -> float | None:
  """Writes code, arrays and description.

  Returns:
    The difference to JAX; None where PyTorch is not installed.

  Raises:
    ValueError: the model is not an Inception-BN, or differs from JAX too much.
  """
  network, arrays = described(program), state(program)
  data = save(dict(arrays))
  description = program.description(
    format="torch",
    program=FILE,
    arrays=ARRAYS,
    arrays_sha256=checksum(data),
    network=network,
  )
  found = None
  if extras.has("torch"):
    found = comparison.compare(
      program, "the PyTorch module", runner(json.loads(description), arrays)
    )
  (folder / ARRAYS).write_bytes(data)
  (folder / FILE).write_text(code(), encoding="utf-8")
  (folder / DOCUMENT).write_text(description, encoding="utf-8")
  return found


def described(program: Program) -> dict[str, Any]:
  """The network by numbers, as `torch_model.InceptionBN` takes it.

  Raises:
    ValueError: it is another network.
  """
  model = program.model
  if not isinstance(model, InceptionBN):
    raise ValueError(
      f"model {program.released.model_name!r} has no twin in PyTorch, only "
      "Inception-BN has: export it with --format onnx or jax"
    )
  stem, rows = STAGES[model.table]
  blocks = {}
  for name, row in rows.items():
    *counts, pool, projection = row
    blocks[name] = [*map(model.channels, counts), pool, model.channels(projection)]
  hedging = program.hedging
  return {
    "stem": [*map(model.channels, stem)],
    "blocks": blocks,
    "pooling": model.pooling,
    "average_pool": model.average_pool,
    # PyTorch's momentum is the share of the new.
    "bn": {"epsilon": model.bn_epsilon, "momentum": 1 - model.bn_momentum},
    "pairs": int(hedging.hierarchy.count.sum()) if hedging else 0,
  }


def state(program: Program) -> Mapping[str, np.ndarray]:
  """The state dict: kernels as `[out, in, h, w]`, matrices as `[out, in]`."""
  made: dict[str, np.ndarray] = {}
  flat = traverse_util.flatten_dict(program.released.variables, sep="/")
  for path, value in flat.items():
    parts = path.split("/")[1:]  # Without `params` or `batch_stats`.
    layer, name = parts[:-2], _NAMES["/".join(parts[-2:])]
    if layer and layer[0].startswith("block_"):
      layer = ["blocks", layer[0].removeprefix("block_"), *layer[1:]]
    array = np.asarray(value, np.float32)
    array = array.T if array.ndim == 2 else array
    array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
    made[".".join([*layer, name])] = np.ascontiguousarray(array)
    if name == "bn.running_var":
      counted = ".".join([*layer, "bn.num_batches_tracked"])
      made[counted] = np.zeros((), np.int64)
  if program.hedging:
    nodes, below = program.hedging.below()
    made |= {
      "answer_node": nodes.astype(np.int64),
      "answer_below": below.astype(np.int64),
      "answer_reward": program.hedging.reward(),
    }
  return made


def code() -> str:
  """`model.py`: the network, and after it `prepare` and `classes`."""
  network = Path(__file__).with_name(_SOURCE).read_text(encoding="utf-8")
  shared = Path(prepare.__file__).read_text(encoding="utf-8")
  for line, more in _IMPORTS.items():
    network = network.replace(line, more, 1)
  return f"{network}\n\n{shared[shared.index('@functools') :]}"


def runner(description: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
  """The module as a function: uint8 images -> outputs by name, as numpy arrays."""
  import torch

  torch_model = importlib.import_module("im21k.export.torch_model")
  model = torch_model.InceptionBN(description)
  model.load_state_dict({name: torch.tensor(one) for name, one in arrays.items()})
  model.eval()

  def run(images: Any) -> dict[str, np.ndarray]:
    with torch.inference_mode():
      logits = model(torch.tensor(images))
      outputs = {"logits": logits}
      if description["answers"]:
        outputs |= model.answer(logits)
    return {name: value.numpy() for name, value in outputs.items()}

  return run
