"""Who may import whom: data flows one way, and imports follow it."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Names on one line do not import each other.
ORDER = (
  ("synsets", "interop"),
  ("dataset",),
  ("photos",),
  ("packing", "loading"),
  ("models",),
  ("weights",),
  ("convert", "parallel", "xla"),
  ("hosts",),
  ("answers",),
  ("evaluation",),
  ("features", "training"),
  ("planning",),
  ("pages",),
  ("comparing", "finetuning", "inference"),
  ("export", "serving"),
  ("terminal", "command_line", "log_lines"),
  ("usage",),
  ("cli",),
  ("__main__",),
)
# Every part may use these; they use no other.
COMMON = (
  "documents", "fields", "files", "lock", "machine", "notices", "original", "targets",
  "words",
)  # fmt: skip
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
SOURCES = sorted((ROOT / "im21k").rglob("*.py"))
MODELS = sorted((ROOT / "im21k" / "models").glob("*.py"))
EXPERIMENTS = sorted((ROOT / "experiments").rglob("*.py"))


@functools.cache
def imports(path):
  """Dotted names that a file imports, wherever in it; `from a import b` is `a.b`."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f"{path} line {node.lineno}: a relative import"
      found |= {f"{node.module}.{alias.name}" for alias in node.names}
  return frozenset(found)


def packages(path):
  """Top-level packages that a file imports."""
  return {name.partition(".")[0] for name in imports(path)}


def part(path):
  """The part of im21k that a file belongs to: `data` of `im21k/packing/pack.py`."""
  return path.relative_to(ROOT / "im21k").parts[0].removesuffix(".py")


def parts(path):
  """The parts of im21k that a file imports."""
  return {name.split(".")[1] for name in imports(path) if name.startswith("im21k.")}


def files_that_import(package):
  return {
    str(path.relative_to(ROOT))
    for path in (*SOURCES, *EXPERIMENTS)
    if package in packages(path)
  }


def identifier(path):
  return str(path.relative_to(ROOT))


def test_there_is_something_to_check():
  assert len(SOURCES) > 20 and len(MODELS) > 3 and len(EXPERIMENTS) > 3


def test_every_part_has_its_place_in_the_order():
  assert {part(path) for path in SOURCES} <= {"__init__", *COMMON, *RANK}


@pytest.mark.parametrize("path", SOURCES, ids=identifier)
def test_imports_go_to_the_left_only(path):
  own = part(path)
  if own == "__init__":
    allowed = {"inference", "notices"}
  elif own in COMMON:
    allowed = {own}
  else:
    allowed = {*COMMON, own, *(name for name in RANK if RANK[name] < RANK[own])}
  assert parts(path) <= allowed


@pytest.mark.parametrize("path", MODELS, ids=identifier)
def test_models_import_only_jax_flax_and_themselves(path):
  allowed = {"jax", "flax", "im21k"} | sys.stdlib_module_names
  assert packages(path) <= allowed
  assert parts(path) <= {"models"}


def test_one_file_knows_the_mapped_axis():
  # The word alone, so that prose about a pmapped axis is free.
  word = re.compile(r"\b(pmap|pmean|psum)\b")
  found = {
    str(path.relative_to(ROOT))
    for path in (*SOURCES, *EXPERIMENTS)
    if word.search(path.read_text(encoding="utf-8"))
  }
  assert found == {"im21k/parallel.py"}


def test_two_files_import_orbax():
  found = files_that_import("orbax")
  assert found == {"im21k/training/checkpoint.py", "im21k/training/alone.py"}


def test_only_experiments_import_ml_collections():
  found = files_that_import("ml_collections")
  assert found
  assert {Path(name).parts[0] for name in found} == {"experiments"}


def test_nothing_imports_tensorflow():
  assert not files_that_import("tensorflow")
  # Without TensorFlow, when somebody asks for a data set that it prepared.
  found = files_that_import("tensorflow_datasets")
  assert found == {"im21k/photos/tfds.py"}


def modules_after(code):
  """Top-level packages that are loaded after `code` in a fresh process."""
  code += "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
  run = [sys.executable, "-c", code]
  return set(
    subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
  )


def test_models_alone_load_no_other_library():
  loaded = modules_after("import im21k.models")
  assert {"jax", "flax"} <= loaded
  assert not loaded & {
    "grain", "orbax", "tensorflow", "ml_collections", "array_record", "optax", "cv2",
  }  # fmt: skip


def test_training_loads_no_tensorflow():
  loaded = modules_after("import im21k.training.loop")
  assert {"grain", "orbax", "optax"} <= loaded
  assert not loaded & {"tensorflow", "tensorflow_datasets", "ml_collections"}
