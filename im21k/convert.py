"""The models of 2015, in and out: MXNet's .params and symbol files <-> release folders.

What is different there: kernels are `[out, in, h, w]`; the classes come in the order of
a label list of their own; gamma is stored, but the symbol files of later versions tell
MXNet to take 1 for it; and two settings of the network are in no array: see `pooling`
and `average_pool` of `InceptionBN`.
"""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from im21k import files, models, synsets, weights
from im21k.interop import params as mxnet_params
from im21k.interop import symbol
from im21k.models import inception_bn

_LEAVES = {
  ("conv", "kernel"): ("arg", "conv", "weight"),
  ("conv", "bias"): ("arg", "conv", "bias"),
  ("bn", "scale"): ("arg", "bn", "gamma"),
  ("bn", "bias"): ("arg", "bn", "beta"),
  ("bn", "mean"): ("aux", "bn", "moving_mean"),
  ("bn", "var"): ("aux", "bn", "moving_var"),
}
# The file of 1,000 classes names its stem in its own way.
_STEM_1K = {"conv1": "1", "conv2red": "2_red", "conv2": "2"}
_MODELS = {21841: "inception_bn_21k", 1000: "inception_bn_1k"}


def from_mxnet(
  params: Path,
  out: Path,
  *,
  synset: Path,
  pooling: str = "ceil",
  average_pool: str = "ignored",
) -> dict[str, Any]:
  """Makes a release folder of an MXNet Inception-BN.

  Args:
    params: its .params file: 416 arrays, of 21,841 or of 1,000 classes.
    out: folder to write.
    synset: its label list, a synset id and names in each line; line = label.
    pooling: ceil, as it was trained in 2015, or floor, as later symbol files have it.
    average_pool: whether padding counts in averages: ignored, as on the GPUs of 2015,
      or counted.

  Returns:
    `weights`, where they lie, the model's name, and the class list's name and hash.

  Raises:
    ValueError: the file is damaged; arrays are missing, extra or misshapen, all of
      which are named; or the label list is of other classes.
  """
  arrays = mxnet_params.read(params)
  labels = synsets.from_file(synset)
  classes = _known(labels)
  if len(classes) not in _MODELS:
    raise ValueError(
      f"{synset} has {len(classes):,} classes, but the models have 21,841 or 1,000"
    )
  name = _MODELS[len(classes)]
  fields = {
    "num_classes": len(classes), "pooling": pooling, "average_pool": average_pool,
  }  # fmt: skip
  order = np.array([labels.index(s) for s in classes.synsets])
  weights.Weights(
    model_name=name,
    model_fields=fields,
    variables=_variables(name, fields, arrays, order, str(params)),
    input=weights.Input(size=224, short_side=256),
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
  """Makes MXNet's files of a release folder.

  They are OUT-0000.params, OUT-symbol.json and OUT-synset.txt.

  Args:
    weights_dir: folder of an Inception-BN.
    out: prefix of the files, as `mx.model.load_checkpoint(OUT, 0)` takes it.
    synset: label list whose order the classes shall have; the folder's own if not
      given.

  Raises:
    ValueError: the weights are damaged, or the label list is of other classes.
  """
  released = weights.load(weights_dir)
  labels = synsets.from_file(synset) if synset else released.classes
  if set(labels.synsets) != set(released.classes.synsets):
    raise ValueError(
      f"{synset} has other classes than {weights_dir} ({released.classes.name})"
    )
  order = np.array([released.classes.index(s) for s in labels.synsets])
  flat = traverse_util.flatten_dict(released.variables)
  arrays = {
    mxnet_name(path): _outwards(path, np.asarray(array), order)
    for path, array in flat.items()
  }
  made = {
    "params": out.with_name(f"{out.name}-0000.params"),
    "symbol": out.with_name(f"{out.name}-symbol.json"),
    "synset": out.with_name(f"{out.name}-synset.txt"),
  }
  mxnet_params.write(made["params"], arrays)
  files.write_text(made["symbol"], json.dumps(network(released.model), indent=1) + "\n")
  lines = [f"{s} {n}\n" for s, n in zip(labels.synsets, labels.names, strict=True)]
  files.write_text(made["synset"], "".join(lines))
  return {kind: str(path) for kind, path in made.items()}


def text(result: dict[str, Any]) -> str:
  """What was made, for people."""
  return "\n".join(f"{key}: {value}" for key, value in result.items())


def mxnet_name(path: tuple[str, ...]) -> str:
  """`("params", "block_3a", "1x1", "conv", "kernel")` -> `arg:conv_3a_1x1_weight`."""
  _, *modules, layer, leaf = path
  if not modules:
    return f"arg:fc1_{'weight' if leaf == 'kernel' else 'bias'}"
  kind, prefix, suffix = _LEAVES[layer, leaf]
  module = "_".join(modules).removeprefix("block_")
  return f"{kind}:{prefix}_{module}_{suffix}"


def network(model: Any) -> dict[str, Any]:
  """The symbol of an `InceptionBN` for MXNet, with a softmax on top.

  Raises:
    ValueError: it has no head.
  """
  if model.num_classes is None:
    raise ValueError("a model without classes has no symbol")
  stem, rows = inception_bn.STAGES[model.table]
  graph = symbol.Graph()

  def width(count: int) -> int:
    return model._channels(count)

  def conv(x: int, name: str, count: int, kernel: int, stride: int = 1) -> int:
    pad = kernel // 2
    y = graph.add(
      "Convolution", f"conv_{name}", [x], ["weight", "bias"],
      kernel=(kernel, kernel), stride=(stride, stride), pad=(pad, pad),
      num_filter=width(count),
    )  # fmt: skip
    y = graph.add(
      "BatchNorm", f"bn_{name}", [y], ["gamma", "beta", "moving_mean", "moving_var"],
      eps=model.bn_epsilon, momentum=model.bn_momentum, fix_gamma=False,
    )  # fmt: skip
    return graph.add("Activation", f"relu_{name}", [y], act_type="relu")

  def halve(x: int, name: str) -> int:
    ceil = model.pooling == "ceil"
    pad = 0 if ceil else 1
    return graph.add(
      "Pooling", name, [x], kernel=(3, 3), stride=(2, 2), pad=(pad, pad),
      pool_type="max", pooling_convention="full" if ceil else "valid",
    )  # fmt: skip

  x = graph.add("null", "data", [])
  x = halve(conv(x, "conv1", stem[0], 7, 2), "pool1")
  x = conv(conv(x, "conv2red", stem[1], 1), "conv2", stem[2], 3)
  x = halve(x, "pool2")
  for block, (
    n1,
    n3_reduce,
    n3,
    double_reduce,
    double,
    pool,
    projection,
  ) in rows.items():
    stride = 1 if n1 else 2
    branches = [conv(x, f"{block}_1x1", n1, 1)] if n1 else []
    y = conv(x, f"{block}_3x3_reduce", n3_reduce, 1)
    branches.append(conv(y, f"{block}_3x3", n3, 3, stride))
    y = conv(x, f"{block}_double_3x3_reduce", double_reduce, 1)
    y = conv(y, f"{block}_double_3x3_0", double, 3)
    branches.append(conv(y, f"{block}_double_3x3_1", double, 3, stride))
    if n1:
      y = graph.add(
        "Pooling", f"{block}_pool", [x], kernel=(3, 3), stride=(1, 1), pad=(1, 1),
        pool_type=pool, count_include_pad=model.average_pool == "counted",
      )  # fmt: skip
      branches.append(conv(y, f"{block}_proj", projection, 1))
    else:
      branches.append(halve(x, f"{block}_pool"))
    x = graph.add("Concat", f"{block}_concat", branches, num_args=len(branches))
  x = graph.add(
    "Pooling", "global_pool", [x], kernel=(1, 1), pool_type="avg", global_pool=True
  )
  x = graph.add("Flatten", "flatten", [x])
  x = graph.add(
    "FullyConnected", "fc1", [x], ["weight", "bias"], num_hidden=model.num_classes
  )
  graph.add("SoftmaxOutput", "softmax", [x], ["label"])
  return graph.document()


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


def _variables(
  name: str,
  fields: dict[str, Any],
  arrays: dict[str, np.ndarray],
  order: np.ndarray,
  where: str,
) -> dict[str, Any]:
  model = models.create(name, **fields)
  images = jax.ShapeDtypeStruct((1, 224, 224, 3), np.float32)
  shapes = traverse_util.flatten_dict(
    jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
  )
  wanted = {path: mxnet_name(path) for path in shapes}
  if "arg:conv_1_weight" in arrays:
    wanted = {path: _as_in_1k(path, name) for path, name in wanted.items()}
  names = set(wanted.values())
  wrong = [f"{name} is missing" for name in sorted(names - arrays.keys())]
  wrong += [f"{name} is unknown" for name in sorted(arrays.keys() - names)]
  found = {}
  for path, name in wanted.items():
    if name in arrays:
      found[path] = _inwards(path, arrays[name], order)
      if found[path].shape != shapes[path].shape:
        expected = _outwards(path, np.empty(shapes[path].shape, bool), None).shape
        wrong.append(f"{name} is {arrays[name].shape}, not {expected}")
  if wrong:
    raise ValueError(f"{where} does not fit the model: " + "; ".join(wrong))
  return traverse_util.unflatten_dict(found)


def _as_in_1k(path: tuple[str, ...], name: str) -> str:
  stem = path[1]
  return name.replace(f"_{stem}_", f"_{_STEM_1K[stem]}_") if stem in _STEM_1K else name


def _inwards(
  path: tuple[str, ...], array: np.ndarray, order: np.ndarray | None
) -> np.ndarray:
  """An array of MXNet's in our form; arrays of a wrong shape stay wrong."""
  array = array.astype(np.float32, copy=False)
  if path[1] == "head":
    if order is not None and len(array) == len(order):
      array = array[order]
    return array.T
  return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def _outwards(
  path: tuple[str, ...], array: np.ndarray, order: np.ndarray | None
) -> np.ndarray:
  """The inverse of `_inwards`, `order` being that of the other list."""
  if path[1] == "head":
    array = array.T
    return array if order is None else array[order]
  return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
