"""The compiled step of several hosts -> how long it waits for their network, and why.

In: the step as the config has it, and a way to compile variants of it. Out: for each
speed of the network and each variant what leaves a host, the waiting and the time.
"""

from collections.abc import Callable, Sequence
from typing import Any

from im21k import words
from im21k.planning import measured, network, wording
from im21k.planning.comparison import Program
from im21k.planning.network import Network
from im21k.training import accumulation
from im21k.training.config import Config

AS_IT_IS = "as configured"
TOGETHER = "both"
HIERARCHICAL = "XLA's hierarchical flag"
MOST = 256
MOST_GBIT = 100_000
# Of configs that share the hosts: their compiled steps.
Build = Callable[[Sequence[Config], Network], Sequence[Program]]
_COLUMNS = (
  "fits", "needed_mib", "waiting_share", "step_s", "images_per_s", "days",
)  # fmt: skip


def of(hosts: int | None, gbit_s: float | None) -> Network:
  """The hosts of a plan by its options.

  Raises:
    ValueError: a number is out of range, or a speed is given without hosts.
  """
  if hosts is not None and not 1 <= hosts <= MOST:
    raise ValueError(f"hosts is {hosts}, but must be from 1 to {MOST}")
  if gbit_s is None:
    return Network(hosts or 1)
  if not 0 < gbit_s <= MOST_GBIT:
    raise ValueError(
      f"network_gbs is {gbit_s}, but must be above 0 and at most {MOST_GBIT} Gbit/s"
    )
  if hosts is None:
    raise ValueError("network_gbs is of the network between hosts: give --hosts too")
  return Network(hosts, gbit_s) if hosts > 1 else network.ONE


def images_each(experiment: Config, hosts: int) -> int:
  """Images of each device in a step of the config's batch, which is over all hosts.

  Raises:
    ValueError: several hosts cannot share a batch.
  """
  devices = experiment.devices * hosts
  if hosts > 1:
    for _, size in experiment.sizes:
      if size % devices:
        name = "batch_size" if size == experiment.batch_size else "phases.batch_sizes"
        raise ValueError(
          f"{name} {size} is over all hosts, and not divisible by {hosts} hosts times "
          f"{experiment.devices} devices: use {max(1, size // devices) * devices} for "
          "example, or give --batch, the images of each GPU"
        )
      accumulation.check(size, devices, experiment.accumulate)
  return max(1, experiment.batch_size // devices)


def report(
  compiled: Program, build: Build, speeds: Sequence[float] = network.SPEEDS
) -> dict[str, Any]:
  """What the network costs, with and without what makes it less.

  Args:
    compiled: the step as the config has it.
    build: compiles steps of others with the same hosts.
    speeds: of the network, Gbit/s.

  Returns:
    `over_network`, a row for each speed and way; `no_way`, reasons by way.
  """
  made: dict[str, Program] = {AS_IT_IS: compiled}
  refused: dict[str, str] = {}
  wanted = _ways(compiled.experiment, refused)
  steps = build([*wanted.values()], compiled.network)
  made |= zip(wanted, steps, strict=True)
  if compiled.experiment.devices > 1:
    hierarchical = Network(compiled.network.hosts, is_hierarchical=True)
    (made[HIERARCHICAL],) = build([compiled.experiment], hierarchical)
  rows = [_row(name, one.over(speed)) for speed in speeds for name, one in made.items()]
  return {"over_network": rows, "no_way": refused}


def _ways(experiment: Config, refused: dict[str, str]) -> dict[str, Config]:
  """The same run with the other value of each key that matters; some are `refused`."""
  wire = "float32" if experiment.wire_dtype == "bfloat16" else "bfloat16"
  settings = {"wire_dtype": wire, "split_head": not experiment.split_head}
  ways = {f"{key} {value}": {key: value} for key, value in settings.items()}
  found = {}
  for name, each in {**ways, TOGETHER: settings}.items():
    try:
      found[name] = experiment.changed(each)
    except ValueError as error:
      refused[name] = str(error)
  return found


def _row(way: str, program: Program) -> dict[str, Any]:
  brief = program.brief()
  return {
    "gbit_s": program.network.gbit_s,
    "way": way,
    "mb": round(program.network_bytes() / 1e6, 1),
    **{key: brief[key] for key in _COLUMNS},
  }


def lines(r: dict[str, Any]) -> list[str]:
  """The rows for reading; nothing of a plan for one host."""
  if r["hosts"] == 1:
    return []
  _, fast = measured.share()
  found = [
    "",
    f"over the network    compiled for {r['hosts']} described hosts: "
    f"{words.counted(len(r['all_reduces']), 'collective')} of gradients, "
    f"{r['asynchronous']} asynchronous",
    f"  all other figures are those of {network.shown(r['network_gbit_s'])}"
    f"{'' if _has_one_speed(r) else ', as no --network-gbs is given'}",
    "  (times are a model's: bytes and hops of NCCL's rings and trees; waiting is "
    f"that at {fast:.0%} of the peaks)",
    f"  {'':<30}{'MB sent':>8}{'waiting':>9}  {'ms a step':<18}whole run",
  ]
  last = None
  for row in r["over_network"]:
    if row["gbit_s"] != last:
      found.append(f"{network.shown(row['gbit_s'])}, each way of each host")
    last = row["gbit_s"]
    low, high = (f"{1e3 * one:,.0f}" for one in row["step_s"])
    found.append(
      f"  {row['way']:<30}{row['mb']:>8,.1f}{row['waiting_share']:>9.1%}  "
      f"{f'{low} to {high}':<18}{wording.duration(*row['days'])}"
      f"{'' if row['fits'] else ', DOES NOT FIT'}"
    )
  return [*found, *(f"no {way}: {why}" for way, why in r["no_way"].items())]


def _has_one_speed(r: dict[str, Any]) -> bool:
  return len({row["gbit_s"] for row in r["over_network"]}) == 1


def advise(r: dict[str, Any]) -> str:
  """One sentence on a step that waits for the network: the way to the shortest step."""
  rows = [
    row for row in r["over_network"]
    if row["gbit_s"] == r["network_gbit_s"] and row["fits"]
  ]  # fmt: skip
  best = min(rows, key=lambda row: row["step_s"][0], default=None)
  waits = (
    f"Up to {r['waiting_share']:.0%} of the step waits for the network of "
    f"{network.shown(r['network_gbit_s'])}"
  )
  if best and best["step_s"][0] < 0.9 * r["step_s"][0]:
    gain = 1 - best["step_s"][0] / r["step_s"][0]
    way = {
      TOGETHER: "both wire_dtype and split_head changed",
      HIERARCHICAL: f"XLA_FLAGS={network.HIERARCHICAL}={r['devices']}",
    }.get(best["way"], best["way"])
    return f"{waits}: with {way} the step is {gain:.0%} shorter."
  return f"{waits}: a larger --batch or a faster network shortens that."
