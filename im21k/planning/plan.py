"""`im21k plan`: a config and a card -> what fits, and how fast, without the card."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from im21k import original, targets, words
from im21k.models import remat as remats
from im21k.planning import cards, fastest, sweeps
from im21k.planning.compiled import LINK, MIB, Compiled
from im21k.planning.compiler import Compiler
from im21k.training import configs, policies

SWEEP = Path("plan")
MOST = 1024  # images a GPU: larger batches gain nothing, so the search ends there
_SPEED = ("recomputed_share", "overlapped_share", "images_per_s", "days")
_AT_LARGEST = ("needed_mib", "peak_mib", "exposed_share", "step_s", *_SPEED)


def plan(
  *,
  config: Path,
  gpu: str = "gtx1650",
  devices: int | None = None,
  batch: int | None = None,
  dtype: Literal["float32", "bfloat16"] | None = None,
  remat: str | None = None,
  split_head: bool = False,
  reserve_mib: int = 512,
  sweep: bool = False,
  dump: Path | None = None,
) -> dict[str, Any]:
  """Estimates what fits on which GPU and how fast, without the GPU.

  Args:
    config: Config file, or the name of a shipped config (`im21k configs`).
    gpu: Name of a card (gtx1650, rtx3050-4gb, gtx1080ti, rtx2080ti, rtx3060, rtx3090,
      rtx4090, t4, l4, v100, a100, h100), or a JSON file with the fields of
      `planning.cards.Gpu`.
    devices: Number of GPUs; by default as in the config.
    batch: Images a GPU and step. By default the config's; the largest batch that fits,
      and with remat fit the fastest, are then searched too, which compiles several more
      programs.
    dtype: Type of the arithmetic, in place of the config's.
    remat: What backprop recomputes to save memory, in place of the config's: none, norm
      or block; fit, the least with which the step fits; or a policy for each segment,
      as in conv1=block,3a=norm.
    split_head: Divide the classes of the head among the GPUs.
    reserve_mib: MiB of the card's memory to leave to CUDA and its libraries.
    sweep: Write a table batch × dtype × remat and a chart of it to the folder of
      --dump, by default plan/; none of the three may be given.
    dump: Folder for program.txt, the scheduled program, and memory.json, every field of
      XLA's memory analysis.

  Raises:
    ValueError: an argument is wrong, or the compiler is missing or has another version.
  """
  _check(devices, batch, reserve_mib)
  if sweep:
    swept = {"batch": batch, "dtype": dtype, "remat": remat}
    for name, value in swept.items():
      if value is not None:
        raise ValueError(f"{name} is what --sweep varies: leave out one of them")
  if dump or sweep:
    targets.check_folder([], dump=dump or SWEEP)
  card = cards.get(gpu)
  if reserve_mib * MIB >= card.memory:
    raise ValueError(
      f"reserve_mib is {reserve_mib}, but {card.name} has {card.memory // MIB} MiB"
    )
  settings = {"devices": devices, "model.dtype": dtype, "model.remat": remat}
  given: dict[str, Any] = {k: v for k, v in settings.items() if v is not None}
  if split_head:
    given["split_head"] = True
  experiment = configs.load(config, given)
  compiler = Compiler(card, reserve_mib * MIB)
  if sweep:
    return sweeps.sweep(compiler, experiment, dump or SWEEP)
  own = batch or max(1, experiment.batch_size // experiment.devices)
  compiled = compiler.compile(experiment, own)
  if dump:
    compiled.dump(dump)
  result = compiled.report()
  if batch is None:
    leanest = experiment
    if policies.is_open(experiment):
      best = fastest.find(lambda b: compiler.compile(experiment, b), compiled, MOST)
      report = best.report()
      result["fastest"] = {key: report[key] for key in ("batch", "remat", *_AT_LARGEST)}
      leanest = experiment.changed({"model.remat": "block"})
    largest, at_largest = _largest(lambda b: compiler.compile(leanest, b), own)
    result["largest_batch"] = largest
    if at_largest:
      report = at_largest.report()
      result["at_largest_batch"] = {key: report[key] for key in _AT_LARGEST}
  return result


def _check(devices: int | None, batch: int | None, reserve_mib: int) -> None:
  """ValueError if a number is out of range."""
  for name, value, least, most in (
    ("devices", devices, 1, 256),
    ("batch", batch, 1, 65_536),
    ("reserve_mib", reserve_mib, 0, 1 << 30),
  ):
    if value is not None and not least <= value <= most:
      raise ValueError(f"{name} is {value}, but must be from {least} to {most}")


def text(result: dict[str, Any]) -> str:
  """Formats the result of `plan` for reading."""
  if "rows" in result:
    return "\n".join([sweeps.table(result["rows"]), "", *result["files"]])
  r = result
  lines = [
    f"{r['devices']} x {r['gpu']}, {words.counted(r['batch'], 'image')} each, "
    f"{r['dtype']}, "
    f"remat {remats.shown(r['remat'])}"
    f"{', head split' if r['split_head'] else ''} (jax {r['jax']})",
    "",
    f"memory of each      {r['needed_mib']:8.0f} MiB needed (XLA's peak "
    f"{r['peak_mib']:.0f}), {r['limit_mib']:.0f} available beside a reserve of "
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
  if "fastest" in r:
    best = r["fastest"]
    batch = words.counted(best["batch"], "image")
    lines += [
      "",
      f"fastest that fits: {batch} each, remat {remats.shown(best['remat'])}",
    ]
    lines += [_speed(best)]
  if "largest_batch" in r:
    largest = words.counted(r["largest_batch"], "image")
    more = " or more" if r["largest_batch"] == MOST else ""
    lines += ["", f"largest batch that fits: {largest} each{more}"]
    if "at_largest_batch" in r:
      lines += [_speed(r["at_largest_batch"])]
  return "\n".join(lines)


def _speed(r: dict[str, Any]) -> str:
  return (
    f"estimate            {r['images_per_s']:8.0f} images/s, {r['days']:.1f} days for "
    f"{original.PASSES} passes\n"
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
