"""Rows of `gpu.py` -> which claims hold on this card, and which do not.

Pure functions of rows. A claim that no row speaks of is not measured.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
PEAK, WAIT, IMAGES_PER_S, COPIES = 0.05, 0.05, 6000, 0.9
WORDS = {True: "holds", False: "DISPROVED", None: "not measured"}
REAL = (1 / 2, 2 / 3)  # Share of `plan`'s peak estimate that real cards reach.


@dataclasses.dataclass(frozen=True)
class Claim:
  """A claim, what was measured, and whether it holds; None: not measured."""

  part: str
  claim: str
  measured: str
  holds: bool | None


def estimated_range(report: dict[str, Any]) -> tuple[float, float] | None:
  """The images/s that `plan` expects: its range, or that which its text states."""
  for key in ("images_per_s_range", "images_per_s"):
    value = report.get(key)
    if isinstance(value, list | tuple) and len(value) == 2:
      return float(value[0]), float(value[1])
  value = report.get("images_per_s")
  if not isinstance(value, int | float):
    return None
  return value * REAL[0], value * REAL[1]


def peak_estimate(report: dict[str, Any]) -> float | None:
  """Images/s at the card's peak arithmetic and bandwidth: the program's roofline."""
  for key in ("images_per_s_peak", "images_per_s"):
    if isinstance(report.get(key), int | float):
      return float(report[key])
  return None


def card_name(kind: str, names: Sequence[str]) -> str | None:
  """The card of `planning.cards` that a device kind names, the longest that fits."""
  words = re.findall(r"[a-z0-9]+", kind.lower())
  spoken = {
    "".join(words[begin:end])
    for begin in range(len(words))
    for end in range(begin + 1, len(words) + 1)
  }
  fitting = [name for name in names if re.sub(r"[^a-z0-9]", "", name.lower()) in spoken]
  return max(fitting, key=len, default=None)


def claims(rows: Sequence[Row], kind: str) -> list[Claim]:
  """All claims, in the order of the parts.

  Args:
    rows: those of this run.
    kind: name of the device.
  """
  found = (
    *_plan(_of(rows, "gpu-plan")),
    *_limits(_of(rows, "gpu-limits")),
    *_speed(_of(rows, "gpu-speed"), kind),
    _all(
      "d", f"waiting for data ≤ {WAIT:.0%} of a run", _of(rows, "gpu-feed"),
      lambda row: row["data_wait_share"] <= WAIT,
      lambda row: f"{row['data_wait_share']:.1%}",
    ),
    *(
      _all(
        "e", claim, [r for r in _of(rows, "gpu-restart") if r["what"] == what],
        lambda row: row["same_bits"],
        lambda row: "the same" if row["same_bits"] else "different",
      )
      for what, claim in RESTARTS.items()
    ),
    _all(
      "f", f"copies of batches ≥ {COPIES:.0%} beside computation",
      _of(rows, "gpu-trace"),
      lambda row: row["copies_beside_compute"] >= COPIES,
      lambda row: f"{row['copies_beside_compute']:.1%}",
    ),
  )  # fmt: skip
  return list(found)


RESTARTS = {
  "repeated": "an unbroken run repeated ends in the same bits",
  "restarted": "a killed and restarted run ends in the same bits",
  "compiled again": "a run that compiles again ends in the same bits",
}


def _plan(rows: list[Row]) -> list[Claim]:
  peaks = [r for r in rows if r.get("peak_mib") and r.get("needed_mib")]
  ranges = [r for r in rows if r.get("estimate_low")]
  return [
    _all(
      "a", f"peak within {PEAK:.0%} of the estimate", peaks,
      lambda row: abs(row["peak_mib"] / row["needed_mib"] - 1) <= PEAK,
      lambda row: f"{row['peak_mib'] / row['needed_mib'] - 1:+.1%}",
    ),
    _all(
      "a", "images/s within the estimated range", ranges,
      lambda row: row["estimate_low"] <= row["images_per_s"] <= row["estimate_high"],
      lambda row: (
        f"{row['images_per_s']:,.0f} for {row['estimate_low']:,.0f} to "
        f"{row['estimate_high']:,.0f}"
      ),
    ),
  ]  # fmt: skip


def _limits(rows: list[Row]) -> list[Claim]:
  found = []
  for mib in sorted({row["limit_mib"] for row in rows}, reverse=True):
    own = [row for row in rows if row["limit_mib"] == mib]
    found += [
      _all(
        "b", f"{mib:,} MiB: the planned batch trains with the same loss", own,
        lambda row: row["trained"] and row["same_losses"],
        lambda row: f"batch {row['batch']}: " + (
          "same losses" if row["same_losses"] else
          "other losses" if row["trained"] else "out of memory"
        ),
      ),
      _all(
        "b", f"{mib:,} MiB: the limit binds", own,
        lambda row: row["array_refused"] and row["too_large_refused"],
        lambda row: (
          f"an array of {row['limit_mib'] + 64:,} MiB "
          f"{'refused' if row['array_refused'] else 'allocated'}, "
          f"{row['too_large']} "
          f"{'refused' if row['too_large_refused'] else 'trained'}"
        ),
      ),
    ]  # fmt: skip
  return found or [Claim("b", "planned batches train in limited memory", "", None)]


def _speed(rows: list[Row], kind: str) -> list[Claim]:
  ours = [row for row in rows if row["net"] == "im21k"]
  bf16 = [row for row in ours if row["dtype"] == "bfloat16"]
  found = [
    _all(
      "c", f"{dtype}: ahead of PyTorch",
      [r for r in ours if r["dtype"] == dtype and r.get("relative")],
      lambda row: row["relative"] > 1,
      lambda row: f"{row['relative']:.2f} times {row['against']}",
    )
    for dtype in ("bfloat16", "float32")
  ]  # fmt: skip
  if "H100" in kind:
    claim = f"bfloat16 on one H100: ≥ {IMAGES_PER_S:,} images/s"
    found.append(
      _all(
        "c", claim, bf16, lambda row: row["images_per_s"] >= IMAGES_PER_S,
        lambda row: f"{row['images_per_s']:,.0f}",
      )
    )  # fmt: skip
  return found


def _all(part: str, claim: str, rows: list[Row], holds: Any, text: Any) -> Claim:
  """A claim about each of several rows; those that disprove it come first."""
  if not rows:
    return Claim(part, claim, "", None)
  wrong = [row for row in rows if not holds(row)]
  shown = [text(row) for row in wrong or rows]
  measured = "; ".join(shown)
  if len(rows) > 1:
    measured = f"{len(rows) - len(wrong)} of {len(rows)}: {measured}"
  return Claim(part, claim, measured, not wrong)


def _of(rows: Sequence[Row], table: str) -> list[Row]:
  return [row for row in rows if row["table"] == table]


def summary(found: Sequence[Claim]) -> str:
  """The claims, for reading."""
  lines = [
    f"({one.part}) {WORDS[one.holds]:<12}  {one.claim}"
    + (f": {one.measured}" if one.measured else "")
    for one in found
  ]
  counts = [sum(one.holds is value for one in found) for value in WORDS]
  met, disproved, unmeasured = counts
  lines.append(f"{met} met, {disproved} disproved, {unmeasured} not measured")
  return "\n".join(lines)
