"""Parts of docs/ that are made from the code: the tree of modules, the config keys.

    python docs/generate.py [--check]

Between `<!-- tree -->` and `<!-- /tree -->` of layout.md: rooms in the order written
here, their modules from the files, each with the first line of its docstring. Between
`<!-- keys -->` and `<!-- /keys -->` of training.md: what `im21k configs --keys` lists.
With `--check` nothing is written, and a page that is not up to date is an error.
"""

import argparse
import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "docs" / "layout.md", ROOT / "docs" / "training.md")
WIDTH = 24  # of the column of names

# In the order of the data and of imports; a name is a folder or a file of im21k/.
ROOMS = {
  "documents": "",
  "fields": "",
  "files": "",
  "lock": "",
  "machine": "",
  "notices": "",
  "original": "",
  "targets": "",
  "words": "",
  "synsets": "what is a class?",
  "interop": "other people's files: bytes <-> numpy",
  "dataset": "what is on disk between packing and loading?",
  "photos": "what is a photo, wherever it is stored?",
  "packing": "photos -> shards",
  "loading": "shards -> batches",
  "models": "Flax modules; jax and flax only",
  "weights": "the release format; how photos are prepared for it",
  "convert": "the models of 2015, in and out",
  "parallel": "",
  "xla": "",
  "hosts": "several hosts as one",
  "answers": "probabilities -> what to say",
  "evaluation": "how good?",
  "features": "photos -> vectors, and what they are worth",
  "training": "batches + model -> weights",
  "planning": "what fits, how fast, what limits?",
  "pages": "show me",
  "comparing": "which setting is better?",
  "finetuning": "weights and photos of other classes -> weights for these",
  "inference": "what is it?",
  "serving": "a page and JSON on this machine",
  "export": "weights -> programs for other software",
  "terminal": "",
  "log_lines": "",
  "command_line": "",
  "usage": "",
  "cli": "",
}
# Files that exist for Python's sake.
SILENT = ("__init__.py", "__main__.py")


def tree() -> str:
  """The tree as a Markdown block; ValueError names a room that ROOMS lacks."""
  here = {p.name.removesuffix(".py") for p in (ROOT / "im21k").iterdir() if _shown(p)}
  if unknown := here - set(ROOMS):
    raise ValueError(f"docs/generate.py does not describe {', '.join(sorted(unknown))}")
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


def keys() -> str:
  """The config keys as a Markdown table."""
  from im21k.training import run  # jax: only where it is needed

  rows = [
    (f"`{k['key']}`", " ".join(filter(None, (k["type"], _unit(k)))), k["default"],
     k["on resume"], k["text"])
    for k in run.describe()
  ]  # fmt: skip
  head = ("key", "type", "default", "on resume", "description")
  lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
  return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:], ""])


def filled(text: str) -> str:
  """A page with its tree and its keys as the code is."""
  for name, make in (("tree", tree), ("keys", keys)):
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if start in text:
      before, rest = text.split(start, 1)
      text = f"{before}{start}{make()}{end}{rest.split(end, 1)[1]}"
  return text


def _unit(key: dict[str, str]) -> str:
  return f"({key['unit']})" if key["unit"] else ""


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
  """Rewrites the pages; returns 1 if `--check` finds one out of date."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--check", action="store_true", help="Write nothing.")
  check = parser.parse_args().check
  stale = False
  for page in PAGES:
    text = page.read_text(encoding="utf-8")
    if (new := filled(text)) != text:
      stale = True
      if not check:
        page.write_text(new, encoding="utf-8")
  return int(check and stale)


if __name__ == "__main__":
  sys.exit(main())
