"""Wheels for a machine without a network: which to take along, and their installation.

In: requirements.txt, and a list of what the machine's image has. Out: pinned
requirements, or a folder for PYTHONPATH that leaves the image as it is.
"""

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from gpu_processes import Failed

ROOT = Path(__file__).parent.parent
# The image's own, with CUDA; and what no part of the benchmark imports.
_NOT_TAKEN = {"jax", "jaxlib", "tensorflow-datasets"}


def install(wheels: Path, target: Path) -> None:
  """Installs all wheels of a folder into another.

  Raises:
    Failed: there are none, or pip refuses them.
  """
  found = sorted(wheels.glob("*.whl"))
  if not found:
    raise Failed(f"{wheels} holds no wheels (*.whl)")
  command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index",
             "--no-deps", "--no-compile", "--no-cache-dir", "--upgrade",
             "--disable-pip-version-check", "--root-user-action=ignore",
             "--target", str(target), *map(str, found)]  # fmt: skip
  done = subprocess.run(command, capture_output=True, text=True)
  if done.returncode:
    lines = done.stderr.strip().splitlines() or ["pip printed nothing"]
    raise Failed(f"pip cannot install the wheels of {wheels}: {lines[-1]}")


def present(listing: Path | None) -> dict[str, str]:
  """Names and versions of packages; the version is empty where it is not known.

  Args:
    listing: `pip list`, `pip freeze`, or names with commas between them; None takes
      the packages of this interpreter.
  """
  if listing is None:
    return {
      _plain(one.metadata["Name"]): one.version
      for one in importlib.metadata.distributions()
    }
  found = {}
  for entry in re.split(r"[,\n]", listing.read_text(encoding="utf-8")):
    match = re.match(r"\s*([A-Za-z0-9][\w.-]*)(?:\s*==\s*|\s+|$)(\d[\w.+]*)?", entry)
    if match:
      found[_plain(match[1])] = (match[2] or "").rstrip(".")
  return found


def wanted(there: Mapping[str, str], python: str = "3.12") -> list[str]:
  """Requirements, with all that they require, that are not `there`, as `name==version`.

  The versions are those of this interpreter's packages, where it has them.

  Args:
    there: what the machine has; see `present`.
    python: its version of Python.
  """
  from packaging.requirements import Requirement

  lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
  texts = [line.partition("#")[0].strip() for line in lines]
  waiting = [(Requirement(text), ("",)) for text in texts if text]
  found: dict[str, str] = {}
  seen: set[tuple[str, tuple[str, ...]]] = set()
  while waiting:
    requirement, extras = waiting.pop(0)
    name = _plain(requirement.name)
    place = {"python_version": python, "python_full_version": f"{python}.0"}
    marker = requirement.marker
    if marker and not any(marker.evaluate({**place, "extra": e}) for e in extras):
      continue
    wanted_extras = tuple(sorted(requirement.extras))
    if name in _NOT_TAKEN or (name, wanted_extras) in seen:
      continue
    seen.add((name, wanted_extras))
    own = there.get(name)
    satisfied = own is not None and (
      not own or requirement.specifier.contains(own, prereleases=True)
    )
    if not satisfied:
      found.setdefault(name, _pinned(requirement))
    # What a package requires is there with it, but not what its extras require.
    followed = wanted_extras if satisfied else ("", *wanted_extras)
    if followed:
      waiting += [(one, followed) for one in _requires(name)]
  return sorted(found.values())


def _requires(name: str) -> list:
  from packaging.requirements import Requirement

  try:
    requirements = importlib.metadata.requires(name) or []
  except importlib.metadata.PackageNotFoundError:
    return []
  return [Requirement(text) for text in requirements]


def _pinned(requirement) -> str:
  try:
    return f"{requirement.name}=={importlib.metadata.version(requirement.name)}"
  except importlib.metadata.PackageNotFoundError:
    return f"{requirement.name}{requirement.specifier}"


def _plain(name: str) -> str:
  return re.sub(r"[-_.]+", "-", name).lower()
