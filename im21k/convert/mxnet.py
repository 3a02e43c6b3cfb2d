"""`im21k convert mxnet` and `to-mxnet`: MXNet's files <-> release folders.

The files differ in the layout of kernels and in the order of classes (see `arrays`).
MXNet stores gamma, but the symbol files of its later versions say to take 1 for it; and
two settings of the network are in no array: `pooling` and `average_pool` of
`InceptionBN`.
"""

import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from im21k import files, original, synsets, targets, weights, words
from im21k.convert import arrays as layouts
from im21k.convert import network
from im21k.interop import params as mxnet_params
from im21k.models import InceptionBN

_LARGEST = 2**30  # Bytes; in float64 the larger model has 269 million.
_MODELS = {21841: "inception_bn_21k", 1000: "inception_bn_1k"}


def from_mxnet(
  params: Path,
  out: Path,
  *,
  synset: Path,
  pooling: Literal["ceil", "floor"] = "ceil",
  average_pool: Literal["ignored", "counted"] = "ignored",
) -> dict[str, Any]:
  """Converts an MXNet Inception-BN to a release folder.

  Args:
    params: The .params file: 416 arrays, of 21,841 or of 1,000 classes.
    out: Folder to write.
    synset: Label list of the .params file: a synset id and names in each line, line =
      label.
    pooling: Geometry of pools of stride 2: ceil, as trained in 2015, or floor, as in
      later symbol files.
    average_pool: Whether padding counts in averages: ignored, as on the GPUs of 2015,
      or counted.

  Returns:
    `weights`, the folder, the model's name, and the class list's name and hash.

  Raises:
    ValueError: the file is damaged or too large; arrays are missing, unknown, of
      another shape or type, or not finite; or the label list has other classes.
  """
  targets.check_folder([], out=out)
  with files.open_regular(params) as file:
    size = os.fstat(file.fileno()).st_size
  if size > _LARGEST:
    raise ValueError(f"{params} has {size:,} bytes, but no model of 2015 has 2³⁰")
  arrays = mxnet_params.read(params)
  labels = synsets.from_file(synset)
  classes = _known(labels)
  if len(classes) not in _MODELS:
    raise ValueError(
      f"{synset} has {words.counted(len(classes), 'class')}, but the models have "
      "21,841 or 1,000"
    )
  name = _MODELS[len(classes)]
  fields = {
    "num_classes": len(classes), "pooling": pooling, "average_pool": average_pool,
  }  # fmt: skip
  order = np.array([labels.index(s) for s in classes.synsets])
  weights.Weights(
    model_name=name,
    model_fields=fields,
    variables=layouts.variables(name, fields, arrays, order, str(params)),
    input=weights.Input(size=original.IMAGE_SIZE, short_side=original.SHORT_SIDE),
    classes=classes,
    config={"converted_from": params.name, "labels_from": synset.name},
  ).save(out)
  return {
    "weights": str(out),
    "model": name,
    "classes": classes.name,
    "classes_hash": classes.hash,
  }


def to_mxnet(
  weights_dir: Path, out: Path, *, synset: Path | None = None
) -> dict[str, Any]:
  """Converts a release folder to MXNet's files.

  They are OUT-0000.params, OUT-symbol.json and OUT-synset.txt.

  Args:
    weights_dir: Release folder of an Inception-BN.
    out: Prefix of the files, as `mx.model.load_checkpoint(OUT, 0)` takes it.
    synset: Label list that sets the order of the classes; by default the folder's own.

  Raises:
    ValueError: the weights are damaged or of another model, or the label list has other
      classes.
  """
  made = {
    "params": out.with_name(f"{out.name}-0000.params"),
    "symbol": out.with_name(f"{out.name}-symbol.json"),
    "synset": out.with_name(f"{out.name}-synset.txt"),
  }
  weights_dir = weights.find(weights_dir)
  targets.check([weights_dir, *([synset] if synset else [])], **made)
  released = weights.load(weights_dir)
  model = released.model
  if not isinstance(model, InceptionBN):
    raise ValueError(f"{weights_dir} holds {released.model_name}, not an Inception-BN")
  labels = synsets.from_file(synset) if synset else released.classes
  if set(labels.synsets) != set(released.classes.synsets):
    raise ValueError(
      f"{synset} has other classes than {weights_dir} ({released.classes.name})"
    )
  order = np.array([released.classes.index(s) for s in labels.synsets])
  arrays = {
    layouts.name_of(path): layouts.to_mxnet(path, np.asarray(array), order)
    for path, array in layouts.flat(released.variables).items()
  }
  mxnet_params.write(made["params"], arrays)
  files.write_text(made["symbol"], json.dumps(network.document(model), indent=1) + "\n")
  lines = [f"{s} {n}\n" for s, n in zip(labels.synsets, labels.names, strict=True)]
  files.write_text(made["synset"], "".join(lines))
  return {kind: str(path) for kind, path in made.items()}


def text(result: dict[str, Any]) -> str:
  """Formats the paths and names of what was written, for reading."""
  return "\n".join(f"{key}: {value}" for key, value in result.items())


def _known(labels: synsets.ClassList) -> synsets.ClassList:
  """Our list of the same classes, in our order."""
  for known in (synsets.imagenet21k, synsets.ilsvrc2012):
    classes = known()
    if set(classes.synsets) == set(labels.synsets):
      return classes
  ours = set(synsets.imagenet21k().synsets)
  raise ValueError(
    f"the {len(labels):,} classes of the label list {labels.name!r} are neither the "
    f"21,841 nor the 1,000 of ILSVRC2012; {len(set(labels.synsets) - ours):,} are not "
    "among the 21,841"
  )
