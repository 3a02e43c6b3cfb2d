"""A small release folder, and ways to damage it as if nobody had noticed."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from im21k.synsets import ClassList


@pytest.fixture
def classes():
  """Three classes."""
  return ClassList("three", ("n01440764", "n01443537", "n01484850"))


@pytest.fixture
def small(linear_weights, classes):
  """Weights of a linear model for three classes."""
  kernel = np.random.default_rng(0).normal(size=(48, 3)).astype(np.float32)
  return linear_weights(kernel, np.zeros(3, np.float32), classes)


@pytest.fixture
def saved(small, tmp_path):
  """The folder of `small`."""
  small.save(tmp_path / "weights")
  return tmp_path / "weights"


@pytest.fixture
def edit():
  """`edit(folder, change)`: changes `model.json` through `change(document)`."""

  def edit(folder, change):
    path = folder / "model.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))

  return edit


@pytest.fixture
def resign(edit):
  """`resign(folder, arrays)`: writes other arrays or bytes, and their checksum."""

  def resign(folder, arrays):
    path = folder / "weights.safetensors"
    if isinstance(arrays, bytes):
      path.write_bytes(arrays)
    else:
      save_file(arrays, path)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(folder, lambda document: document.update(arrays_sha256=checksum))

  return resign
