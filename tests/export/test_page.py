"""The Python of docs/export.md runs beside an exported program, without im21k."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from im21k.export.export import export

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
BLOCKS = re.findall(
  r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE
)
ALONE = """
import sys

sys.modules["im21k"] = sys.modules["flax"] = None  # Importing them is an error.
sys.path.insert(0, "")
"""
NEEDS = {
  "jax": (["flatbuffers"], "from jax import export"),
  "onnx": (["onnx", "onnxruntime"], "import onnxruntime"),
  "torch": (["torch", "safetensors"], "import torch"),
}


def test_every_block_belongs_to_a_format():
  kinds = [mark for _, mark in NEEDS.values()]
  assert len(BLOCKS) == 4
  assert all(sum(mark in block for mark in kinds) == 1 for block in BLOCKS)


@pytest.mark.parametrize("format", NEEDS)
def test_blocks_of_a_format_run(need, saved, narrow, tmp_path, sample_photos, format):
  modules, mark = NEEDS[format]
  need(all(map(importlib.util.find_spec, modules)), f"{format} is missing")
  out = tmp_path / "exported"
  export(saved, out, format=format, answers=True)
  shutil.copy(min(sample_photos.rglob("*.jpg")), out / "cat.jpg")
  for block in (block for block in BLOCKS if mark in block):
    run = [sys.executable, "-W", "error::DeprecationWarning", "-c", ALONE + block]
    done = subprocess.run(run, capture_output=True, text=True, cwd=out)
    assert done.returncode == 0, done.stderr[-3000:]
    shown = done.stdout.strip()
    if '"answers"' in block:
      assert re.search(r" (0\.\d+|1\.0)$", shown)
    else:
      assert shown in narrow.classes.names
