"""How training goes on over more hosts and other networks -> rows for plan.jsonl.

    python benchmarks/plan_hosts.py narrow|gtx1650|rtx4090

`narrow`: rows of `plan-hosts-overlap`, a net of width 0.25 compiled for 8 and 64 hosts
of four devices. A card: rows of `plan-hosts`, the step of the original recipe compiled
for 2 hosts of four with 64 images a GPU. For other numbers of hosts the program is the
same but for the list of devices in each collective, as `narrow` checks: that list is
replaced.
"""

import argparse
import dataclasses
import datetime
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import jax

from im21k.planning import cards, wording
from im21k.planning.compiled import MIB, Compiled
from im21k.planning.compiler import Compiler
from im21k.planning.network import SPEEDS, Network
from im21k.planning.program import Program
from im21k.training import configs

CARDS = {"gtx1650": "float32", "rtx4090": "bfloat16"}
HOSTS = (1, 2, 4, 8, 16, 64)
DEVICES, BATCH, RESERVE = 4, 64, 512 * MIB
_GROUPS = re.compile(r"replica_groups=\{\{[\d,]*\}\}")


def main() -> None:
  """Prints the rows of one part."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("part", choices=("narrow", *CARDS))
  part = parser.parse_args().part
  for row in narrow() if part == "narrow" else of_card(part):
    print(json.dumps({**row, **about(part)}), flush=True)


def narrow() -> list[dict[str, Any]]:
  """Gradient bytes beside backprop; ValueError if a program is not as the others."""
  made = {
    hosts: compiled("gtx1650", hosts, 16, {"model.width": 0.25, "image_size": 64})
    for hosts in (1, 8, 64)
  }
  orders = {tuple(in_order(one.program)) for one in made.values()}
  if len(orders) > 1:
    raise ValueError(f"the programs for {[*made]} hosts differ")
  rows = []
  for hosts, one in made.items():
    if hosts == 1:
      continue
    report = one.report()
    rows.append({
      "table": "plan-hosts-overlap", "hosts": hosts, "devices": DEVICES, "width": 0.25,
      "overlapped": round(100 * report["overlapped_share"], 2),
      "collectives": len(report["all_reduces"]),
      "asynchronous": report["asynchronous"], "gradient_mb": report["gradient_mb"],
    })  # fmt: skip
  return rows


def in_order(program: Program) -> Iterator[tuple[Any, ...]]:
  """What each instruction is and does, but for the names of things."""
  for one in program.instructions:
    yield one.opcode, one.shapes, program.flops(one), program.traffic(one)


def of_card(name: str) -> list[dict[str, Any]]:
  """Step, waiting and days of each number of hosts, at each speed."""
  two = compiled(name, 2, BATCH, {})
  rows = []
  for hosts in HOSTS:
    one = among(two, hosts)
    row: dict[str, Any] = {
      "table": "plan-hosts", "gpu": name, "dtype": CARDS[name], "hosts": hosts,
      "images": one.batch * DEVICES * hosts,
      "how": "compiled" if hosts == 2 else "the same program",
    }  # fmt: skip
    for speed in SPEEDS:
      brief = one.over(speed).brief()
      row[f"{speed:g}"] = {
        "ms": [round(1e3 * s) for s in brief["step_s"]],
        "waiting": round(100 * brief["waiting_share"], 1),
        "days": brief["days"],
        "time": wording.duration(*brief["days"]),
      }
    rows.append(row)
  return rows


def compiled(card: str, hosts: int, batch: int, settings: dict[str, Any]) -> Compiled:
  """The step of the original recipe that keeps everything."""
  print(f"compile for {hosts} hosts of {DEVICES} {card}", file=sys.stderr, flush=True)
  own = {"model.dtype": CARDS[card], "model.remat": "none", "devices": DEVICES}
  experiment = configs.load("inception_bn_21k", {**own, **settings})
  return Compiler(cards.get(card), RESERVE, Network(hosts)).compile(experiment, batch)


def among(two: Compiled, hosts: int) -> Compiled:
  """The same program among other hosts: all their devices in each collective."""
  devices = ",".join(map(str, range(DEVICES * hosts)))
  text, count = _GROUPS.subn(f"replica_groups={{{{{devices}}}}}", two.text)
  if not count:
    raise ValueError("the program has no collective over all devices")
  return dataclasses.replace(two, text=text, network=Network(hosts))


def about(part: str) -> dict[str, str]:
  """Where the rows are from."""
  return {
    "source": "compiled for hosts and GPUs that were not present; times are estimated",
    "command": f"python benchmarks/plan_hosts.py {part}",
    "machine": "2 cores of an AMD EPYC, 24 GiB, no GPU",
    "software": f"jax {jax.__version__}",
    "date": str(datetime.date.today()),
  }


if __name__ == "__main__":
  main()
