"""The README's Python runs, and its tree is the tree."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_of_the_readme_runs(packed, tiny_weights, tmp_path):
  (tmp_path / "runs" / "demo").mkdir(parents=True)
  tiny_weights.save(tmp_path / "runs" / "demo" / "weights")
  (tmp_path / "runs" / "demo-photos").symlink_to(packed)
  blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
  assert len(blocks) == 5
  done = subprocess.run(
    [sys.executable, "-c", "\n".join(blocks)], capture_output=True, text=True,
    cwd=tmp_path,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-3000:]
  assert "21841 tench, Tinca tinca" in done.stdout


def test_every_file_in_the_readmes_tree_exists():
  tree = README.split("## Where things are")[1].split("```")[1]
  names = set(re.findall(r"[\w/-]+\.(?:py|md)\b|[\w/-]+/(?=\s)", tree))
  here = {path.name for path in ROOT.rglob("*") if ".venv" not in path.parts}
  missing = {n for n in names if n.rstrip("/").split("/")[-1] not in here}
  assert not missing


def test_every_module_is_in_the_readmes_tree():
  tree = README.split("## Where things are")[1].split("```")[1]
  for path in (ROOT / "im21k").rglob("*.py"):
    if path.name not in ("__init__.py", "files.py") and "synsets" not in path.parts:
      assert path.name in tree, path
