"""The tree of im21k/ in docs/layout.md, with the first line of each module's docstring.

    python docs/tree.py [--check]

Rooms and their order are written here; modules are read from the files. The tree stands
between `<!-- tree -->` and `<!-- /tree -->`. With `--check` nothing is written, and a
page that is not up to date is an error.
"""

import argparse
import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "layout.md"
WIDTH = 24  # of the column of names

# In the order of the data and of imports; a name is a folder or a file of im21k/.
ROOMS = {
  "files": "",
  "machine": "",
  "original": "",
  "synsets": "what is a class?",
  "interop": "other people's files: bytes <-> numpy",
  "dataset": "what is on disk between packing and loading?",
  "photos": "what is a photo, wherever it is stored?",
  "packing": "photos -> shards",
  "loading": "shards -> batches",
  "models": "Flax modules; jax and flax only",
  "weights": "the release format; how photos are prepared for it",
  "convert": "",
  "parallel": "",
  "answers": "probabilities -> what to say",
  "evaluation": "how good?",
  "training": "batches + model -> weights",
  "planning": "what fits, how fast, what limits?",
  "pages": "show me",
  "inference": "what is it?",
  "cli": "",
}
# Files that exist for Python's sake.
SILENT = ("__init__.py", "__main__.py")


def tree() -> str:
  """The tree as a Markdown block; ValueError names a room that ROOMS lacks."""
  here = {p.name.removesuffix(".py") for p in (ROOT / "im21k").iterdir() if _shown(p)}
  if unknown := here - set(ROOMS):
    raise ValueError(f"docs/tree.py does not describe {', '.join(sorted(unknown))}")
  lines = ["```", "im21k/"]
  for name in (name for name in ROOMS if name in here):
    folder = ROOT / "im21k" / name
    if not folder.is_dir():
      lines.append(_line("  ", f"{name}.py", _summary(folder.with_suffix(".py"))))
      continue
    lines.append(_line("  ", f"{name}/", ROOMS[name]))
    modules = sorted(path for path in folder.glob("*.py") if path.name not in SILENT)
    lines += (_line("    ", path.name, _summary(path)) for path in modules)
    inner = sorted(p for p in folder.iterdir() if p.is_dir() and _shown(p))
    lines += (_line("    ", f"{path.name}/", "") for path in inner)
  return "\n".join([*lines, "```", ""])


def filled(text: str) -> str:
  """The page with the tree as the files are."""
  pattern = re.compile(r"(<!-- tree -->\n).*?(<!-- /tree -->)", re.DOTALL)
  return pattern.sub(lambda match: f"{match[1]}{tree()}{match[2]}", text)


def _shown(path: Path) -> bool:
  if path.is_dir():
    return any(p.suffix != ".pyc" for p in path.rglob("*") if p.is_file())
  return path.suffix == ".py" and path.name not in SILENT


def _line(indent: str, name: str, text: str) -> str:
  return f"{indent}{name:<{WIDTH - len(indent)}} {text}".rstrip()


def _summary(path: Path) -> str:
  doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
  return doc.partition("\n")[0].rstrip(".")


def main() -> int:
  """Rewrites the page; returns 1 if `--check` finds it out of date."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--check", action="store_true", help="Write nothing.")
  check = parser.parse_args().check
  text = PAGE.read_text(encoding="utf-8")
  stale = filled(text) != text
  if stale and not check:
    PAGE.write_text(filled(text), encoding="utf-8")
  return int(check and stale)


if __name__ == "__main__":
  sys.exit(main())
