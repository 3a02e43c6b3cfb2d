"""Released weights -> the function that is exported, and what describes it.

The function takes uint8 images and holds everything after them: normalisation, weights
and, where asked for, temperature and hedged answers. The description is plain data.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jaxtyping import UInt8

from im21k import models, weights
from im21k.export.hedging import Hedging

FORMAT_VERSION = 1
DOCUMENT = "im21k.json"
IMAGES = "images"  # Name of the input.
Outputs = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Program:
  """What is exported, whatever the format.

  Attributes:
    released: the weights, with the input that is exported.
    hedging: adds probabilities and hedged answers to the logits; None: logits only.
  """

  released: weights.Weights
  hedging: Hedging | None = None

  @property
  def model(self) -> nn.Module:
    """The network; its arithmetic is float32, whatever it was trained in."""
    fields = {**self.released.model_fields, "dtype": "float32"}
    known = {f.name for f in dataclasses.fields(self.released.model)}
    fields = {name: value for name, value in fields.items() if name in known}
    return models.create(self.released.model_name, **fields)

  @property
  def run(self) -> Callable[[Any], Outputs]:
    """uint8 `[b, size, size, 3]` RGB -> `logits` and, with `hedging`, the answers."""
    model, variables = self.model, self.released.variables
    normalize = self.released.input.normalize

    def run(images: Any) -> Outputs:
      logits: jax.Array = model.apply(variables, normalize(images), train=False)[0]
      answers = self.hedging(logits) if self.hedging else {}
      return {"logits": logits, **answers}

    return run

  def images(self, batch: Any) -> jax.ShapeDtypeStruct:
    """Shape and type of a batch; its size may be a symbol of `jax.export`."""
    side = self.released.input.size
    return jax.ShapeDtypeStruct((batch, side, side, 3), np.uint8)

  def sample(self, count: int = 2) -> UInt8[np.ndarray, "b h w 3"]:
    """Random images, always the same, to compare programs on: noise, and squares."""
    rng, shape = np.random.default_rng(21), self.images(count).shape
    noise: UInt8[np.ndarray, "b h w 3"] = rng.integers(0, 256, shape, np.uint8)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), np.uint8)
    place = np.arange(shape[1]) * 4 // shape[1]
    noise[1::2] = coarse[:, place][:, :, place][1::2]
    return noise

  def outputs(self) -> dict[str, tuple[str, list[Any]]]:
    """Type and shape of each output by name."""
    each = ("float32", ["batch", len(self.released.classes)])
    outputs: dict[str, tuple[str, list[Any]]] = {"logits": each}
    if self.hedging:
      outputs["probabilities"] = each
      outputs["node"] = ("int32", ["batch"])
      outputs["node_probability"] = ("float32", ["batch"])
    return outputs

  def description(self, **more: Any) -> str:
    """The JSON beside the program: input, outputs, class list and nodes of answers.

    Args:
      more: of the format; such as the name of the program's file.
    """
    released, classes = self.released, self.released.classes
    size = released.input.size
    document = {
      "format_version": FORMAT_VERSION,
      **more,
      "model": released.model_name,
      "input": {
        "name": IMAGES,
        "dtype": "uint8",
        "shape": ["batch", size, size, 3],
        "channels": "RGB",
        **dataclasses.asdict(released.input),
        "note": "The program normalises the pixels itself: (pixels - mean) / std.",
        "preparation": (
          "Turn the photo upright and convert it to RGB, cut the centred square of "
          "side round(short side of the photo * size / short_side), resize it to size "
          "by area means (bilinear where it is enlarged), round."
        ),
      },
      "outputs": [
        {"name": name, "dtype": dtype, "shape": shape}
        for name, (dtype, shape) in self.outputs().items()
      ],
      "classes": {
        "name": classes.name,
        "hash": classes.hash,
        "ids": list(classes.synsets),
        "names": list(classes.names),
      },
      "answers": self.hedging.description() if self.hedging else None,
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def checksum(data: bytes) -> str:
  """SHA-256, in hexadecimal digits."""
  return hashlib.sha256(data).hexdigest()
