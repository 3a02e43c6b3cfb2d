"""ONNX programs in onnxruntime: JAX's numbers, for every net that there is."""

import json

import numpy as np
import pytest

from im21k.export import comparison, onnx_file, onnx_graph
from im21k.export.hedging import Hedging
from im21k.export.program import Program
from im21k.synsets import hierarchy


@pytest.fixture(autouse=True)
def onnx(need_for):
  need_for("onnx")


@pytest.mark.parametrize("size", [64, 224])
def test_logits_are_those_of_jax_for_any_batch(narrow, with_size, rng, size):
  program = Program(with_size(narrow, size))
  run = onnx_file.runner(onnx_file.build(program).SerializeToString())
  images = rng.integers(0, 256, (7, size, size, 3), np.uint8)
  expected = comparison.reference(program, images)
  assert expected.std() > 0.1
  assert comparison.difference(run(images)["logits"], expected) < 1e-6
  assert comparison.difference(run(images[:1])["logits"], expected[:1]) < 1e-6


@pytest.mark.parametrize(
  "fields",
  [
    {"pooling": "floor", "average_pool": "counted"},
    {"table": "plain", "num_classes": 10},
    {"dtype": "bfloat16", "remat": "block"},
  ],
  ids=str,
)
def test_every_kind_of_net_is_exported(drawn_with, with_size, fields):
  program = Program(with_size(drawn_with(**fields), 76))  # Odd sides: 38, 19, 10, 5.
  run = onnx_file.runner(onnx_file.build(program).SerializeToString())
  assert comparison.compare(program, "it", run) < 1e-6


def test_another_model_is_exported_operation_by_operation(linear_weights, rng):
  from im21k import synsets

  classes = synsets.ClassList("three", ("a", "b", "c"))
  kernel = rng.normal(size=(48, 3)).astype(np.float32)
  program = Program(linear_weights(kernel, np.zeros(3, np.float32), classes))
  run = onnx_file.runner(onnx_file.build(program).SerializeToString())
  assert comparison.compare(program, "it", run) < 1e-6


def test_the_file_is_checked_and_describes_itself(narrow, tmp_path):
  import onnx

  hedging = Hedging(hierarchy.over(narrow.classes), 0.7, 0.9, 1.5)
  found = onnx_file.write(Program(narrow, hedging), tmp_path)
  assert 0 <= found < 1e-6
  model = onnx.load(tmp_path / "model.onnx")
  onnx.checker.check_model(model, full_check=True)
  assert {p.name for p in tmp_path.iterdir()} == {"model.onnx", "im21k.json"}
  (inside,) = (p.value for p in model.metadata_props if p.key == "im21k")
  beside = json.loads((tmp_path / "im21k.json").read_text())
  sha = beside.pop("program_sha256")
  assert json.loads(inside) == beside and len(sha) == 64
  inputs, outputs = (
    {one.name: one for one in some} for some in (model.graph.input, model.graph.output)
  )
  (batch, *sides) = inputs["images"].type.tensor_type.shape.dim
  assert batch.dim_param == "batch" and [s.dim_value for s in sides] == [64, 64, 3]
  assert list(outputs) == [one["name"] for one in beside["outputs"]]
  assert list(outputs) == ["logits", "probabilities", "node", "node_probability"]
  # Channels change places once: ours are the last, those of ONNX the second.
  assert sum(node.op_type == "Transpose" for node in model.graph.node) == 1


def test_another_program_than_that_of_jax_is_not_written(narrow, tmp_path, monkeypatch):
  monkeypatch.setitem(
    onnx_file.KNOWN, "rsqrt", onnx_file.KNOWN["sqrt"]
  )  # Has no effect: it is computed in advance.
  pool = onnx_file.KNOWN["reduce_window_sum"]

  def without_factor(graph, inputs, parameters, out):
    pool(graph, inputs, parameters, out)
    graph.nodes.pop()
    return [onnx_graph.Tensor(graph.nodes[-1].output[0], 4, True)]

  monkeypatch.setitem(onnx_file.KNOWN, "reduce_window_sum", without_factor)
  with pytest.raises(ValueError, match=r"differs from JAX by .* nothing is written"):
    onnx_file.write(Program(narrow), tmp_path)
  assert not list(tmp_path.iterdir())


def test_an_unknown_operation_is_an_error_that_names_it(narrow, monkeypatch):
  monkeypatch.delitem(onnx_file.KNOWN, "concatenate")
  with pytest.raises(ValueError, match="'concatenate': export it with --format jax"):
    onnx_file.build(Program(narrow))
