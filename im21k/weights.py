"""The release format: a folder that holds all that is needed to use a model.

  weights.safetensors   arrays, named by their path: params/conv1/conv/kernel
  model.json            model and its fields, input, class list, scores, config
  classes.txt           synset ids, label = line
  README.md             a model card, for people

No pickle. `model.json` is written last and holds the checksum of the arrays.
"""

import dataclasses
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from im21k import files, models, synsets

FORMAT_VERSION = 1
ARRAYS, DOCUMENT, CLASSES = "weights.safetensors", "model.json", "classes.txt"
CARD = "README.md"


@dataclasses.dataclass(frozen=True)
class Input:
  """How a photo becomes the model's input.

  Attributes:
    size: side of the square, pixels.
    short_side: of the photo that the square is cut from.
    mean, std: what is subtracted and what it is divided by, on the scale 0–255, RGB.
  """

  size: int
  short_side: int
  mean: float | tuple[float, ...] = 117.0
  std: float | tuple[float, ...] = 1.0

  def __post_init__(self) -> None:
    if not 0 < self.size <= self.short_side:
      raise ValueError(
        f"a crop of {self.size} needs a short side of as much, not {self.short_side}"
      )


@dataclasses.dataclass(frozen=True)
class Weights:
  """A model that can be used.

  Attributes:
    model_name, model_fields: what `models.create` takes.
    variables: `{"params", "batch_stats"}`, trees of numpy arrays.
    input: how photos are prepared.
    classes: what the logits mean.
    scores: of evaluations, free of form.
    config: the run's configuration, if it was one.
  """

  model_name: str
  model_fields: dict[str, Any]
  variables: dict[str, Any]
  input: Input
  classes: synsets.ClassList
  scores: dict[str, Any] = dataclasses.field(default_factory=dict)
  config: dict[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def model(self) -> nn.Module:
    """The Flax module."""
    return models.create(self.model_name, **self.model_fields)

  def save(self, folder: Path) -> None:
    """Writes the release folder.

    If it is killed while it writes over older weights, `load` refuses the mixture.
    """
    files.remove_leftovers(folder)
    flat = traverse_util.flatten_dict(self.variables, sep="/")
    arrays = {name: np.asarray(value, order="C") for name, value in flat.items()}
    with files.whole(folder / ARRAYS) as aside:
      # save_file would leave a file that only its owner may read.
      aside.write_bytes(save(arrays))
      checksum = _sha256(aside)
    files.write_text(folder / CLASSES, "\n".join(self.classes.synsets) + "\n")
    files.write_text(folder / CARD, self._card(arrays))
    document = {
      "format_version": FORMAT_VERSION,
      "model": {"name": self.model_name, "fields": self.model_fields},
      "input": dataclasses.asdict(self.input),
      "class_list": {"name": self.classes.name, "hash": self.classes.hash},
      "arrays_sha256": checksum,
      "scores": self.scores,
      "config": self.config,
      "commit": commit(),
    }
    files.write_text(folder / DOCUMENT, json.dumps(document, indent=1) + "\n")

  def _card(self, arrays: dict[str, np.ndarray]) -> str:
    """What somebody who finds the folder wants to know."""
    parameters = sum(a.size for name, a in arrays.items() if name.startswith("params/"))
    fields = ", ".join(f"{k}={v!r}" for k, v in self.model_fields.items())
    scores = [f"- {name}: {value}" for name, value in self.scores.items() if value]
    prepared = self.input
    return "\n".join(
      [
        f"# {self.model_name}, {len(self.classes):,} classes",
        "",
        f"{parameters:,} parameters. Model: `{self.model_name}({fields})`.",
        f"Classes: {self.classes.name} (hash {self.classes.hash}), in classes.txt.",
        "",
        f"Input: RGB, the centre square of {prepared.size} pixels of a photo whose "
        f"short side is {prepared.short_side}; (value − {prepared.mean}) / "
        f"{prepared.std} on the scale 0–255.",
        "",
        "```python",
        "import im21k",
        'model = im21k.load("…")  # this folder',
        "logits = model.logits(model.prepare(photos))  # photos: uint8 [h, w, 3], RGB",
        "```",
        "",
        "Scores:" if scores else "No scores are recorded.",
        *scores,
        "",
        "Classes of ImageNet contain people and slurs, unbalanced and out of date: not "
        "for decisions about people. How it was trained is in model.json, `config`.",
        "",
      ]
    )


def normalize(image: jax.Array, mean: Any, std: Any) -> jax.Array:
  """uint8 `[…, 3]` -> float32: (image − mean) / std, per channel or for all."""
  shape = (1,) * (image.ndim - 1) + (-1,)
  mean, std = (jnp.asarray(x, jnp.float32).reshape(shape) for x in (mean, std))
  return (image.astype(jnp.float32) - mean) / std


def load(folder: Path) -> Weights:
  """Reads a release folder.

  Raises:
    FileNotFoundError: there are no weights.
    ValueError: a file is damaged, the class list is another one, or arrays do not fit
      the model; all that do not fit are named at once.
  """
  for name in (DOCUMENT, ARRAYS, CLASSES):
    if not (folder / name).is_file():
      raise FileNotFoundError(
        f"{folder / name} does not exist: {folder} holds no weights "
        "(a run exports them to WORKDIR/weights when it ends)"
      )
  try:
    document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
    version = document["format_version"]
    if version != FORMAT_VERSION:
      raise ValueError(f"format version {version}, this im21k reads {FORMAT_VERSION}")
    name, fields = document["model"]["name"], document["model"]["fields"]
    model = models.create(name, **fields)
    prepared = Input(**{k: _unlist(v) for k, v in document["input"].items()})
    listed, listed_hash = document["class_list"]["name"], document["class_list"]["hash"]
    checksum = document["arrays_sha256"]
    scores, config = document["scores"], document["config"]
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f"{folder / DOCUMENT} is damaged, or of another im21k: {error!r}"
    ) from error
  if _sha256(folder / ARRAYS) != checksum:
    raise ValueError(
      f"{folder / ARRAYS} is not what {DOCUMENT} was written for (its checksum "
      "differs): copy the folder again, or export again"
    )
  classes = synsets.from_file(folder / CLASSES)
  classes.check_same(listed, listed_hash, str(folder / DOCUMENT))
  try:
    flat = load_file(folder / ARRAYS)
  except SafetensorError as error:
    raise ValueError(f"{folder / ARRAYS} is damaged: {error}") from error
  check_arrays(model, flat, prepared.size, str(folder / ARRAYS))
  return Weights(
    model_name=name,
    model_fields=fields,
    variables=traverse_util.unflatten_dict(flat, sep="/"),
    input=prepared,
    classes=dataclasses.replace(classes, name=listed),
    scores=scores,
    config=config,
  )


def check_arrays(model: nn.Module, flat: dict[str, Any], size: int, where: str) -> None:
  """ValueError, naming them all, if arrays are missing, extra or misshapen."""
  images = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
  expected = traverse_util.flatten_dict(
    jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images),
    sep="/",
  )
  wrong = [f"{name} is missing" for name in sorted(expected.keys() - flat.keys())]
  wrong += [f"{name} is unknown" for name in sorted(flat.keys() - expected.keys())]
  wrong += [
    f"{name} is {flat[name].shape}, not {expected[name].shape}"
    for name in sorted(expected.keys() & flat.keys())
    if flat[name].shape != expected[name].shape
  ]
  if wrong:
    raise ValueError(f"{where} does not fit the model: " + "; ".join(wrong))


def _sha256(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _unlist(value: Any) -> Any:
  """JSON knows no tuples."""
  return tuple(value) if isinstance(value, list) else value


def commit() -> str | None:
  """The commit of the im21k that is running; None outside its git checkout."""
  root = Path(__file__).parents[1]
  command = ["git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD"]
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
  except (OSError, subprocess.CalledProcessError):
    return None
  top, commit = done.stdout.splitlines()
  # Elsewhere im21k is installed below somebody else's checkout.
  return commit if Path(top) == root.resolve() else None
