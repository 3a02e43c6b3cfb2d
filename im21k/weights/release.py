"""The release format: a folder that holds all that is needed to use a model.

  weights.safetensors   arrays, named by their path: params/conv1/conv/kernel
  model.json            model and its fields, input, class list, scores, config
  classes.txt           synset ids, label = line
  README.md             a model card, for people

No pickle. `model.json` is written last and holds the checksum of the arrays.
"""

import dataclasses
import functools
import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from im21k import files, models, synsets
from im21k.weights import model_card
from im21k.weights.input import Input

FORMAT_VERSION = 1
ARRAYS, DOCUMENT, CLASSES = "weights.safetensors", "model.json", "classes.txt"
CARD = "README.md"
_NAMED = 5  # Arrays in an error message; another width changes all of hundreds.
_LARGEST_DOCUMENT = 2**26  # Bytes; those of training runs have some thousands.


@dataclasses.dataclass(frozen=True, repr=False)
class Weights:
  """A model that can be used.

  Attributes:
    model_name, model_fields: what `models.create` takes.
    variables: `{"params", "batch_stats"}`, trees of numpy arrays.
    input: how photos are prepared.
    classes: what the logits mean.
    scores: results of evaluations, free of form.
    config: configuration of the training run; empty for converted weights.
  """

  model_name: str
  model_fields: dict[str, Any]
  variables: dict[str, Any]
  input: Input
  classes: synsets.ClassList
  scores: dict[str, Any] = dataclasses.field(default_factory=dict)
  config: dict[str, Any] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def model(self) -> nn.Module:
    """The Flax module."""
    return models.create(self.model_name, **self.model_fields)

  @functools.cached_property
  def _card(self) -> model_card.Card:
    """What people want to know about these weights."""
    parameters = jax.tree.leaves(self.variables["params"])
    return model_card.Card(
      self.model_name,
      self.model_fields,
      sum(int(np.size(leaf)) for leaf in parameters),
      self.input,
      self.classes,
      self.scores,
    )

  def __repr__(self) -> str:
    return f"Weights({self._card.line()})"

  def _repr_html_(self) -> str:
    return self._card.html()

  def save(self, folder: Path) -> None:
    """Writes the release folder.

    If it is killed while it writes over older weights, `load` refuses the mixture.
    """
    files.remove_leftovers(folder)
    arrays = {
      name: np.asarray(value, order="C")
      for name, value in _flat(self.variables).items()
    }
    with files.whole(folder / ARRAYS) as aside:
      # save_file would leave a file that only its owner may read.
      aside.write_bytes(save(arrays))
      checksum = _sha256(aside)
    files.write_text(folder / CLASSES, "\n".join(self.classes.synsets) + "\n")
    files.write_text(folder / CARD, self._card.markdown())
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
    document = _document(folder / DOCUMENT)
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
  flat = _read_arrays(folder / ARRAYS, model, prepared.size)
  return Weights(
    model_name=name,
    model_fields=fields,
    variables=traverse_util.unflatten_dict(flat, sep="/"),
    input=prepared,
    classes=dataclasses.replace(classes, name=listed),
    scores=scores,
    config=config,
  )


def commit() -> str | None:
  """The commit of the im21k that is running; None outside its git checkout."""
  root = Path(__file__).parents[2]
  command = ["git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD"]
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
  except (OSError, subprocess.CalledProcessError):
    return None
  top, commit = done.stdout.splitlines()
  # Elsewhere im21k is installed below somebody else's checkout.
  return commit if Path(top) == root.resolve() else None


def _document(path: Path) -> dict[str, Any]:
  """`model.json`, of this format version."""
  if (size := path.stat().st_size) > _LARGEST_DOCUMENT:
    raise ValueError(f"{size:,} bytes are more than {_LARGEST_DOCUMENT:,}")
  document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
  version = document["format_version"]
  if version != FORMAT_VERSION:
    raise ValueError(f"format version {version}, this im21k reads {FORMAT_VERSION}")
  return document


def _read_arrays(path: Path, model: nn.Module, size: int) -> dict[str, np.ndarray]:
  """The arrays by name; none is read before the shapes of all are checked."""
  try:
    with safe_open(path, framework="np") as file:
      names = list(file.keys())
      _check_shapes(
        {name: tuple(file.get_slice(name).get_shape()) for name in names},
        model,
        size,
        path,
      )
      return {name: file.get_tensor(name) for name in names}
  except SafetensorError as error:
    raise ValueError(f"{path} is damaged: {error}") from error


def _check_shapes(
  shapes: Mapping[str, tuple[int, ...]], model: nn.Module, size: int, path: Path
) -> None:
  """ValueError, naming the first of them, if arrays are missing, extra or misshapen."""
  images = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
  expected = _flat(
    jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
  )
  wrong = [f"{name} is missing" for name in sorted(expected.keys() - shapes.keys())]
  wrong += [f"{name} is unknown" for name in sorted(shapes.keys() - expected.keys())]
  wrong += [
    f"{name} is {shapes[name]}, not {expected[name].shape}"
    for name in sorted(expected.keys() & shapes.keys())
    if shapes[name] != expected[name].shape
  ]
  if wrong:
    more = f"; … ({len(wrong):,} in all)" if len(wrong) > _NAMED else ""
    raise ValueError(
      f"{path} does not fit the model: {'; '.join(wrong[:_NAMED])}{more}: copy the "
      "folder again, or export again"
    )


def _flat(tree: Any) -> dict[str, Any]:
  """Leaves of a tree by their path: params/conv1/conv/kernel."""
  flat: dict[str, Any] = traverse_util.flatten_dict(tree, sep="/")
  return flat


def _sha256(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _unlist(value: Any) -> Any:
  """JSON has no tuples."""
  return tuple(value) if isinstance(value, list) else value
