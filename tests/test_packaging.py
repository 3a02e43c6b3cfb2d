"""What is needed, and what is published: requirements, licence, no strange paths."""

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Packages whose modules have other names.
MODULES = {
  "absl-py": "absl",
  "opencv-python-headless": "cv2",
  "orbax-checkpoint": "orbax",
  "pillow": "PIL",
}
# The labels of ILSVRC2012 are read out of its folder; importing it imports TensorFlow.
# Of the other, the library that it carries is opened.
READ_AS_FILES = {"tensorflow-datasets", "turbojpeg"}


def parse(requirement):
  """`jax[cuda]>=0.10,<0.13` -> its name, extra and range, without its marker."""
  requirement = requirement.partition(";")[0].strip()
  match = re.fullmatch(r"([\w.-]+)(\[\w+\])?((?:[<>=!~]=?[\w.]+,?)*)", requirement)
  assert match, requirement
  return match.groups()


@pytest.fixture(scope="module")
def required():
  """Name, extra and range of each line of requirements.txt."""
  lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
  codes = [line.partition("#")[0].strip() for line in lines]
  return [parse(code) for code in codes if code]


@pytest.fixture(scope="module")
def setup():
  config = configparser.ConfigParser()
  config.read(ROOT / "setup.cfg", encoding="utf-8")
  return config


def test_requirements_and_setup_name_the_same_packages_and_ranges(required, setup):
  listed = [
    parse(line) for line in setup["options"]["install_requires"].splitlines() if line
  ]
  assert {(name, range_) for name, _, range_ in listed} == {
    (name, range_) for name, _, range_ in required
  }
  assert not any(extra for _, extra, _ in listed)
  (cuda,) = setup["options.extras_require"]["cuda"].split()
  assert parse(cuda) in required
  assert [name for name, extra, _ in required if extra] == ["jax"]


def test_every_package_is_listed_and_the_configs_are_shipped(setup):
  rooms = {f"im21k.{p.parent.name}" for p in (ROOT / "im21k").glob("*/__init__.py")}
  packages = set(setup["options"]["packages"].split())
  assert packages == {"im21k", "im21k.configs", *rooms}
  assert "im21k.configs = experiments/configs" in setup["options"]["package_dir"]


def test_every_requirement_has_a_range_and_a_reason(required):
  lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
  for line in lines:
    assert not line or re.search(r"# [^ ].{3,}", line), line
  assert all(range_.startswith((">=", "==")) for _, _, range_ in required)


def test_tools_are_pinned_exactly(setup):
  extras = setup["options.extras_require"]
  tools = [*extras["dev"].split(), *extras["browser"].split()]
  assert tools and all(parse(tool)[2].startswith("==") for tool in tools)


def test_what_is_imported_is_required_and_what_is_required_imported(required):
  modules = set()
  for folder in ("im21k", "experiments"):
    for path in (ROOT / folder).rglob("*.py"):
      for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
          modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
          modules.add(node.module.partition(".")[0])
  # Of the extras, and of a package that is read as files too.
  extras = {"apache_beam", "multipart", "onnx", "onnxruntime", "starlette", "torch"}
  extras |= {"tensorboardX", "wandb"}
  modules -= extras | {"uvicorn", "im21k", "tensorflow_datasets"}
  modules -= sys.stdlib_module_names
  names = {name for name, _, _ in required} - READ_AS_FILES
  assert modules == {MODULES.get(name, name.replace("-", "_")) for name in names}


def test_package_that_is_only_read_is_named_where_it_is_read():
  text = (ROOT / "im21k" / "synsets" / "published.py").read_text(encoding="utf-8")
  assert '"tensorflow_datasets"' in text


def test_licence_is_apache_2_and_comes_with_the_package(setup):
  text = (ROOT / "LICENSE").read_text(encoding="utf-8")
  assert "Apache License" in text and "Version 2.0" in text
  assert setup["metadata"]["license"] == "Apache-2.0"
  for name in setup["metadata"]["license_files"].split():
    assert (ROOT / name).is_file(), name


def test_no_file_tells_where_it_was_written():
  listing = subprocess.run(
    ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT, capture_output=True, check=False,
  )  # fmt: skip
  if listing.returncode:
    pytest.skip("not a git checkout")
  names = listing.stdout.decode("utf-8").split("\0")
  places = [f"/{name}/".encode() for name in ("work", "root")]
  found = [
    (name, place.decode())
    for name in filter(None, names)
    if (path := ROOT / name).is_file()
    for place in places
    if place in path.read_bytes()
  ]
  assert len(names) > 100
  assert not found
