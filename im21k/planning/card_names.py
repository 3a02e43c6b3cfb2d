"""A card's name as shops, drivers and clouds write it -> its name in the card list.

"NVIDIA GeForce RTX 4090" is `rtx4090`, "Tesla P100-PCIE-16GB" is `p100`. Nothing is
guessed: a name that several cards have, or a detail that no card has, is an error.
"""

import difflib
import re

from im21k.planning import datasheets

# Makers and product lines, which tell no two cards of the list apart.
_IDLE = {"nvidia", "corporation", "geforce", "tesla", "graphics", "gpu", "card"}
# What a name says beside the model: memory, its kind, board, laptop, generation.
_DETAIL = re.compile(
  r"\d+gb|hbm\d?e?|gddr\dx?|pcie|sxm\d?|nvl|laptop|mobile|maxwell|pascal"
)
_MEMORY = re.compile(r"(\d+)\s*gi?b\b")
_TITLES = {"gtxtitanx": "titanx-maxwell"}  # Only Maxwell's was sold as a GeForce GTX.


def find(name: str) -> str:
  """The name in the card list of a card whose name is written out.

  Raises:
    ValueError: there is no such card, or several; offers the nearest.
  """
  model, details = _parts(name)
  if model in _TITLES:
    listed, own = _parts(_TITLES[model])
    model, details = listed, details | own
  same = {
    known: own
    for known in datasheets.ROWS
    for listed, own in [_parts(known)]
    if listed == model
  }
  if not same:
    raise ValueError(f"no card and no file is named {name!r}{_nearest(name)}")
  if not details and model in same:
    return model
  fitting = [known for known in same if details <= _details(known)]
  if len(fitting) == 1 and details and same[fitting[0]] <= details:
    return fitting[0]
  choices = ", ".join(f"{k} ({datasheets.ROWS[k][0]})" for k in fitting or same)
  if fitting:
    raise ValueError(f"{name!r} does not say which card it is: give one of {choices}")
  raise ValueError(f"no card and no file is named {name!r}; the nearest: {choices}")


def _parts(name: str) -> tuple[str, set[str]]:
  """The model, such as `rtx4090`, and the details that a name gives."""
  words = re.split(r"[^a-z0-9]+", _MEMORY.sub(r"\1gb", name.lower()))
  words = [word for word in words if word not in _IDLE]
  details = {word for word in words if _DETAIL.fullmatch(word)}
  return "".join(word for word in words if word not in details), details


def _details(known: str) -> set[str]:
  """All that may be said of a card of the list."""
  return set(datasheets.ROWS[known][-2].split()) | _parts(known)[1]


def _nearest(name: str) -> str:
  model, details = _parts(name)
  written = "-".join([model, *sorted(details)])
  close = difflib.get_close_matches(written, datasheets.ROWS, n=3, cutoff=0.5)
  if close:
    return "; did you mean " + " or ".join(map(repr, close)) + "?"
  return "; `im21k plan --list` shows the cards"
