"""The script for SLURM in docs/packing.md, with a shell in place of SLURM."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from im21k.packing.pack import pack

ROOT = Path(__file__).parents[2]
PARTS = 3


@pytest.fixture
def submit(tmp_path):
  """`submit(environment)`: runs the script for every part; gives what they print."""
  text = (ROOT / "docs" / "packing.md").read_text(encoding="utf-8")
  (script,) = re.findall(
    r"^```\n(#!/bin/bash\n.*?)^```", text, re.DOTALL | re.MULTILINE
  )
  (tmp_path / "pack.sbatch").write_text(script)
  (tmp_path / "bin").mkdir()
  command = tmp_path / "bin" / "im21k"
  command.write_text(f'#!/bin/sh\nexec {sys.executable} -m im21k.cli "$@"\n')
  command.chmod(command.stat().st_mode | stat.S_IXUSR)

  def submit(source, destination, parts=range(1, PARTS + 1)):
    environment = {
      **os.environ,
      "PATH": f"{command.parent}:{os.environ['PATH']}",
      "PYTHONPATH": str(ROOT),
      "SRC": str(source),
      "DST": str(destination),
      "PARTS": str(PARTS),
      "SLURM_CPUS_PER_TASK": "1",
    }
    started = [
      subprocess.Popen(
        ["bash", tmp_path / "pack.sbatch"],
        env={**environment, "SLURM_ARRAY_TASK_ID": str(part)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
      )
      for part in parts
    ]  # fmt: skip
    ended = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0] * len(started), ended
    return [out for out, _ in ended]

  return submit


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folders", "tars"])
def test_an_array_that_is_submitted_twice_packs_all(photos, tmp_path, submit, kind):
  source = photos({"n01440764": 9, "n01484850": 8, "n01496331": 7})
  if kind == "tars":  # Through runs, which the second pass needs.
    (tars := tmp_path / "tars").mkdir()
    for folder in sorted(source.iterdir()):
      subprocess.run(["tar", "-cf", tars / f"{folder.name}.tar", "-C", folder, "."])
    source = tars
  pack(source, tmp_path / "local", workers=1)
  out = tmp_path / "packed dir"
  # In the first pass, one task starts when the others have ended.
  first = [*submit(source, out, [1, 3]), *submit(source, out, [2])]
  assert [text.startswith("part ") for text in first[:2]] == [True, True]
  submit(source, out)
  assert {p.name: p.read_bytes() for p in out.iterdir()} == {
    p.name: p.read_bytes() for p in (tmp_path / "local").iterdir()
  }
  submit(source, out)  # Nothing is left to do.
