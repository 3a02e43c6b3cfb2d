"""Exported programs against JAX: how far logits are apart, how large the files are.

  python benchmarks/export.py [--weights DIR] [--format jax onnx torch] [--photos DIR]

Exports the narrow and the full net, 21,841 classes each, for images of 64 and 224
pixels; random arrays and moving statistics from a seed stand for trained ones.
`--weights` takes a release folder in their place. Each program is loaded from its
folder, as its user loads it, and run on random images in batches of 1 and 7. With
`--photos` hedged answers of 50 photos are compared too, of calibrated weights. Prints a
JSON row for each net, side and format; `kinds` counts different answers. All rows take
six minutes, 3 GB.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import load_file

from im21k import models, synsets, weights
from im21k.answers import calibration, rules
from im21k.export import comparison, onnx_file, stablehlo, torch_files
from im21k.export.export import export, make
from im21k.synsets import hierarchy

NETS = {"width 0.25": 0.25, "full width": 1.0}
SIDES, BATCHES = (64, 224), (1, 7)


def main() -> None:
  """Prints the rows."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--weights", type=Path)
  parser.add_argument("--format", nargs="+", default=["jax", "onnx", "torch"])
  parser.add_argument("--net", nargs="+", default=list(NETS), choices=NETS)
  parser.add_argument("--photos", type=Path)
  given = parser.parse_args()
  with tempfile.TemporaryDirectory() as work:
    for net, folder in released(given, Path(work)):
      for side in SIDES:
        for row in measured(folder, side, given, Path(work)):
          print(json.dumps({"table": "export", "net": net, "side": side, **row}))


def released(given: Any, work: Path) -> Iterator[tuple[str, Path]]:
  """Names and folders of the weights to export."""
  if given.weights:
    yield given.weights.parent.name, given.weights
    return
  for net in given.net:
    folder = work / net.replace(" ", "-")
    drawn(NETS[net]).save(folder)
    found = calibration.Calibration(1.3, {0.9: 2.5}, 100)
    calibration.save(folder / weights.ARRAYS, found)
    yield net, folder


def drawn(width: float) -> weights.Weights:
  """A net whose arrays are random, and each of which matters."""
  fields = {"width": width, "num_classes": 21841, "bn_epsilon": 1e-5}
  model = models.create("inception_bn_21k", **fields)
  shapes = jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False),
    jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32),
  )
  rng = np.random.default_rng(0)

  def draw(path: Any, shape: Any) -> Any:
    match path[-1].key:
      case "kernel":
        scale = np.sqrt(6 / np.prod(shape.shape[:-1]))
        array = rng.uniform(-scale, scale, shape.shape)
      case "scale" | "var":
        array = rng.uniform(0.5, 1.5, shape.shape)
      case _:
        array = rng.normal(0, 0.2, shape.shape)
    return array.astype(np.float32)

  return weights.Weights(
    model_name="inception_bn_21k",
    model_fields=fields,
    variables=jax.tree_util.tree_map_with_path(draw, shapes),
    input=weights.Input(size=224, short_side=256, std=70.0),
    classes=synsets.imagenet21k(),
  )


def measured(
  folder: Path, side: int, given: Any, work: Path
) -> Iterator[dict[str, Any]]:
  """A row for each format."""
  program = make(folder, image_size=side, answers=has_answers(folder))
  rng = np.random.default_rng(1)
  images = rng.integers(0, 256, (max(BATCHES), side, side, 3), np.uint8)
  expected = comparison.reference(program, images)
  photos = sorted(given.photos.rglob("*.jpg"))[:50] if given.photos else []
  if photos:
    pixels = program.released.input.prepare(photos)
    answers = hedged(program, comparison.reference(program, pixels))
  for name in given.format:
    out = work / f"{name}-{side}-{folder.name}"
    start = time.process_time()
    export(folder, out, format=name, image_size=side, answers=bool(program.hedging))
    seconds = time.process_time() - start
    run = runner(name, out)
    row = {
      "format": name,
      **{
        f"difference_{batch}": comparison.difference(
          run(images[:batch])["logits"], expected[:batch]
        )
        for batch in BATCHES
      },
      "mb": sum(path.stat().st_size for path in out.iterdir()) / 1e6,
      "cpu_s": seconds,
    }
    if photos:
      row["same_answers"] = int((run(pixels)["node"] == answers).sum())
      row["kinds"] = len(set(answers.tolist()))
    yield row


def has_answers(folder: Path) -> bool:
  """Whether the weights are calibrated."""
  return (folder / calibration.DOCUMENT).exists()


def hedged(program: Any, logits: Any) -> Any:
  """The nodes that `im21k predict` answers."""
  hedging = program.hedging
  graph = hierarchy.over(program.released.classes)
  probabilities = calibration.softmax(logits, hedging.temperature)
  nodes = graph.probabilities(probabilities)
  return np.array([node for node, _ in rules.hedged(graph, nodes, hedging.lambda_)])


def runner(name: str, out: Path) -> Any:
  """The program in a folder: images -> outputs by name."""
  match name:
    case "jax":
      return stablehlo.runner((out / stablehlo.FILE).read_bytes())
    case "onnx":
      return onnx_file.runner((out / onnx_file.FILE).read_bytes())
  described = json.loads((out / "im21k.json").read_text(encoding="utf-8"))
  return torch_files.runner(described, load_file(out / torch_files.ARRAYS))


if __name__ == "__main__":
  main()
