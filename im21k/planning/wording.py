"""The result of `plan` for one card -> text; the first figure is what cards reach."""

from collections.abc import Sequence
from typing import Any

from im21k import words
from im21k.models import remat as remats
from im21k.planning import measured, prices

MOST = 1024  # images a GPU: larger batches gain nothing, so the search ends there


def text(r: dict[str, Any], network: Sequence[str] = ()) -> str:
  """Formats the result of `plan` for reading, with lines about the network."""
  lines = [
    f"{speed(r)} for {work(r)}{_cost(r)}{'' if r['fits'] else ', IF IT FITTED'}",
    f"{hosts(r)}{r['devices']} x {r['gpu']}, {words.counted(r['batch'], 'image')} each"
    f"{_parts(r)}, {r['dtype']}, "
    f"remat {remats.shown(r['remat'])}{', head split' if r['split_head'] else ''} "
    f"(jax {r['jax']})",
    "",
    *_phases(r.get("phases", [])),
    *_memory(r),
    f"recomputation       {r['recomputed_share']:8.1%} more FLOPs, "
    f"{r['gflops_per_image']:.1f} GFLOP an image in all",
    *_traffic(r),
    *_gradients(r),
    *_speed(r),
    *network,
  ]
  if "fastest" in r or "largest_batch" in r:
    lines += [""]
  if "fastest" in r:
    best = r["fastest"]
    batch = f"{words.counted(best['batch'], 'image')} each"
    lines += [
      f"fastest that fits: {batch}, remat {remats.shown(best['remat'])}: {speed(best)}",
    ]
  if "largest_batch" in r:
    largest = words.counted(r["largest_batch"], "image")
    more = " or more" if r["largest_batch"] == MOST else ""
    lines += [f"largest batch that fits: {largest} each{more}"]
    if "at_largest_batch" in r:
      lines[-1] += f": {speed(r['at_largest_batch'])}"
  return "\n".join([*lines, "", r["advice"]])


def hosts(r: dict[str, Any]) -> str:
  """`8 hosts of `, of several; over which network, only a longer text says."""
  return f"{r['hosts']} hosts of " if r["hosts"] > 1 else ""


def speed(r: dict[str, Any]) -> str:
  """Images/s and days as ranges: `150 to 240 images/s, 6.8 to 11 days`."""
  low, high = (_rounded(n) for n in r["images_per_s"])
  return f"{low} to {high} images/s, {duration(*r['days'])}"


def duration(short: float, long: float) -> str:
  """A range of days, or of hours or minutes where it is shorter."""
  for unit, each in (("days", 1), ("hours", 24), ("minutes", 1440)):
    if long * each >= 2 or unit == "minutes":
      break
  return f"{_rounded(short * each)} to {_rounded(long * each)} {unit}"


def work(r: dict[str, Any]) -> str:
  """What a run works through: `9 epochs of 14,197,087 photos (…)`."""
  if r["photos"] is None:
    return f"{r['total']}, {r['examples']:,} examples"
  photos = words.counted(r["photos"], "photo")
  return f"{r['total']} of {photos} ({words.visible(r['photos_from'])})"


def _rounded(number: float) -> str:
  return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"


def _parts(r: dict[str, Any]) -> str:
  return f" in {r['accumulate']} parts" if r["accumulate"] > 1 else ""


def _cost(r: dict[str, Any]) -> str:
  return f", {prices.text(r['dollars'])}" if "dollars" in r else ""


def _phases(rows: list[dict[str, Any]]) -> list[str]:
  """A line for each phase of a run that has several."""
  if not rows:
    return []
  found = ["phases, in order; the figures below are of the one that needs most memory"]
  for row in rows:
    low, high = (_rounded(n) for n in row["images_per_s"])
    found.append(
      f"  {row['image_size']} pixels, {words.counted(row['batch'], 'image')} each, "
      f"{words.counted(row['steps'], 'step')}: {row['needed_mib']:,.0f} MiB, "
      f"{low} to {high} images/s, {duration(*row['days'])}"
    )
  return [*found, ""]


def _memory(r: dict[str, Any]) -> list[str]:
  lines = [
    f"memory of each      {r['needed_mib']:8.0f} MiB needed (XLA's peak "
    f"{r['peak_mib']:.0f}), {r['limit_mib']:.0f} available beside a reserve of "
    f"{r['reserve_mib']:.0f}: {'fits' if r['fits'] else 'DOES NOT FIT'}",
  ]
  lines += [f"  {name:<30}{round(size):8}" for name, size in r["made_of_mib"].items()]
  return [*lines, f"  (the largest step is in {r['largest_step']})"]


def _traffic(r: dict[str, Any]) -> list[str]:
  shown = {name: size for name, size in r["traffic_mib"].items() if size >= 0.05}
  return [
    f"memory traffic      {sum(r['traffic_mib'].values()):8.0f} MiB an image",
    *(f"  {name:<30}{size:8.1f}" for name, size in shown.items()),
  ]


def _gradients(r: dict[str, Any]) -> list[str]:
  if r["overlapped_share"] is None:
    return []
  if r["hosts"] > 1:
    wire = f"{r['network_gbit_s']:g} Gbit/s between hosts"
  else:
    wire = f"{r['link_gbs']:g} GB/s"
  return [
    f"gradients           {r['gradient_mb']:8.1f} MB sent a step in "
    f"{len(r['all_reduces'])} collectives",
    f"  beside backprop   {r['overlapped_share']:8.1%}",
    f"  left exposed      {r['exposed_share']:8.2%} of the step, at {wire} and the "
    "card's peak arithmetic",
  ]


def _speed(r: dict[str, Any]) -> list[str]:
  low, high = measured.share()
  # Of a run with phases, the cores are those that the fastest needs.
  fastest = max(one["images_per_s"][1] for one in (r, *r.get("phases", [])))
  return [
    f"at the card's peaks {r['images_per_s_peak']:8.0f} images/s; cards reach "
    f"{low:.0%} to {high:.0%} of their peaks, by public measurements",
    f"processor cores     {r['cores_to_feed']:8.1f} feed it at "
    f"{_rounded(fastest)} images/s ({measured.LOADER_MS} ms an image of "
    f"224² on {measured.LOADER_MACHINE})",
  ]
