"""Rows of benchmarks/results/recipe.jsonl -> the pictures of recipe.md, in `recipe/`.

python docs/recipe.py
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent
RESULTS, PICTURES = ROOT / "benchmarks/results/recipe.jsonl", ROOT / "docs/recipe"
COLORS = ("#4477aa", "#cc6677", "#228833", "#aa3377")
BASE_PHOTOS, BASE_PASSES, BASE_WIDTH = 100, 9, 0.125

Row = dict[str, Any]


def main() -> None:
  """Draws what has been measured."""
  lines = RESULTS.read_text(encoding="utf-8").splitlines()
  rows = [json.loads(line) for line in lines]
  mpl.rcParams["svg.hashsalt"] = "im21k"  # The same rows, the same bytes.
  PICTURES.mkdir(exist_ok=True)
  of = {name: [row for row in rows if row["table"] == f"recipe-{name}"] for name in (
    "screen", "around", "scale",
  )}  # fmt: skip
  save(gains(of["screen"], of["around"]), "gains.svg")
  if of["scale"]:
    save(scale(of["scale"]), "scale.svg")


def save(figure: Figure, name: str) -> None:
  """Writes a picture that does not say when."""
  figure.savefig(PICTURES / name, metadata={"Date": None})


def gains(screen: list[Row], around: list[Row]) -> Figure:
  """Gain of each recipe over its reference, means and deviations of pairs of seeds."""
  screen = [row for row in screen if row["gain_std"] is not None and row["gain"]]
  figure = Figure(figsize=(9, 1.6 + 0.24 * (len(screen) + len(around))))
  figure.set_layout_engine("constrained")
  upper, lower = figure.subplots(
    2, height_ratios=(len(screen) + 1, max(1, len(around)) + 1)
  )
  _forest(upper, screen, "one part changed in the base")
  _forest(lower, around, "one part less or more than all together")
  lower.set_xlabel("gain in held-out top-1, percentage points")
  return figure


def _forest(axes: Axes, rows: list[Row], title: str) -> None:
  rows = sorted(rows, key=lambda row: row["gain"])
  for at, row in enumerate(rows):
    kept = abs(row["gain"]) >= row["gain_std"]
    color = "#888888" if not kept else COLORS[0] if row["gain"] > 0 else COLORS[1]
    axes.errorbar(row["gain"], at, xerr=row["gain_std"], fmt="o", color=color)
    axes.annotate(
      f"{row['gain']:+.2f}", (row["gain"] + row["gain_std"], at), xytext=(6, -3),
      textcoords="offset points", size=8, color=color,
    )  # fmt: skip
  axes.axvline(0, color="#bbbbbb", lw=1, zorder=0)
  axes.set_yticks(range(len(rows)), [row["recipe"] for row in rows])
  axes.set_ylim(-0.8, len(rows) - 0.2)
  axes.margins(x=0.12)
  axes.set_title(title, loc="left", size=10)
  axes.spines[["top", "right"]].set_visible(False)


def scale(rows: list[Row]) -> Figure:
  """Top-1 over arithmetic for widths and passes, and over photos a class."""
  figure = Figure(figsize=(9, 4), layout="constrained")
  left, right = figure.subplots(1, 2, sharey=True)
  of_widths = [row for row in rows if row["photos"] == BASE_PHOTOS]
  for width, color in zip(
    sorted({r["width"] for r in of_widths}), COLORS, strict=False
  ):
    own = [row for row in of_widths if row["width"] == width]
    own.sort(key=lambda row: row["passes"])
    work = [row["passes"] * row["mflop"] for row in own]
    least = min(row["passes"] * row["mflop"] for row in of_widths)
    x = [one / least for one in work]
    _line(left, x, own, color, f"width {width:g}")
    for at, row in zip(x, own, strict=True):
      left.annotate(
        f"{row['passes']:g}", (at, row["top_1"]), xytext=(5, -9),
        textcoords="offset points", size=8, color=color,
      )  # fmt: skip
  left.set(xscale="log", xlabel="arithmetic, times the least", ylabel="top-1, %")
  left.xaxis.set_major_formatter("{x:g}")
  left.set_title("numbers: passes over 100 photos a class", loc="left", size=10)
  left.legend(frameon=False)
  kinds: tuple[tuple[str, Callable[[Row], bool]], ...] = (
    ("9 passes", lambda row: row["passes"] == BASE_PASSES),
    (
      "as many steps as 9 passes over 100",
      lambda row: abs(row["passes"] * row["photos"] - BASE_PASSES * BASE_PHOTOS) < 1,
    ),
  )
  for (label, belongs), color in zip(kinds, COLORS, strict=False):
    own = [row for row in rows if row["width"] == BASE_WIDTH and belongs(row)]
    own.sort(key=lambda row: row["photos"])
    _line(right, [row["photos"] for row in own], own, color, label)
  right.set(xscale="log", xlabel="photos a class")
  right.set_xticks(sorted({row["photos"] for row in rows}))
  right.xaxis.set_major_formatter("{x:g}")
  right.minorticks_off()
  right.set_title(f"width {BASE_WIDTH}", loc="left", size=10)
  right.legend(frameon=False)
  for axes in (left, right):
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
  return figure


def _line(axes: Axes, x: list[float], rows: list[Row], color: str, label: str) -> None:
  y, spread = [r["top_1"] for r in rows], [r["top_1_std"] or 0 for r in rows]
  axes.errorbar(x, y, yerr=spread, fmt="o-", color=color, label=label, ms=4)


if __name__ == "__main__":
  main()
