"""The release format: a folder that holds all that is needed to use a model.

  weights.safetensors   arrays, named by their path: params/conv1/conv/kernel
  model.json            model and its fields, input, class list, scores, config
  classes.txt           synset ids, label = line; with own classes a CSV
  README.md             a model card, for people

No pickle. `model.json` is written last and holds the checksum of the arrays.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util
from safetensors.numpy import save

from im21k import files, models, synsets, words
from im21k.weights import arrays, model_card
from im21k.weights import document as documents
from im21k.weights.document import FORMAT_VERSION
from im21k.weights.input import Input

ARRAYS, DOCUMENT, CLASSES = "weights.safetensors", "model.json", "classes.txt"
CARD = "README.md"
_OF_RUN = ("weights", "best", "latest")  # in a work folder


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
    flat = {
      name: np.asarray(value, order="C")
      for name, value in _flat(self.variables).items()
    }
    with files.whole(folder / ARRAYS) as aside:
      # save_file would leave a file that only its owner may read.
      data = save(flat)
      aside.write_bytes(data)
    files.write_text(folder / CLASSES, synsets.as_text(self.classes))
    files.write_text(folder / CARD, self._card.markdown())
    details = {"details": self.classes.details} if self.classes.details else {}
    document = {
      "format_version": FORMAT_VERSION,
      "model": {"name": self.model_name, "fields": self.model_fields},
      "input": dataclasses.asdict(self.input),
      "class_list": {"name": self.classes.name, "hash": self.classes.hash, **details},
      "arrays_sha256": hashlib.sha256(data).hexdigest(),
      "scores": documents.finite(self.scores),
      "config": documents.finite(self.config),
      "commit": commit(),
    }
    files.write_text(folder / DOCUMENT, json.dumps(document, indent=1) + "\n")


def find(folder: Path) -> Path:
  """The release folder that is meant: `folder`, or one of a run's work folder.

  A folder without a `model.json` stands for its `weights`, which a run writes at its
  end, else its `best`, else its `latest`: the first that has one. Which it is before
  the end, is said on standard error. Any other folder is returned as it is.
  """
  found = _found(folder)
  if found.parent == folder and found.name != _OF_RUN[0]:
    with contextlib.suppress(OSError):
      print(
        f"im21k: {words.visible(str(folder))} has no {_OF_RUN[0]}/ yet: {found.name}/ "
        f"of step {step_of(found)} is used",
        file=sys.stderr,
        flush=True,
      )
  return found


def step_of(folder: Path) -> int | None:
  """The step of its run that weights are of; None: nothing says it.

  Args:
    folder: a release folder, or a work folder: see `find`.
  """
  try:
    step = json.loads((_found(folder) / DOCUMENT).read_bytes())["config"]["step"]
  except (OSError, ValueError, TypeError, KeyError, RecursionError):
    return None
  return step if type(step) is int else None


def _found(folder: Path) -> Path:
  """As `find`; says nothing."""
  if (folder / DOCUMENT).exists():
    return folder
  below = (folder / name for name in _OF_RUN)
  return next((one for one in below if (one / DOCUMENT).is_file()), folder)


def load(folder: Path) -> Weights:
  """Reads a release folder, or that in a work folder: see `find`.

  Every number is checked before memory is taken, so that a folder may come from
  anywhere. Links are followed, for downloads may be links into a cache.

  Raises:
    FileNotFoundError: there are no weights.
    OSError: a file cannot be read.
    ValueError: a file is damaged or incomplete, the class list is another one, or
      arrays do not fit the model or are not finite; names file and field.
  """
  folder = find(folder)
  for name in (DOCUMENT, ARRAYS, CLASSES):
    if not (folder / name).exists():
      raise FileNotFoundError(
        f"{folder / name} does not exist: {folder} holds no weights "
        "(a run writes them with its first checkpoint; see also `im21k "
        "export-checkpoint WORKDIR OUT`)"
      )
  document = documents.read(folder / DOCUMENT)
  classes = synsets.from_file(folder / CLASSES)
  classes.check_same(document.listed, document.listed_hash, str(folder / DOCUMENT))
  # Where none were saved, people may fill in what the classes hang under.
  if document.listed_details and classes.details != document.listed_details:
    raise ValueError(
      f"{folder / CLASSES} has other names, or synsets that classes hang under, than "
      f"when the weights were saved: {arrays.REMEDY}"
    )
  shapes = documents.variables_of(document, len(classes), folder / DOCUMENT)
  flat = arrays.read(folder / ARRAYS, shapes, document.checksum)
  return Weights(
    model_name=document.model_name,
    model_fields=document.model_fields,
    variables=traverse_util.unflatten_dict(flat, sep="/"),
    input=document.input,
    classes=dataclasses.replace(classes, name=document.listed),
    scores=document.scores,
    config=document.config,
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


def _flat(tree: Any) -> dict[str, Any]:
  """Leaves of a tree by their path: params/conv1/conv/kernel."""
  flat: dict[str, Any] = traverse_util.flatten_dict(tree, sep="/")
  return flat
