"""The Python of docs/export.md runs beside an exported program, without im21k."""

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
MARKS = {
  "jax": "from jax import export",
  "onnx": "import onnxruntime",
  "torch": "import torch",
}


def test_every_block_belongs_to_a_format():
  assert len(BLOCKS) == 4
  assert all(sum(mark in block for mark in MARKS.values()) == 1 for block in BLOCKS)


@pytest.mark.parametrize("format", MARKS)
def test_blocks_of_a_format_run(
  need_for, saved, narrow, tmp_path, sample_photos, format
):
  need_for(format)
  out = tmp_path / "exported"
  export(saved, out, format=format, answers=True)
  shutil.copy(min(sample_photos.rglob("*.jpg")), out / "cat.jpg")
  for block in (block for block in BLOCKS if MARKS[format] in block):
    run = [sys.executable, "-W", "error::DeprecationWarning", "-c", ALONE + block]
    done = subprocess.run(run, capture_output=True, text=True, cwd=out)
    assert done.returncode == 0, done.stderr[-3000:]
    shown = done.stdout.strip()
    if '"answers"' in block:
      assert re.search(r" (0\.\d+|1\.0)$", shown)
    else:
      assert shown in narrow.classes.names
