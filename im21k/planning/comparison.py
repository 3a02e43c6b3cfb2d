"""A config and all cards of the list -> which fit, how fast each is, what it costs.

Cards that differ in speed share a program. Measured on a narrow net, float32, jax
0.10.2: for six cards below compute capability 8.0 what the programs need differs by
less than 0.1 %, for four of 8.x by 2.5 %, and their traffic by 2 % each; between the
groups both differ by more. So a card whose memory is within `_CLOSE` of the need is
compiled for by itself. Where the program is made for the memory (remat `fit`), cards
with less than it needs have one of their own, shared by those with as much.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from im21k import words
from im21k.planning import network, prices, wording
from im21k.planning.cards import Gpu
from im21k.planning.compiled import Compiled
from im21k.planning.phased import Phased

Program = Compiled | Phased  # of one step, or of a step for each phase
_CLOSE = 0.05
_TENSOR = 8  # major capability from which XLA has other kernels for products
_COMMON = (
  "hosts", "devices", "batch", "dtype", "remat", "split_head", "jax", "examples",
  "photos", "photos_from", "total",
)  # fmt: skip
_SPEED = ("images_per_s", "images_per_s_peak", "days", "cores_to_feed")


def compare(
  compile_for: Callable[[Gpu], Program],
  cards: Sequence[Gpu],
  reserve: int,
  dollars: Mapping[str, float],
  max_days: float | None,
  adapts: bool = False,
) -> dict[str, Any]:
  """Plans one config for many cards.

  Args:
    compile_for: compiles the step for a card.
    cards: the cards, none twice.
    reserve: bytes of each card's memory to leave free.
    dollars: dollars an hour of a card, by name.
    max_days: leave out cards that may take longer.
    adapts: whether `compile_for` makes another program for less memory.

  Returns:
    What is common to all; `gpus`, a row for each card, the fastest first and those that
    do not fit last; `slower`, the number left out; `not_compiled`, reasons by card.

  Raises:
    ValueError: no card has a program; the reason is that of the first.
  """
  rows: list[dict[str, Any]] = []
  common: dict[str, Any] = {}
  refused: dict[str, str] = {}
  for group in _groups(cards, refused):
    try:
      shared = compile_for(group[0])
      for card in group:
        one, compiled_for = _for_card(compile_for, shared, card, reserve, adapts)
        if adapts:
          shared = one if compiled_for == card.name else shared
        brief = one.brief()
        common = {key: brief[key] for key in _COMMON}
        if brief["hosts"] > 1:
          common["network_gbit_s"] = brief["network_gbit_s"]
        rows.append(_row(brief, compiled_for, dollars.get(card.name)))
    except ValueError as error:
      done = {row["gpu"] for row in rows}
      refused |= {card.name: str(error) for card in group if card.name not in done}
  if not rows:
    raise ValueError(next(iter(refused.values()), "there are no cards"))
  kept = [r for r in rows if not (r["fits"] and max_days and r["days"][1] > max_days)]
  kept.sort(key=lambda r: (not r["fits"], -(r["images_per_s_peak"] or 0), r["gpu"]))
  slower = len(rows) - len(kept)
  return {**common, "gpus": kept, "slower": slower, "not_compiled": refused}


def text(r: dict[str, Any]) -> str:
  """Formats the result of `compare` for reading."""
  priced = any(row.get("dollars") for row in r["gpus"])
  lines = [
    f"{wording.hosts(r)}{r['devices']} of each, {words.counted(r['batch'], 'image')} "
    f"each, {r['dtype']}, for {wording.work(r)} (jax {r['jax']})",
    *_network(r),
    "",
    f"{'card':<16}{'MiB needed':>11}{'of':>9}  {'images/s':<18}{'time':<24}"
    f"{'cores':>6}{'  cost' if priced else ''}".rstrip(),
  ]
  lines += [_line(row) for row in r["gpus"]]
  if r["slower"]:
    lines += ["", f"left out as too slow: {words.counted(r['slower'], 'card')}"]
  lines += [f"no program for {name}: {why}" for name, why in r["not_compiled"].items()]
  return "\n".join(lines)


def _network(r: dict[str, Any]) -> list[str]:
  if r["hosts"] == 1:
    return []
  return [f"a network of {network.shown(r['network_gbit_s'])} each way of each host"]


def _line(row: dict[str, Any]) -> str:
  line = f"{row['gpu']:<16}{row['needed_mib']:>11,.0f}{row['limit_mib']:>9,.0f}  "
  if not row["fits"]:
    return line + "DOES NOT FIT"
  low, high = row["images_per_s"]
  line += f"{f'{low:,.0f} to {high:,.0f}':<18}{wording.duration(*row['days']):<24}"
  line += f"{row['cores_to_feed']:>6.1f}"
  return line + (f"  {prices.text(row['dollars'])}" if row["dollars"] else "")


def _groups(cards: Sequence[Gpu], refused: dict[str, str]) -> list[list[Gpu]]:
  """Cards that share a program, each group's largest first; others are `refused`."""
  groups: dict[int, list[Gpu]] = {}
  for card in cards:
    try:
      card.check_supported()
    except ValueError as error:
      refused[card.name] = str(error)
      continue
    major, _ = card.capability
    groups.setdefault(major if major >= _TENSOR else 0, []).append(card)
  return [sorted(group, key=lambda c: -c.memory_gib) for group in groups.values()]


def _for_card(
  compile_for: Callable[[Gpu], Program],
  shared: Program,
  card: Gpu,
  reserve: int,
  adapts: bool,
) -> tuple[Program, str]:
  """The step on a card, and the name of the card that it was compiled for."""
  limit = card.memory - reserve
  if card == shared.card:
    return shared, card.name
  close = abs(shared.needed - limit) <= _CLOSE * shared.needed
  as_much = adapts and shared.limit == limit  # It was made for this memory.
  if (close or (adapts and shared.needed > limit)) and not as_much:
    return compile_for(card), card.name
  return shared.on(card, limit), shared.card.name


def _row(
  brief: dict[str, Any], compiled_for: str, dollars: float | None
) -> dict[str, Any]:
  row = {key: brief[key] for key in ("gpu", "fits", "needed_mib", "limit_mib")}
  row["compiled_for"] = compiled_for
  if not brief["fits"]:  # Its speed would be that of a program that cannot run.
    return row | dict.fromkeys((*_SPEED, "dollars"))
  row |= {key: brief[key] for key in _SPEED}
  paid = (
    None
    if dollars is None
    else prices.cost(dollars, brief["hosts"] * brief["devices"], row["days"])
  )
  return row | {"dollars": paid}
