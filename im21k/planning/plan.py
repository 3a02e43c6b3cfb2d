"""`im21k plan`: a config and a card -> what fits, and how fast, without the card."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from im21k import targets
from im21k.planning import (
  advice,
  cards,
  comparison,
  fastest,
  largest,
  options,
  phased,
  prices,
  sweeps,
  wording,
  workload,
)
from im21k.planning import hosts as several
from im21k.planning import network as networks
from im21k.planning.compiled import MIB, Compiled
from im21k.planning.compiler import Compiler
from im21k.training import configs, policies
from im21k.training.config import Config

SWEEP = Path("plan")
MOST = wording.MOST
ALL = options.ALL
_AT_LARGEST = (
  "needed_mib", "peak_mib", "exposed_share", "recomputed_share", "overlapped_share",
  "images_per_s", "images_per_s_peak", "waiting_share", "step_s", "days",
  "examples", "cores_to_feed",
)  # fmt: skip


def plan(
  *,
  config: Path | None = None,
  gpu: str = "gtx1650",
  devices: int | None = None,
  batch: int | None = None,
  dtype: Literal["float32", "bfloat16"] | None = None,
  remat: str | None = None,
  split_head: bool = False,
  link_gbs: float | None = None,
  hosts: int | None = None,
  network_gbs: float | None = None,
  reserve_mib: int = 512,
  price: str | None = None,
  max_days: float | None = None,
  sweep: bool = False,
  dump: Path | None = None,
  list: bool = False,
) -> dict[str, Any]:
  """Estimates what fits on which GPU and how fast, without the GPU.

  Args:
    config: Config file, or the name of a shipped config (`im21k configs`); only --list
      goes without.
    gpu: Name of a card (--list shows them), as in "RTX 4090" or "Tesla P100-PCIE-16GB",
      or a JSON file with the fields of `planning.cards.Gpu`; all: one table over all
      cards of the list.
    devices: Number of GPUs, with --hosts those of each host; by default as in the
      config.
    batch: Images a GPU and step. By default the config's; the largest batch that fits,
      and with remat fit the fastest, are then searched too, which compiles several more
      programs.
    dtype: Type of the arithmetic, in place of the config's.
    remat: What backprop recomputes to save memory, in place of the config's: none, norm
      or block; fit, the least with which the step fits; or policies of segments, with
      commas between them, as in conv1=block.
    split_head: Divide the classes of the head among the GPUs.
    link_gbs: GB/s in one direction that an all-reduce can use between two GPUs, in
      place of the card's.
    hosts: Number of machines with as many GPUs each, for which the step is compiled. It
      is then compared with bfloat16 on the wire, a split head and XLA's hierarchical
      reduction, which compiles four more programs. The config's batch is over all
      hosts.
    network_gbs: Speed of each host's network in Gbit/s, as networks are sold (not GB/s,
      as in --link-gbs): 10 for 10-gigabit Ethernet. By default a table over 1, 10, 25
      and 100 is printed, and all other figures are those of 10.
    reserve_mib: MiB of the card's memory to leave to CUDA and its libraries.
    price: Dollars an hour of one card, as in t4=0.35, from which the cost of the whole
      run follows; may be given for several cards.
    max_days: With --gpu all, leave out cards that may take longer.
    sweep: Write a table batch × dtype × remat and a chart of it to the folder of
      --dump, by default plan/; none of the three may be given.
    dump: Folder for program.txt, the scheduled program, and memory.json, every field of
      XLA's memory analysis.
    list: Show the cards that are known by name, and do nothing else.

  Raises:
    ValueError: an argument is wrong, or the compiler is missing or has another version.
  """
  if list:
    options.check_alone(plan, locals())
    return {"list": cards.listing()}
  if config is None:
    raise ValueError("--config is missing; --help describes it")
  options.check_numbers(devices, batch, reserve_mib, link_gbs)
  network = several.of(hosts, network_gbs)
  if sweep and network.hosts > 1:
    raise ValueError("--sweep is of one host: leave out hosts")
  if sweep and price:
    raise ValueError("price has no effect with --sweep: leave out one of them")
  for name, value in (("batch", batch), ("dtype", dtype), ("remat", remat)):
    if sweep and value is not None:
      raise ValueError(f"{name} is what --sweep varies: leave out one of them")
  if dump or sweep:
    targets.check_folder([], dump=dump or SWEEP)
  chosen = options.chosen(gpu, link_gbs)
  dollars = options.dollars(price, gpu, chosen)
  if gpu.lower() == ALL and (sweep or dump):
    raise ValueError(f"--gpu all has no {'sweep' if sweep else 'dump'}: name one card")
  if max_days is not None and not (gpu.lower() == ALL and max_days > 0):
    raise ValueError("max_days is for --gpu all, and must be above 0")
  settings = {"devices": devices, "model.dtype": dtype, "model.remat": remat}
  given: dict[str, Any] = {k: v for k, v in settings.items() if v is not None}
  if split_head:
    given["split_head"] = True
  reserve = reserve_mib * MIB
  if gpu.lower() != ALL:
    options.check_card(chosen[0], reserve)
  experiment = configs.load(config, given)
  experiment = _with_batch(experiment, batch, sweep, network.hosts)
  workload.find(experiment)  # What is wrong with it shows before minutes of compiling.
  own = batch or several.images_each(experiment, network.hosts)
  if gpu.lower() == ALL:
    return comparison.compare(
      lambda card: _compiled(Compiler(card, reserve, network), experiment, own),
      chosen,
      reserve,
      dollars,
      max_days,
      adapts=policies.is_open(experiment),
    )
  compiler = Compiler(chosen[0], reserve, network)
  if sweep:
    return sweeps.sweep(compiler, experiment, dump or SWEEP)
  speeds = networks.SPEEDS if network_gbs is None else (network_gbs,)
  return _one(compiler, experiment, own, batch is None, dump, dollars, speeds)


def _one(
  compiler: Compiler,
  experiment: Config,
  batch: int,
  searches: bool,
  dump: Path | None,
  dollars: dict[str, float],
  speeds: Sequence[float],
) -> dict[str, Any]:
  """The plan for one card; `searches` the largest batch too."""
  compiled = _compiled(compiler, experiment, batch)
  if dump:
    compiled.dump(dump)
  result = compiled.report()
  count = compiler.network.hosts
  if count > 1:
    result |= several.report(
      compiled, lambda each, on: _all(compiler.among(on), each, batch), speeds
    )
  if searches and isinstance(compiled, Compiled):
    leanest = experiment
    if policies.is_open(experiment):
      best = fastest.find(
        lambda b: compiler.compile(experiment, b), compiled, MOST, experiment.accumulate
      )
      report = best.report()
      result["fastest"] = {key: report[key] for key in ("batch", "remat", *_AT_LARGEST)}
      leanest = experiment.changed({"model.remat": "block"})
    most, at_largest = largest.find(
      lambda b: compiler.compile(leanest, b), batch, MOST, experiment.accumulate
    )
    result["largest_batch"] = most
    if at_largest:
      report = at_largest.report()
      result["at_largest_batch"] = {key: report[key] for key in _AT_LARGEST}
  for price in dollars.values():
    result["dollars"] = prices.cost(price, count * experiment.devices, result["days"])
  result["advice"] = advice.advise(result)
  return result


def _compiled(compiler: Compiler, experiment: Config, batch: int) -> comparison.Program:
  """The step for a card, or that of each phase."""
  if experiment.phases:
    return phased.compile(compiler, experiment)
  return compiler.compile(experiment, batch)


def _all(
  compiler: Compiler, experiments: Sequence[Config], batch: int
) -> Sequence[comparison.Program]:
  """The steps of several configs, which have phases all or none."""
  if experiments and experiments[0].phases:
    return [phased.compile(compiler, experiment) for experiment in experiments]
  return compiler.compile_all([(experiment, batch) for experiment in experiments])


def _with_batch(
  experiment: Config, batch: int | None, sweep: bool, hosts: int
) -> Config:
  """The config, with phases of this batch a GPU; ValueError if theirs are given."""
  if not experiment.phases:
    return experiment
  if sweep:
    raise ValueError("--sweep is for a run of one size of photos: leave out phases")
  if batch is None:
    return experiment
  if experiment.phases.batch_sizes:
    raise ValueError("batch is what phases.batch_sizes says: leave out --batch")
  return experiment.changed({"batch_size": batch * experiment.devices * hosts})


def text(result: dict[str, Any]) -> str:
  """Formats the result of `plan` for reading."""
  if "list" in result:
    return cards.table(result["list"])
  if "gpus" in result:
    return comparison.text(result)
  if "rows" in result:
    return "\n".join([sweeps.table(result["rows"]), "", *result["files"]])
  return wording.text(result, several.lines(result))
