"""A config and a compiler -> memory and speed by batch, dtype and remat policy."""

from pathlib import Path
from typing import Any

from im21k import files
from im21k.models import remat as remats
from im21k.planning.compiler import Compiler
from im21k.training.config import Config

BATCHES = (32, 64, 128, 256)
DTYPES = ("float32", "bfloat16")
_COLUMNS = (
  "dtype", "remat", "batch", "needed_mib", "peak_mib", "fits", "recomputed_share",
  "overlapped_share", "images_per_s", "images_per_s_peak", "days",
)  # fmt: skip
_RANGES = ("images_per_s", "days")  # two columns each in the file


def sweep(compiler: Compiler, experiment: Config, folder: Path) -> dict[str, Any]:
  """Compiles all combinations and writes table.tsv and table.png.

  Returns:
    `rows`, one for each combination, and `files`, the paths of the two files.
  """
  wanted = []
  for dtype in DTYPES:
    for remat in remats.POLICIES:
      one = experiment.changed({"model.dtype": dtype, "model.remat": remat})
      wanted += [(one, batch) for batch in BATCHES]
  rows = [compiled.report() for compiled in compiler.compile_all(wanted)]
  rows = [{key: row[key] for key in _COLUMNS} for row in rows]
  flat = [_flat(row) for row in rows]
  lines = ["\t".join(flat[0]), *("\t".join(map(str, row.values())) for row in flat)]
  tsv, chart = folder / "table.tsv", folder / "table.png"
  files.write_text(tsv, "\n".join(lines) + "\n")
  draw(chart, rows, compiler)
  return {"rows": rows, "files": [str(tsv), str(chart)]}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
  """A row whose ranges are two columns, such as `days_low` and `days_high`."""
  cells: dict[str, Any] = {}
  for key, value in row.items():
    if key in _RANGES:
      cells[f"{key}_low"], cells[f"{key}_high"] = value
    else:
      cells[key] = value
  return cells


def table(rows: list[dict[str, Any]]) -> str:
  """Formats MiB needed by batch; what does not fit is in brackets."""
  lines = [f"{'MiB needed':<20}" + "".join(f"{b:>9}" for b in BATCHES)]
  for dtype in DTYPES:
    for remat in remats.POLICIES:
      cells = [r for r in rows if (r["dtype"], r["remat"]) == (dtype, remat)]
      sizes = [f"{r['needed_mib']:.0f}" for r in cells]
      marked = [s if r["fits"] else f"({s})" for s, r in zip(sizes, cells, strict=True)]
      lines.append(f"{dtype:<10}{remat:<10}" + "".join(f"{m:>9}" for m in marked))
  return "\n".join(lines)


def draw(path: Path, rows: list[dict[str, Any]], compiler: Compiler) -> None:
  """Draws memory against batch, a line for each dtype and policy, and the limit."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(8, 5), layout="constrained")
  axes = figure.subplots()
  for color, dtype in enumerate(DTYPES):
    for style, remat in zip(("-", "--", ":"), remats.POLICIES, strict=True):
      line = [r for r in rows if (r["dtype"], r["remat"]) == (dtype, remat)]
      axes.plot(
        [r["batch"] for r in line],
        [r["needed_mib"] / 1024 for r in line],
        linestyle=style,
        color=f"C{color}",
        marker="o",
        label=f"{dtype}, remat {remat}",
      )
  limit = compiler.limit / 2**30
  axes.axhline(limit, color="black", linewidth=1)
  axes.annotate(f"{compiler.card.name}, less the reserve", (BATCHES[0], limit * 1.05))
  axes.set_xscale("log", base=2)
  axes.set_yscale("log", base=2)
  axes.set_xticks(BATCHES, [str(b) for b in BATCHES])
  axes.yaxis.set_major_formatter("{x:g}")
  axes.set_xlabel("images a GPU and step")
  axes.set_ylabel("GiB needed on each GPU")
  axes.grid(alpha=0.3)
  axes.legend()
  with files.whole(path) as aside:
    figure.savefig(aside, format="png", dpi=110)
