"""PyTorch's module and arrays: JAX's logits, and no JAX."""

import ast
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from safetensors.numpy import load_file

from im21k.export import comparison, torch_files
from im21k.export.hedging import Hedging
from im21k.export.program import Program
from im21k.synsets import hierarchy

ALONE = """
import sys

sys.modules["im21k"] = sys.modules["jax"] = sys.modules["flax"] = None
sys.path.insert(0, sys.argv[1])
import numpy as np
import torch
from model import classes, load, prepare

model = load().eval()
assert isinstance(model, torch.nn.Module) and len(classes()) == 10
images = prepare(np.load(f"{sys.argv[1]}/photos.npy"))
with torch.inference_mode():
  logits = model(torch.from_numpy(images))
answers = {name: value.numpy() for name, value in model.answer(logits).items()}
np.savez(f"{sys.argv[1]}/outputs.npz", logits=logits.numpy(), images=images, **answers)
model.train()
model(torch.from_numpy(images)).sum().backward()
assert all(p.grad is not None for p in model.parameters())
"""


@pytest.fixture
def torch(need_for):
  need_for("torch")


@pytest.fixture
def hedged(narrow):
  """The narrow net with answers."""
  return Program(narrow, Hedging(hierarchy.over(narrow.classes), 0.7, 0.9, 1.5))


@pytest.mark.parametrize("size", [64, 224])
@pytest.mark.parametrize(
  "fields",
  [
    {},
    {"pooling": "floor", "average_pool": "counted"},
    {"table": "plain", "num_classes": 10},
  ],
  ids=str,
)
def test_logits_are_those_of_jax(torch, drawn_with, with_size, rng, size, fields):
  program = Program(with_size(drawn_with(**fields), size + 12 * (size == 64)))
  described = json.loads(program.description(network=torch_files.described(program)))
  run = torch_files.runner(described, torch_files.state(program))
  side = program.released.input.size
  images = rng.integers(0, 256, (7, side, side, 3), np.uint8)
  expected = comparison.reference(program, images)
  assert comparison.difference(run(images)["logits"], expected) < 1e-6
  assert comparison.difference(run(images[:1])["logits"], expected[:1]) < 1e-6


def test_pytorch_alone_runs_and_trains_it(torch, hedged, tmp_path, rng):
  assert torch_files.write(hedged, tmp_path) < 1e-6
  photos = rng.integers(0, 256, (3, 90, 120, 3), np.uint8)
  np.save(tmp_path / "photos.npy", photos)
  subprocess.run([sys.executable, "-c", ALONE, tmp_path], check=True, cwd=tmp_path)
  outputs = np.load(tmp_path / "outputs.npz")
  expected = comparison.reference(hedged, outputs["images"])
  assert comparison.difference(outputs["logits"], expected) < 1e-6
  comparison.check_answers(hedged.hedging, "it", outputs)


def test_files_hold_every_array_in_the_layout_of_pytorch(hedged, narrow, tmp_path):
  torch_files.write(hedged, tmp_path)
  assert {p.name for p in tmp_path.iterdir()} == {
    "model.py", "weights.safetensors", "im21k.json"
  }  # fmt: skip
  arrays, params = load_file(tmp_path / "weights.safetensors"), narrow.variables
  kernel = params["params"]["block_3a"]["3x3"]["conv"]["kernel"]
  moved = arrays["blocks.3a.3x3.conv.weight"]
  assert moved.shape == (*kernel.shape[:1:-1], 3, 3)
  assert (moved == kernel.transpose(3, 2, 0, 1)).all()
  assert (arrays["head.weight"] == params["params"]["head"]["kernel"].T).all()
  var = params["batch_stats"]["conv1"]["bn"]["var"]
  assert (arrays["conv1.bn.running_var"] == var).all()
  floats = sum(a.size for name, a in arrays.items() if name[:6] != "answer" and a.shape)
  assert floats == sum(leaf.size for leaf in leaves(params))
  described = json.loads((tmp_path / "im21k.json").read_text())
  assert described["network"]["pairs"] == len(arrays["answer_node"])
  assert described["network"]["bn"]["momentum"] == pytest.approx(0.9)


def leaves(tree):
  if not isinstance(tree, dict):
    return [tree]
  return [leaf for part in tree.values() for leaf in leaves(part)]


def test_without_pytorch_it_is_written_but_not_compared(narrow, tmp_path, monkeypatch):
  monkeypatch.setattr(torch_files.extras, "has", lambda module: False)
  assert torch_files.write(Program(narrow), tmp_path) is None
  assert (tmp_path / "weights.safetensors").exists()


def test_code_imports_neither_jax_nor_im21k_and_stands_alone():
  tree = ast.parse(torch_files.code())
  imported = {
    (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name)
    for node in ast.walk(tree)
    if isinstance(node, ast.Import | ast.ImportFrom)
  }
  assert imported == {
    "functools", "json", "pathlib", "typing", "numpy", "numpy.typing", "torch", "PIL",
    "torch.nn", "safetensors.torch",
  }  # fmt: skip
  top = {node.name for node in tree.body if hasattr(node, "name")}
  assert {"InceptionBN", "load", "prepare", "classes", "description"} <= top
  run = [sys.executable, "-m", "ruff", "check", "--stdin-filename", "model.py", "-"]
  ruff = subprocess.run(run, input=torch_files.code(), text=True, capture_output=True)
  assert ruff.returncode == 0, textwrap.indent(ruff.stdout, "  ")


def test_another_model_has_no_twin(linear_weights):
  from im21k import synsets

  classes = synsets.ClassList("three", ("a", "b", "c"))
  zeros = np.zeros((48, 3), np.float32)
  program = Program(linear_weights(zeros, zeros[0], classes))
  with pytest.raises(ValueError, match="'linear' has no twin in PyTorch"):
    torch_files.described(program)
