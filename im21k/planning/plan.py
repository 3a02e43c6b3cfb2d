"""The verb `plan`: what fits on which GPU, and how fast, before it is bought."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from im21k import files
from im21k.models import remat as remats
from im21k.planning import cards
from im21k.planning.compiler import LINK, MIB, PASSES, Compiled, Compiler
from im21k.training import configs
from im21k.training.config import Config

SWEEP = Path("plan")
MOST = 1024  # images a GPU; beyond, nothing is gained, and nobody searches
BATCHES = (32, 64, 128, 256)
DTYPES = ("float32", "bfloat16")
_SPEED = ("recomputed_share", "overlapped_share", "images_per_s", "days")
_AT_LARGEST = ("needed_mib", "peak_mib", "exposed_share", "step_s", *_SPEED)
_SWEPT = ("dtype", "remat", "batch", "needed_mib", "peak_mib", "fits", *_SPEED)


def plan(
  *,
  config: Path,
  gpu: str = "gtx1650",
  devices: int | None = None,
  batch: int | None = None,
  dtype: str | None = None,
  remat: str | None = None,
  split_head: bool = False,
  reserve_mib: int = 512,
  sweep: bool = False,
  dump: Path | None = None,
) -> dict[str, Any]:
  """Tells what fits on which GPU and how fast, without the GPU.

  Args:
    config: Config file, or the name of a shipped config (`im21k configs`).
    gpu: a card's name (gtx1650, rtx3050-4gb, gtx1080ti, rtx2080ti, rtx3060, rtx3090,
      rtx4090, t4, l4, v100, a100, h100), or a JSON file of the fields of `cards.Gpu`.
    devices: GPUs that take part; the config's number if not given.
    batch: images a GPU and step. If it is not given, the config's is taken, and the
      largest that fits is searched, which compiles some more times.
    dtype: float32 or bfloat16 in place of the config's.
    remat: policy of rematerialisation in place of the config's.
    split_head: split the head's classes over the GPUs.
    reserve_mib: of the card's memory, for CUDA itself and its libraries.
    sweep: make the table batch × dtype × remat and a picture of it, in DUMP or plan/.
    dump: folder for program.txt, the scheduled program, and memory.json, every field of
      XLA's memory analysis.

  Raises:
    ValueError: an argument is wrong, or the compiler is missing or of another version.
  """
  card = cards.get(gpu)
  experiment = configs.load(config)
  experiment = dataclasses.replace(
    experiment,
    devices=experiment.devices if devices is None else devices,
    split_head=split_head or experiment.split_head,
    model={
      **experiment.model,
      **({"dtype": dtype} if dtype else {}),
      **({"remat": remat} if remat else {}),
    },
  )
  if experiment.devices < 1:
    raise ValueError(f"devices is {experiment.devices}, but must be 1 or more")
  if batch is not None and batch < 1:
    raise ValueError(f"batch is {batch}, but must be 1 or more")
  compiler = Compiler(card, reserve_mib * MIB)
  if sweep:
    return _sweep(compiler, experiment, dump or SWEEP)
  own = batch or max(1, experiment.batch_size // experiment.devices)
  compiled = compiler.compile(experiment, own)
  if dump:
    compiled.dump(dump)
  result = compiled.report()
  if batch is None:
    largest, at_largest = _largest(lambda b: compiler.compile(experiment, b), own)
    result["largest_batch"] = largest
    if at_largest:
      report = at_largest.report()
      result["at_largest_batch"] = {key: report[key] for key in _AT_LARGEST}
  return result


def text(result: dict[str, Any]) -> str:
  """What `plan` found, for reading."""
  if "rows" in result:
    return "\n".join([_table(result["rows"]), "", *result["files"]])
  r = result
  lines = [
    f"{r['devices']} x {r['gpu']}, {r['batch']} images each, {r['dtype']}, "
    f"remat {r['remat']}{', head split' if r['split_head'] else ''} (jax {r['jax']})",
    "",
    f"memory of each      {r['needed_mib']:8.0f} MiB needed (XLA's peak "
    f"{r['peak_mib']:.0f}), {r['limit_mib']:.0f} there beside a reserve of "
    f"{r['reserve_mib']:.0f}: {'fits' if r['fits'] else 'DOES NOT FIT'}",
  ]
  lines += [f"  {name:<30}{size:8.0f}" for name, size in r["made_of_mib"].items()]
  lines += [
    f"  (the largest step is in {r['largest_step']})",
    f"recomputation       {r['recomputed_share']:8.1%} more FLOPs, "
    f"{r['gflops_per_image']:.1f} GFLOP an image in all",
  ]
  if r["overlapped_share"] is not None:
    lines += [
      f"gradients           {r['gradient_mb']:8.1f} MB sent a step in "
      f"{len(r['all_reduces'])} collectives",
      f"  beside backprop   {r['overlapped_share']:8.1%}",
      f"  left exposed      {r['exposed_share']:8.2%} of the step, at "
      f"{LINK / 1e9:.0f} GB/s and the card's peak arithmetic",
    ]
  lines += [_speed(r)]
  if "largest_batch" in r:
    more = " and more" if r["largest_batch"] == MOST else ""
    lines += ["", f"largest batch that fits: {r['largest_batch']} images each{more}"]
    if "at_largest_batch" in r:
      lines += [_speed(r["at_largest_batch"])]
  return "\n".join(lines)


def _speed(r: dict[str, Any]) -> str:
  return (
    f"estimate            {r['images_per_s']:8.0f} images/s, {r['days']:.1f} days for "
    f"{PASSES} passes\n"
    "  (at the card's peak arithmetic and bandwidth: real cards reach a half or two "
    "thirds)"
  )


def _largest(
  compile: Callable[[int], Compiled], batch: int
) -> tuple[int, Compiled | None]:
  """The largest batch that fits, in steps of 8 (16 from 128 on), and its program.

  Memory grows nearly linearly with the batch, so guesses by the last slope end soon.
  """
  fitting: dict[int, Compiled] = {}
  failing: dict[int, Compiled] = {}
  guess = min(max(8, _rounded(batch)), MOST)
  while True:
    compiled = compile(guess)
    (fitting if compiled.fits else failing)[guess] = compiled
    low, high = max(fitting, default=0), min(failing, default=None)
    if low == MOST or (high is not None and _next(low) >= high):
      return low, fitting.get(low)
    arguments = sum(compiled.sizes.values())
    slope = (compiled.needed - arguments) / compiled.batch
    guess = _rounded((compiled.limit - arguments) / slope)
    guess = min(max(guess, _next(low)), MOST)
    if high is not None:
      guess = min(guess, _rounded(high - 1))


def _rounded(batch: float) -> int:
  step = 16 if batch >= 128 else 8
  return max(0, int(batch // step) * step)


def _next(batch: int) -> int:
  return batch + (16 if batch >= 128 else 8)


def _sweep(compiler: Compiler, experiment: Config, folder: Path) -> dict[str, Any]:
  """Every batch with every dtype and policy: rows, a table and a picture of them."""
  wanted = []
  for dtype in DTYPES:
    for remat in remats.POLICIES:
      model = {**experiment.model, "dtype": dtype, "remat": remat}
      one = dataclasses.replace(experiment, model=model)
      wanted += [(one, batch) for batch in BATCHES]
  rows = [compiled.report() for compiled in compiler.compile_all(wanted)]
  rows = [{key: row[key] for key in _SWEPT} for row in rows]
  lines = ["\t".join(_SWEPT), *("\t".join(map(str, row.values())) for row in rows)]
  table, picture = folder / "table.tsv", folder / "table.png"
  files.write_text(table, "\n".join(lines) + "\n")
  _draw(picture, rows, compiler)
  return {"rows": rows, "files": [str(table), str(picture)]}


def _table(rows: list[dict[str, Any]]) -> str:
  """Needed MiB by batch; in brackets what does not fit."""
  lines = [f"{'MiB needed':<20}" + "".join(f"{b:>9}" for b in BATCHES)]
  for dtype in DTYPES:
    for remat in remats.POLICIES:
      cells = [r for r in rows if (r["dtype"], r["remat"]) == (dtype, remat)]
      sizes = [f"{r['needed_mib']:.0f}" for r in cells]
      marked = [s if r["fits"] else f"({s})" for s, r in zip(sizes, cells, strict=True)]
      lines.append(f"{dtype:<10}{remat:<10}" + "".join(f"{m:>9}" for m in marked))
  return "\n".join(lines)


def _draw(path: Path, rows: list[dict[str, Any]], compiler: Compiler) -> None:
  """Memory against batch, a line for each dtype and policy, and what the card has."""
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
