"""Rows of benchmarks/results/*.jsonl -> the Markdown tables of README.md and docs/.

    python benchmarks/tables.py [--check]

A page holds a table between `<!-- table: NAME -->` and `<!-- /table -->`; what stands
there is replaced by the rows whose `table` is NAME and a line with their source,
command, machine and date. With `--check` nothing is written, and a page that is not up
to date is an error. Add a measurement: append its row to a file in results/ (`table`,
the columns, `source`, `command`, `machine`, `software`, `date`), then run this script.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (
  ROOT / "README.md",
  ROOT / "benchmarks" / "README.md",
  ROOT / "experiments" / "speedrun" / "README.md",
  *sorted((ROOT / "docs").glob("*.md")),
)
ABOUT = ("source", "command", "machine", "software", "date")
_LEAST_SEEDS = 3  # Two say little of a deviation.
_MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)

Row = dict[str, Any]
# A heading, and the cell: a format of the row's fields, or a function of the row. A
# cell is empty where the row lacks one of its fields.
Columns = dict[str, str | Callable[[Row], str]]


def _over(speed: str) -> Callable[[Row], str]:
  """Step, waiting and days over a network; of one host, no network waits."""

  def cell(row: Row) -> str:
    if row["hosts"] == 1 and speed != _SPEEDS[0]:
      return "the same"
    found = row[speed]
    low, high = found["ms"]
    return f"{low:,} to {high:,} ms, {found['waiting']:.0f} %, {found['time']}"

  return cell


_RECIPES: Columns = {
  "recipe": "{recipe}",
  "seeds": "{seeds}",
  "top-1 %": "{top_1:.2f} ± {top_1_std:.2f}",
  "gain": lambda row: _gain(row),
  "deviations": lambda row: _deviations(row),
  "top-5 %": "{top_5:.2f} ± {top_5_std:.2f}",
  "loss": "{loss:.3f}",
  "levels to the truth": "{distance:.2f}",
  "processor s": "{processor_s:,}",
}

# Gbit/s of a network, as keys of a row: step, waiting and days over it.
_SPEEDS = ("1", "10", "25", "100")

TABLES: dict[str, Columns] = {
  "recipe-screen": _RECIPES,
  "recipe-around": _RECIPES,
  "recipe-confirm": _RECIPES,
  "recipe-scale": {
    "width": "{width}",
    "photos a class": "{photos}",
    "passes": "{passes:g}",
    "top-1 %": "{top_1:.2f}",
    "top-5 %": "{top_5:.2f}",
    "loss": "{loss:.3f}",
    "MFLOP a photo": "{mflop:.1f}",
    "processor s": "{processor_s:,}",
  },
  "speedrun": {
    "record": "{record}",
    "what it changed": "{what}",
    "processor s": "{processor_s:,} ± {processor_s_std}",
    "top-1 %": "{top_1:.2f} ± {top_1_std:.2f}",
    "commit": "`{commit}`",
  },
  "accuracy": {
    "net": "{net}",
    "data": "{data}",
    "where": "{where}",
    "top-1": "{top_1:.1f}",
    "top-5": "{top_5:.1f}",
    "top-20": "{top_20:.1f}",
  },
  "train-cpu": {
    "batch": "{batch}",
    "by wall time": "{relative:.2f} (best round {best_round:.2f})",
    "by processor time": "{relative_cpu:.2f}",
    "im21k": "{images_per_s:.2f}/s",
    "PyTorch": "{torch_images_per_s:.2f}/s",
  },
  "train-cpu-where": {
    "kind of work": "{where}",
    "ms": "{ms:,.0f}",
    "share": "{share:.1%}",
  },
  "plan-cards": {
    "card": "{card}",
    "dtype": "{dtype}",
    "fastest: images each": "{batch}",
    "remat": "{remat}",
    "MiB needed": "{mib:,}",
    "images/s (estimate)": "{images_per_s[0]:,} to {images_per_s[1]:,}",
    "9 passes (estimate)": "{days[0]} to {days[1]} days",
    "largest batch each": "{largest_batch}",
  },
  "plan-fit": {
    "images each": "{batch}",
    "remat": "{remat}",
    "needed": "{mib:,} MiB",
    "recomputed": "{recomputed:g} %",
    "beside backprop": "{overlapped:g} %",
    "traffic an image": "{traffic_mib} MiB",
    "images/s (estimate)": "{images_per_s[0]} to {images_per_s[1]}",
  },
  "plan-hosts": {
    "card, dtype": "{gpu}, {dtype}",
    "hosts": "{hosts}",
    "images a step": "{images:,}",
    **{f"{speed} Gbit/s": _over(speed) for speed in _SPEEDS},
  },
  "plan-hosts-ways": {
    "card, dtype": "{gpu}, {dtype}",
    "way": "{way}",
    "MB sent a step": "{mb}",
    "MiB needed": "{mib:,}",
    **{f"{speed} Gbit/s": _over(speed) for speed in _SPEEDS},
  },
  "plan-hosts-overlap": {
    "compiled for": "{hosts} hosts of {devices}",
    "gradients": "{gradient_mb} MB in {collectives} collectives",
    "asynchronous": "{asynchronous}",
    "bytes beside backprop": "{overlapped} %",
  },
  "plan-overlap": {
    "batch, dtype, card": "{batch} {dtype}, {gpu}{note}",
    "XLA's peak": "{peak_mib:,} MiB",
    "needed": "{mib:,} MiB",
    "recomputed": "{recomputed:.1f} %",
    "beside backprop": "{overlapped:.1f} %",
    "exposed": "{exposed:.2f} %",
  },
  "plan-steps": {
    "program": "{program}",
    "XLA's peak": "{peak_mib:,} MiB{note}",
    "beside backprop": "{overlapped:g} %{overlapped_note}",
  },
  "golden": {
    "": "{what}",
    "wide": "{wide:.1e}",
    "plain": "{plain:.1e}",
    "limit": "{limit:.0e}",
  },
  "fuzz": {
    "reader": "`.{reader}`",
    "executions": "{executions:,}",
    "a second": "{executions_per_second:,}",
    "peak": "{peak_mib} MiB",
    "findings": "{findings}",
  },
  "fuzz-images": {
    "pictures": "{executions:,}",
    "a second": "{executions_per_second:,}",
    "accepted": "{accepted:.0%}",
    "longest": "{slowest_s} s",
    "peak": "{peak_mib} MiB",
    "findings": "{findings}",
  },
  "fuzz-records": {
    "reader": "{reader}",
    "executions": "{executions:,}",
    "a second": "{executions_per_second:,}",
    "refused": "{refused:.0%}",
    "read with bytes lost": "{damaged:.0%}",
    "longest": "{slowest_s} s",
    "peak": "{peak_mib} MiB",
    "findings": "{findings}",
  },
  "fuzz-formats": {
    "file": "`{reader}`",
    "cases": "{executions:,}",
    "a second": "{executions_per_second:,}",
    "memory": "{peak_mib} MiB",
    "slowest": "{slowest_s:.2f} s",
    "findings": "{findings}",
  },
  "fuzz-runs": {
    "checkpoints: the newest": "{newest:,}",
    "the one before": "{before:,}",
    "configs: read": "{config_read:,}",
    "refused": "{config_refused:,}",
    "memory": "{peak_mib} MiB",
    "findings": "{findings}",
  },
  "archive-trees": {
    "trees": "{trees:,}",
    "packs": "{packs:,}",
    "with other bytes": "{differing}",
    "damaged archives": "{damaged:,}",
    "photos in them": "{photos:,}",
    "read": "{read:,}",
    "wrong label": "{wrong_labels}",
    "wrong key": "{wrong_keys}",
    "other bytes": "{other_bytes}",
    "not accounted for": "{untold}",
  },
  "pack": {
    "bytes unchanged": "{way}",
    "ms an image, median": "{cpu_ms:.3f}",
    "least": "{least_cpu_ms:.3f}",
    "before the first photo, s": "{few_s:.2f}",
    "photos": "{photos:,}",
    "rounds": "{rounds}",
  },
  "pack-resize": {
    "downscaled to short side 256, quality 90": "{way}",
    "ms an image, median": "{cpu_ms:.3f}",
    "least": "{least_cpu_ms:.3f}",
    "before the first photo, s": "{few_s:.2f}",
    "photos": "{photos:,}",
    "rounds": "{rounds}",
  },
  "pack-steps": {
    "part": "{part}",
    "before, µs an image": "{before_us}",
    "now, µs an image": "{after_us}",
  },
  "pack-memory": {"photos": "{photos:,}", "peak of the process": "{peak_mb:.1f} MB"},
  "pack-disk": {
    "": "{way}",
    "bytes read and written": "{tb_moved} TB",
    "hard disk, 170 MB/s": "{hdd_h}",
    "of it seeks": "{seeks}",
    "SSD, 2 GB/s": "{ssd_h} h",
  },
  "pack-checks": {"check": "{what}", "result": "{result}", "command": "`{command}`"},
  "kill-restart": {
    "kills": "{kills}",
    "in": lambda row: ", ".join(f"{n} {name}" for name, n in row["phases"].items()),
    "steps of the run": "{steps}",
    "newest checkpoint after each kill": lambda row: ", ".join(
      map(str, row["checkpoints"])
    ),
    "bits at the end": lambda row: "the same" if row["same_bits"] else "different",
    "minutes": "{minutes}",
  },
  "kill-hosts": {
    "hosts": "{hosts}",
    "kills": "{kills}",
    "in": lambda row: ", ".join(f"{n} {name}" for name, n in row["phases"].items()),
    "of host": lambda row: ", ".join(map(str, row["killed_hosts"])),
    "the others had ended after": "{ended_s} s at most",
    "bits at the end": lambda row: "the same" if row["same_bits"] else "different",
    "rows": lambda row: "the same" if row["same_rows"] else "different",
  },
  "hosts-reading": {
    "hosts": "{hosts}",
    "data set": "{gb:.1f} GB",
    "read by all": "{read_gb:.2f} GB",
    "of the data set": "{ratio}",
    "by the host that read most, of its share": "{most}",
  },
  "average": {
    "net": "width {width}, {size} pixels",
    "batch": "{batch}",
    "step without": "{step_ms} ms",
    "the average adds": "{share} %",
  },
  "hedge": {
    "required accuracy": "{asked}",
    "hedged: right": "{right:.1f} %",
    "bits": "{bits:.2f}",
    "depth": "{depth:.1f}",
    "best fixed level: right": "{level_right:.1f} %",
    "bits ": "{level_bits:.2f}",
    "depth ": "{level_depth:.1f}",
  },
  "hedge-losses": {
    "loss": "{loss}",
    "top-1": "{top_1:.1f} %",
    "top-5": "{top_5:.1f} %",
    "mistakes, levels up": "{height:.2f}",
    "90 % required: right": "{right_90:.1f} %",
    "bits": "{bits_90:.2f}",
    "99 % required: right": "{right_99:.1f} %",
    "bits ": "{bits_99:.2f}",
  },
  "answers": {"256 photos": "{what}", "ms": "{ms}"},
  "export": {
    "net, images": "{net}, {side}²",
    "format": "`{format}`",
    "batch of 1": "{difference_1:.1e}",
    "batch of 7": "{difference_7:.1e}",
    "same hedged answers": lambda row: (
      f"{row['same_answers']} of 50" + f", {row['kinds']} kinds" * ("kinds" in row)
    ),
    "files": "{mb:.0f} MB",
    "processor time": "{cpu_s:.0f} s",
  },
  "transfer": {
    "photos of each class": "{photos}",
    "what is learned": "{way}",
    "top-1": "{top_1:.1f} %",
    "deviation": "{deviation:.1f}",
    "each seed": lambda row: ", ".join(map(str, row["seeds"])),
  },
  "own-classes": {
    "trunk": "{trunk}",
    "starts from": "{start}",
    "top-1": "{top_1:.1f} %",
    "95 % interval": "{low:.1f} to {high:.1f}",
    "each seed": lambda row: ", ".join(map(str, row["seeds"])),
    "processor time, most": "{cpu_s:.0f} s",
  },
  "features": {
    "photos": "{photos:,}",
    "forward pass alone": "{forward_per_s:,.0f}/s",
    "`im21k features`": "{features_per_s:,.0f}/s ({share:.1%})",
    "memory": "{least_mib:,} to {most_mib:,} MiB, in the mean {grows:+.1%}",
    "killed": "{kills} times",
    "files": lambda row: "the same bytes" if row["same_bytes"] else "different",
  },
  "load": {
    "": "{loader}",
    "full: CPU ms an image": "{full_cpu_ms:.3f}",
    "images/s": "{full_images_per_s:,}",
    "small: CPU ms an image": "{small_cpu_ms:.3f}",
    "images/s ": "{small_images_per_s:,}",
  },
  "crop-decoding": {"a random crop of a photo of 500×375": "{how}", "ms": "{ms:.2f}"},
  "load-checks": {"check": "{check}", "result": "{result}"},
  "gpu-claims": {
    "part": "{part}",
    "claim": "{claim}",
    "verdict": "{verdict}",
    "measured": "{measured}",
  },
  "gpu-plan": {
    "batch, dtype, remat": "{batch} {dtype}, {remat}",
    "needed": "{needed_mib:,.0f} MiB",
    "measured peak": "{peak_mib:,.0f} MiB ({peak_off:+.1%})",
    "ms a step": "{step_ms:.1f}",
    "images/s": "{images_per_s:,.0f}",
    "estimated range": "{estimate_low:,.0f} to {estimate_high:,.0f}",
    "of the roofline": "{roofline_share:.0%}",
    "recomputed": "{recomputed:.1%}",
  },
  "gpu-predicted": {
    "batch, dtype, remat": "{batch} {dtype}, {remat}",
    "`im21k plan` without the GPU": "{predicted_mib:,.0f} MiB",
    "measured peak": "{peak_mib:,.0f} MiB ({peak_off:+.1%})",
  },
  "gpu-limits": {
    "memory": "{limit_mib:,} MiB",
    "planned": "{batch} {dtype}, {remat}",
    "needed": "{needed_mib:,.0f} MiB",
    "measured peak": "{peak_mib:,.0f} MiB",
    "trained": lambda row: _yes(row["trained"]),
    "same losses as in the whole memory": lambda row: _yes(row["same_losses"]),
    "refused": lambda row: f"{row['too_large']}: {_yes(row['too_large_refused'])}",
  },
  "gpu-speed": {
    "batch, dtype": "{batch} {dtype}",
    "net": "{net}",
    "images/s": "{images_per_s:,.0f}",
    "over the faster PyTorch": "{relative:.2f}",
    "of its roofline": "{roofline_share:.0%}",
    "peak": "{peak_mib:,.0f} MiB",
    "compiled in": "{compile_s:.0f} s",
  },
  "gpu-feed": {
    "batch, dtype": "{batch} {dtype}",
    "waiting for data": "{data_wait_share:.1%} (at most {largest_wait_share:.1%})",
    "images/s": "{images_per_s:,.0f}",
    "of the step alone": "{of_step_alone:.0%}",
    "processor cores": "{cores}",
  },
  "gpu-restart": {
    "run": "{what}",
    "killed at step": "{killed_at}",
    "steps": "{steps}",
    "final weights": lambda row: "the same bits" if row["same_bits"] else "different",
    "first step with another loss": "{first_difference}",
    "largest difference of a loss": "{largest_difference:.1e}",
  },
  "gpu-trace": {
    "batch, dtype": "{batch} {dtype}",
    "a step": "{step_ms:.1f} ms",
    "kernels": "{compute_ms:.1f} ms",
    "copies from the host": "{copy_ms:.2f} ms",
    "beside kernels": "{copies_beside_compute:.1%}",
  },
  "gpu-missing": {
    "part": "{part}",
    "figure": "{what}",
    "not measured, for": lambda row: row["reason"].replace("|", "\\|"),
  },
}
# Tables that say so while nothing was run.
GPU = tuple(name for name in TABLES if name.startswith("gpu-"))
NOT_RUN, ALL_THERE = "Not yet run on a GPU.\n", "None.\n"
# Hours of two cores.
LONG = ("recipe-screen", "recipe-around", "recipe-confirm", "recipe-scale", "speedrun")


def table(name: str) -> str:
  """The Markdown table called `name`, and the line about how it was obtained."""
  every = read_rows()
  rows = newest(every, name)
  if not rows and name in GPU:
    return ALL_THERE if any(row["table"] in GPU for row in every) else NOT_RUN
  if not rows and name in LONG:
    return "Not yet measured.\n"
  if not rows or (name not in TABLES and name != "plan-sweep"):
    raise ValueError(f"table {name!r} has no rows in {RESULTS} or no columns here")
  cells = _sweep(rows) if name == "plan-sweep" else _cells(rows, TABLES[name])
  lines = ["| " + " | ".join(line) + " |" for line in cells]
  lines.insert(1, "|---" * len(cells[0]) + "|")
  return "\n".join(lines) + f"\n\n({_about(rows, 'command' in TABLES.get(name, {}))})\n"


def newest(every: list[Row], name: str) -> list[Row]:
  """Rows of a table; of those that name their run, the newest's of each part.

  A part of `gpu.py` that was measured again leaves no row behind of what was missing.
  """
  rows = [row for row in every if row["table"] == name]
  by_part = [row for row in every if "run" in row and "part" in row]
  last = max((row["run"] for row in rows if "run" in row), default=None)

  def is_newest(row: Row) -> bool:
    if "run" not in row:
      return True
    runs = [one["run"] for one in by_part if one["part"] == row.get("part")]
    return bool(row["run"] == max(runs, default=last))

  return [row for row in rows if is_newest(row)]


def read_rows() -> list[Row]:
  """All rows of results/, in the order of files and lines."""
  return [
    json.loads(line)
    for path in sorted(RESULTS.glob("*.jsonl"))
    for line in path.read_text(encoding="utf-8").splitlines()
  ]


def filled(text: str) -> str:
  """A page with every marked table as the rows say; ValueError names an unknown one."""
  return _MARKED.sub(lambda match: f"{match[1]}{table(match[2])}{match[3]}", text)


def _cells(rows: list[Row], columns: Columns) -> list[list[str]]:
  return [list(columns), *([_cell(row, c) for c in columns.values()] for row in rows)]


def _cell(row: Row, column: str | Callable[[Row], str]) -> str:
  try:
    text = column.format(**row) if isinstance(column, str) else column(row)
  except KeyError:
    return ""
  return text.replace("e-0", "e-")


def _yes(value: bool) -> str:
  return "yes" if value else "**no**"


def _sweep(rows: list[Row]) -> list[list[str]]:
  """Policies down, batch sizes across."""
  batches = sorted({row["batch"] for row in rows})
  lines = [["images each", *map(str, batches)]]
  for name in dict.fromkeys((row["dtype"], row["remat"]) for row in rows):
    own = {r["batch"]: r for r in rows if (r["dtype"], r["remat"]) == name}
    lines.append([", ".join(name), *(_need(own[batch]) for batch in batches)])
  return lines


def _need(row: Row) -> str:
  return f"{row['mib']:,}{'' if row['fits'] else ' (too much)'}, {row['overlapped']} %"


def _gain(row: Row) -> str:
  """Over the first recipe, by pairs of seeds."""
  if row.get("gain_std") is None or (not row["gain"] and not row["gain_std"]):
    return ""
  return f"{row['gain']:+.2f} ± {row['gain_std']:.2f}"


def _deviations(row: Row) -> str:
  """The gain in its own deviations, of three seeds and more; at most 99 is said."""
  if not row.get("gain_std") or row["seeds"] < _LEAST_SEEDS:
    return ""
  return f"{min(99.0, max(-99.0, row['gain'] / row['gain_std'])):+.1f}"


def _about(rows: list[Row], has_command: bool) -> str:
  """How rows were obtained: a sentence for each source, command, machine and date."""
  keys = [key for key in ABOUT if key != "command" or not has_command]
  sentences = []
  for about in dict.fromkeys(tuple(row.get(key) for key in keys) for row in rows):
    parts = dict(zip(keys, about, strict=True))
    if parts.get("command"):
      parts["command"] = f"`{parts['command']}`"
    text = "; ".join(part for part in parts.values() if part)
    sentences.append(text[0].upper() + text[1:])
  return ". ".join(sentences) + "."


def main() -> int:
  """Rewrites the pages; returns 1 if `--check` finds one that is out of date."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--check", action="store_true", help="Write nothing.")
  check = parser.parse_args().check
  stale = []
  for page in PAGES:
    text = page.read_text(encoding="utf-8")
    if (new := filled(text)) != text:
      stale.append(str(page.relative_to(ROOT)))
      if not check:
        page.write_text(new, encoding="utf-8")
  print(json.dumps({"stale" if check else "written": stale}))
  return int(check and bool(stale))


if __name__ == "__main__":
  sys.exit(main())
