"""The names of sets of held-out photos, in the key `eval_data` and in rows of metrics.

In comes what the key holds. Out come folders by name, and keys of rows: `eval_top_1`
for the set that the best checkpoint goes by, `eval_v2_top_1` for a further set `v2`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

# The set of a folder without a name, and that by which the best checkpoint is kept
# where `data` holds nothing out. The order of a dict says nothing: ConfigDict sorts.
MAIN = "val"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,23}")
_TOP_1 = re.compile(r"eval_(?:(.+)_)?top_1")
SCORES = ("loss", "top_1", "top_5", "top_20")


def checked(folders: str | Mapping[str, str] | None) -> dict[str, str]:
  """Folders by name of the key `eval_data`; ValueError if a name or folder is none."""
  named = {MAIN: folders} if isinstance(folders, str) else dict(folders or {})
  for name, folder in named.items():
    if not _NAME.fullmatch(name):
      raise ValueError(
        f"eval_data names a set {name[:60]!r}, but a name is a letter and up to 23 "
        "letters, digits, - or _"
        + ("" if "/" not in name else "; set eval_data.val=FOLDER for a path with a =")
      )
    if not folder:
      raise ValueError(f"eval_data.{name} is empty: name a folder of packed photos")
  return named


def main_of(named: Mapping[str, str]) -> str | None:
  """The set that the best checkpoint goes by if `data` holds nothing out."""
  if not named:
    return None
  if len(named) > 1 and MAIN not in named:
    raise ValueError(
      f"eval_data has the sets {', '.join(named)}, and data holds no photos out: call "
      f"the one {MAIN} that the best checkpoint goes by"
    )
  return MAIN if MAIN in named else next(iter(named))


def names_in(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
  """Keys of top-1 in rows of metrics -> what the set is called; the main one first."""
  names: dict[str, str] = {}
  for row in rows:
    for key in row:
      if key not in names and (match := _TOP_1.fullmatch(key)):
        names[key] = match[1] or row.get("eval_set") or "held out"
  return dict(sorted(names.items(), key=lambda pair: pair[0] != "eval_top_1"))
