"""MXNet's models in and out: every array, the order of classes, all errors at once.

Where IM21K_MXNET_PYTHON names a Python that has mxnet 1.9.1, MXNet itself is asked.
"""

import json
import os
import subprocess
import typing
from pathlib import Path

import jax
import numpy as np
import pytest

from im21k import models, synsets, weights
from im21k.convert import arrays as layouts
from im21k.convert import mxnet, network
from im21k.interop import params
from im21k.models import layers

ROOT = Path(__file__).parents[2]
LABELS = ROOT / "data" / "inception_21k_synset.txt"
MXNET = os.environ.get("IM21K_MXNET_PYTHON")


@pytest.fixture(scope="module")
def arrays():
  """All arrays of the released model, of random numbers."""
  released = released_model()
  rng = np.random.default_rng(0)
  return {
    layouts.name_of(path): layouts.to_mxnet(
      path, rng.uniform(0.5, 1.5, leaf.shape).astype("f4"), None
    )
    for path, leaf in released
  }


def released_model(name="inception_bn_21k"):
  model = models.create(name)
  images = jax.ShapeDtypeStruct((1, 224, 224, 3), np.float32)
  shapes = jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False), images
  )
  return [
    (tuple(key.key for key in path), leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
  ]


@pytest.fixture(scope="module")
def imported(arrays, tmp_path_factory):
  folder = tmp_path_factory.mktemp("imported")
  params.write(folder / "in.params", arrays)
  result = mxnet.from_mxnet(folder / "in.params", folder / "out", synset=LABELS)
  assert result["classes"] == "imagenet21k"
  return folder / "out"


@pytest.mark.slow
def test_names_are_those_of_the_released_file(arrays):
  assert len(arrays) == 416
  assert arrays["arg:conv_conv1_weight"].shape == (96, 3, 7, 7)
  assert arrays["arg:conv_3a_double_3x3_1_weight"].shape == (144, 144, 3, 3)
  assert arrays["aux:bn_5b_proj_moving_var"].shape == (128,)
  assert arrays["arg:fc1_weight"].shape == (21841, 1024)


@pytest.mark.slow
def test_the_settings_are_those_of_2015(imported):
  released = weights.load(imported)
  model = released.model
  assert (model.pooling, model.average_pool, model.bn_epsilon) == (
    "ceil",
    "ignored",
    1e-10,
  )
  assert released.input == weights.Input(224, 256, 117.0, 1.0)
  assert released.classes.hash == synsets.imagenet21k().hash


def test_classes_are_permuted_and_nothing_else(imported, arrays):
  released = weights.load(imported)
  labels = synsets.from_file(LABELS)
  assert labels.synsets != released.classes.synsets
  kernel = released.variables["params"]["head"]["kernel"]
  for label in (0, 1, 777, 21840):
    own = released.classes.index(labels.synsets[label])
    np.testing.assert_array_equal(kernel[:, own], arrays["arg:fc1_weight"][label])
  conv = released.variables["params"]["block_4e"]["3x3"]["conv"]["kernel"]
  np.testing.assert_array_equal(
    conv, arrays["arg:conv_4e_3x3_weight"].transpose(2, 3, 1, 0)
  )
  scale = released.variables["params"]["conv2"]["bn"]["scale"]
  np.testing.assert_array_equal(scale, arrays["arg:bn_conv2_gamma"])


@pytest.mark.slow
def test_out_again_the_arrays_are_the_same_bytes(imported, arrays, tmp_path):
  made = mxnet.to_mxnet(imported, tmp_path / "again", synset=LABELS)
  found = params.read(Path(made["params"]))
  assert found.keys() == arrays.keys()
  for name, array in arrays.items():
    assert found[name].tobytes() == array.tobytes() and found[name].dtype == "f4"
  lines = Path(made["synset"]).read_text().splitlines()
  assert [line.split()[0] for line in lines] == list(synsets.from_file(LABELS).synsets)


@pytest.mark.slow
def test_the_plain_net_with_its_own_names(tmp_path):
  rng = np.random.default_rng(0)
  file = {}
  for path, leaf in released_model("inception_bn_1k"):
    name = layouts.name_in_1k(path)
    drawn = rng.uniform(0.5, 1.5, leaf.shape).astype("f4")
    file[name] = layouts.to_mxnet(path, drawn, None)
  assert {"arg:conv_1_weight", "arg:bn_2_red_gamma", "aux:bn_2_moving_var"} <= set(file)
  params.write(tmp_path / "1k.params", file)
  labels = tmp_path / "synset.txt"
  labels.write_text("\n".join(reversed(synsets.ilsvrc2012().synsets)))
  mxnet.from_mxnet(
    tmp_path / "1k.params", tmp_path / "out", synset=labels, pooling="floor"
  )
  released = weights.load(tmp_path / "out")
  assert released.model_name == "inception_bn_1k"
  assert released.model.pooling == "floor"
  head = released.variables["params"]["head"]["kernel"]
  np.testing.assert_array_equal(head, file["arg:fc1_weight"][::-1].T)


@pytest.mark.slow
def test_all_that_does_not_fit_is_named_at_once(arrays, tmp_path):
  broken = dict(arrays)
  del broken["arg:fc1_bias"]
  broken["arg:extra_weight"] = np.zeros(3, "f4")
  broken["arg:conv_conv1_weight"] = np.zeros((96, 3, 5, 5), "f4")
  params.write(tmp_path / "broken.params", broken)
  with pytest.raises(ValueError) as error:
    mxnet.from_mxnet(tmp_path / "broken.params", tmp_path / "out", synset=LABELS)
  for part in (
    "arg:fc1_bias is missing",
    "arg:extra_weight is unknown",
    "arg:conv_conv1_weight is (96, 3, 5, 5), not (96, 3, 7, 7)",
  ):
    assert part in str(error.value)
  assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def few():
  """The arrays of a narrow model of 1,000 classes, and what `variables` takes."""
  fields = {"num_classes": 3, "width": 0.01}
  model = models.create("inception_bn_1k", **fields)
  images = jax.ShapeDtypeStruct((1, 224, 224, 3), np.float32)
  shapes = layouts.flat(
    jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
  )
  file = {
    layouts.name_of(path): layouts.to_mxnet(path, np.ones(leaf.shape, "f4"))
    for path, leaf in shapes.items()
  }
  return file, lambda arrays: layouts.variables(
    "inception_bn_1k", fields, arrays, np.arange(3), "in.params"
  )


@pytest.mark.parametrize(
  ("name", "change", "message"),
  [
    ("arg:fc1_bias", lambda a: a * np.nan, "arg:fc1_bias holds NaN or infinity"),
    ("arg:fc1_weight", lambda a: a * np.inf, "arg:fc1_weight holds NaN or infinity"),
    ("aux:bn_5b_proj_moving_var", lambda a: -a, "moving_var holds a negative variance"),
    ("arg:fc1_bias", lambda a: a.astype("i4"), "arg:fc1_bias is int32, so no model"),
    ("arg:fc1_bias", lambda a: a[:0], r"fc1_bias is \(0,\), not \(3,\).* again$"),
    ("arg:../x\n\x1b", lambda a: np.ones(3), r"x\\n\\u001b\" is unknown"),
  ],
)
def test_arrays_that_are_no_model_are_named(few, name, change, message):
  arrays, variables = few
  broken = {**arrays, name: change(arrays.get(name))}
  with pytest.raises(ValueError, match=f"^in.params.*{message}") as caught:
    variables(broken)
  assert str(caught.value).isprintable()


def test_doubles_and_halves_are_taken(few):
  arrays, variables = few
  for kind in ("f8", "f2"):
    made = variables({name: array.astype(kind) for name, array in arrays.items()})
    assert {leaf.dtype.name for leaf in jax.tree.leaves(made)} == {"float32"}


@pytest.mark.parametrize("what", ["fifo", "folder", "sparse"])
def test_what_is_no_file_of_arrays_is_not_read(tmp_path, what):
  path = tmp_path / "in.params"
  if what == "fifo":
    os.mkfifo(path)
  elif what == "folder":
    path.mkdir()
  else:
    path.touch()
    os.truncate(path, 2**33)
  with pytest.raises(
    ValueError, match=r"in\.params (is not a regular|has 8,589,934,592)"
  ):
    mxnet.from_mxnet(path, tmp_path / "out", synset=LABELS)


def test_help_lists_every_choice():
  hints = typing.get_type_hints(mxnet.from_mxnet)
  assert typing.get_args(hints["pooling"]) == layers.POOLINGS
  assert typing.get_args(hints["average_pool"]) == layers.AVERAGE_POOLS


def test_a_model_of_another_kind_is_refused(linear_weights, tmp_path):
  classes = synsets.ClassList("two", ("n01443537", "n02121808"))
  released = linear_weights(np.zeros((48, 2), "f4"), np.zeros(2, "f4"), classes)
  released.save(tmp_path / "weights")
  with pytest.raises(ValueError, match="holds linear, not an Inception-BN"):
    mxnet.to_mxnet(tmp_path / "weights", tmp_path / "out")


def test_a_list_of_other_classes_is_refused(arrays, imported, tmp_path):
  labels = tmp_path / "labels.txt"
  labels.write_text("n01440764\nn99999999\n")
  params.write(tmp_path / "in.params", {"arg:x": np.zeros(1, "f4")})
  message = "2 classes of the label list 'labels' .* 1 are not among"
  with pytest.raises(ValueError, match=message):
    mxnet.from_mxnet(tmp_path / "in.params", tmp_path / "out", synset=labels)
  with pytest.raises(ValueError, match="has other classes than"):
    mxnet.to_mxnet(imported, tmp_path / "out", synset=labels)


@pytest.mark.parametrize("pooling", ["ceil", "floor"])
def test_the_symbol_takes_just_the_arrays(arrays, pooling):
  document = network.document(models.create("inception_bn_21k", pooling=pooling))
  nodes = document["nodes"]
  inputs = {n["name"] for n in nodes if n["op"] == "null"}
  names = {name.split(":")[1] for name in arrays}
  assert inputs == names | {"data", "softmax_label"}
  assert document["arg_nodes"] == [k for k, n in enumerate(nodes) if n["op"] == "null"]
  for index, node in enumerate(nodes):
    assert all(source < index for source, _, _ in node["inputs"])
  norms = [n for n in nodes if n["op"] == "BatchNorm"]
  assert len(norms) == 69
  assert all(n["attrs"]["fix_gamma"] == "False" for n in norms)


def test_a_model_without_classes_has_no_symbol():
  with pytest.raises(ValueError, match="without classes"):
    network.document(models.create("inception_bn_21k", num_classes=None))


_ASK = """
import json, sys
import mxnet as mx, numpy as np
prefix, inputs, out = sys.argv[1:]
symbol, arg, aux = mx.model.load_checkpoint(prefix, 0)
logits = symbol.get_internals()["fc1_output"]
x = np.load(inputs).transpose(0, 3, 1, 2)
run = logits.simple_bind(mx.cpu(), data=x.shape, grad_req="null")
run.copy_params_from(arg, aux)
np.save(out, run.forward(data=mx.nd.array(x))[0].asnumpy())
"""


@pytest.mark.skipif(not MXNET, reason="IM21K_MXNET_PYTHON is not set")
@pytest.mark.parametrize("pooling", ["ceil", "floor"])
def test_mxnet_loads_it_and_names_the_same_synsets(tmp_path, pooling):
  """For 50 random inputs, by MXNet's own index in its own list."""
  import sys

  sys.path.insert(0, str(ROOT / "tests" / "golden"))
  import formula

  file = {}
  for path, leaf in released_model():
    name = layouts.name_of(path)
    outside = layouts.to_mxnet(path, np.empty(leaf.shape, bool), None).shape
    file[name] = formula.array(name.split(":")[1], outside)
  params.write(tmp_path / "in.params", file)
  mxnet.from_mxnet(
    tmp_path / "in.params", tmp_path / "out", synset=LABELS, pooling=pooling
  )
  mxnet.to_mxnet(tmp_path / "out", tmp_path / "mx", synset=LABELS)
  x = np.random.default_rng(0).normal(size=(50, 224, 224, 3)).astype("f4")
  np.save(tmp_path / "x.npy", x)
  subprocess.run(
    [MXNET, "-c", _ASK, tmp_path / "mx", tmp_path / "x.npy", tmp_path / "y.npy"],
    check=True, capture_output=True,
  )  # fmt: skip
  theirs = np.load(tmp_path / "y.npy")
  released = weights.load(tmp_path / "out")
  run = jax.jit(lambda x: released.model.apply(released.variables, x, train=False)[0])
  ours = np.concatenate([run(part) for part in np.split(x, 5)])
  labels = [line.split()[0] for line in LABELS.read_text().splitlines()]
  assert [released.classes.synsets[k] for k in ours.argmax(1)] == [
    labels[k] for k in theirs.argmax(1)
  ]
  order = [released.classes.index(s) for s in labels]
  difference = np.linalg.norm(ours[:, order] - theirs) / np.linalg.norm(theirs)
  assert difference <= 1e-5
  assert json.loads((tmp_path / "mx-symbol.json").read_text())["heads"]
