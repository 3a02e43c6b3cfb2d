"""`--over KEY=A,B,C` and a number of seeds -> the runs of a sweep, each with a name.

In come a config's nested keys, settings by dotted name, and what to vary. Out come the
checked configs of all runs: every combination of values, each with the same seeds.
"""

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from im21k.training import keys
from im21k.training.config import Config
from im21k.training.values import Text, shown

SEED = "seed"
MOST_RUNS = 2_000
_MOST_PARTS = 1_000
_LONGEST_VALUE, _LONGEST_NAME = 60, 180  # Characters of a folder's name.
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._+=-]")
_OPEN, _CLOSED = "([", ")]"


@dataclasses.dataclass(frozen=True)
class Run:
  """One run of a sweep.

  Attributes:
    name: of its folder: `schedule.peak=0.1,seed=0`.
    cell: position of its values among all combinations.
    values: the values that are varied, by dotted name, as text.
    config: all that defines it.
  """

  name: str
  cell: int
  values: dict[str, str]
  config: Config

  @property
  def seed(self) -> int:
    """Its seed."""
    return self.config.seed


def over(text: str | None) -> dict[str, list[str]]:
  """The values of each key that is varied.

  Args:
    text: a line `KEY=A,B,C` for each key. Commas within brackets belong to a value;
      where a line has a semicolon, only semicolons separate.

  Raises:
    ValueError: a line is not of this form, or a key or a value comes twice.
  """
  found: dict[str, list[str]] = {}
  for line in (text or "").split("\n") if text else ():
    name, equals, rest = line.partition("=")
    if not equals or not name.strip() or not rest.strip():
      raise ValueError(f"over is {shown(line)}, but must be KEY=VALUE,VALUE,…")
    name = name.strip().removeprefix("--config.").removeprefix("config.")
    if name in found:
      raise ValueError(f"over has {name} twice: put its values in one list")
    found[name] = values = _split(name, rest)
    if len(set(values)) < len(values):
      twice = next(one for one in values if values.count(one) > 1)
      raise ValueError(f"over has {name}={twice} twice: remove one")
  return found


def _split(name: str, text: str) -> list[str]:
  """The values in `A,B,C`, `[A,B],[C]` or `A,B;C`."""
  separator = ";" if ";" in text else ","
  values, depth = [""], 0
  for character in text:
    depth += (character in _OPEN) - (character in _CLOSED)
    if character == separator and (separator == ";" or not depth):
      values.append("")
    else:
      values[-1] += character
    if depth < 0:
      break
  if depth:
    raise ValueError(f"over {name}={shown(text)[1:-1]}: brackets do not match")
  values = [value.strip() for value in values]
  if separator == ";" and not values[-1]:
    values.pop()  # `A,B;` is one value with a comma.
  if not all(values):
    raise ValueError(f"over {name} has an empty value in {shown(text)}")
  return values


def runs(
  document: Mapping[str, Any],
  settings: Mapping[str, Any],
  varied: Mapping[str, Sequence[str]],
  seeds: int,
) -> list[Run]:
  """All runs of a sweep; those of the first seed come first.

  Args:
    document: nested keys of the config.
    settings: values by dotted name, the same in all runs.
    varied: values of each key, from `over`.
    seeds: runs of each combination; the first has the seed of the config.

  Raises:
    ValueError: a key or value is wrong, as `--config.KEY=VALUE` would be; two
      combinations are the same run; or there are too many runs.
  """
  if SEED in varied:
    raise ValueError(
      "over varies seed, as --seeds does: leave it out, and set the first seed with "
      f"--config.{SEED}"
    )
  if both := [name for name in varied if name in settings]:
    raise ValueError(
      f"{both[0]} is set by --config.{both[0]} and varied by --over: remove one"
    )
  count = seeds
  for values in varied.values():
    count *= len(values)
  if seeds < 1:
    raise ValueError(f"seeds is {seeds}, but must be at least 1")
  if count > MOST_RUNS:
    raise ValueError(
      f"the sweep has {count:,} runs, but must have at most {MOST_RUNS:,}"
    )
  cells = [
    dict(zip(varied, map(Text, values), strict=True))
    for values in itertools.product(*varied.values())
  ]
  configs = [_config(document, settings, cell) for cell in cells]
  _refuse_equal(configs, cells)
  found = []
  for extra in range(seeds):
    for at, (config, cell) in enumerate(zip(configs, cells, strict=True)):
      one = config.changed({SEED: config.seed + extra})
      texts = {name: as_text(value_of(config, name)) for name in cell}
      found.append(Run(_name(texts, one.seed), at, texts, one))
  return found


def share(part: str | None, count: int) -> list[int]:
  """The positions of the runs that a part runs: `2/3` is each third from the second.

  Raises:
    ValueError: `part` is not I/N.
  """
  if part is None:
    return list(range(count))
  match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", part)
  number, of = map(int, match.groups()) if match else (0, 0)
  if not 1 <= number <= of <= _MOST_PARTS:
    raise ValueError(
      f"part is {shown(part)}, but must be I/N, from 1/N to N/N with N at most "
      f"{_MOST_PARTS:,}"
    )
  return list(range(number - 1, count, of))


def value_of(config: Config, name: str) -> Any:
  """The value of a key by dotted name, a duration's by its unit; None: it has none."""
  inner: Any = keys.document(config)
  for part in name.split("."):
    inner = inner.get(part) if isinstance(inner, Mapping) else None
  return inner


def as_text(value: Any) -> str:
  """A value of a config for people, as it can be typed."""
  if value is None or isinstance(value, bool):
    return str(value).lower()
  if isinstance(value, Mapping):
    return ",".join(f"{name}={as_text(one)}" for name, one in value.items())
  if isinstance(value, list | tuple):
    return ",".join(map(as_text, value))
  return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _config(
  document: Mapping[str, Any], settings: Mapping[str, Any], cell: Mapping[str, str]
) -> Config:
  try:
    return Config.from_dict(document, {**settings, **cell})
  except ValueError as error:
    if not cell:
      raise
    raise ValueError(f"{_shown(cell)}: {error}") from error


def _shown(cell: Mapping[str, str]) -> str:
  return " ".join(f"{name}={value}" for name, value in cell.items())


def _refuse_equal(
  configs: Sequence[Config], cells: Sequence[Mapping[str, str]]
) -> None:
  """ValueError if two combinations come to the same config."""
  seen: dict[str, Mapping[str, str]] = {}
  for config, cell in zip(configs, cells, strict=True):
    whole = json.dumps(config.resolved().to_dict(), sort_keys=True)
    if other := seen.get(whole):
      raise ValueError(
        f"{_shown(other)} and {_shown(cell)} are the same run: remove one"
      )
    seen[whole] = cell


def _name(values: Mapping[str, str], seed: int) -> str:
  """A folder's name that says what the run is."""
  parts = [f"{name}={_in_name(value)}" for name, value in values.items()]
  name = ",".join([*parts, f"{SEED}={seed}"])
  if len(name) <= _LONGEST_NAME:
    return name
  digest = _digest(name)
  return f"{name[: _LONGEST_NAME - 30]}~{digest},{SEED}={seed}"


def _in_name(value: str) -> str:
  """A value as part of a folder's name; what is replaced is told apart by a hash."""
  plain = _NOT_IN_NAMES.sub("-", value.replace(",", "+"))[:_LONGEST_VALUE]
  is_same = plain == value.replace(",", "+") and "+" not in value
  return plain if is_same else f"{plain}~{_digest(value)}"


def _digest(text: str) -> str:
  data = text.encode("utf-8", "surrogateescape")
  return hashlib.sha256(data).hexdigest()[:6]
