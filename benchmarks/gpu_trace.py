"""A trace of JAX's profiler -> one step of it, and what runs beside computation.

Pure functions of the events of a Chrome trace (`*.trace.json.gz`): dicts with `ph`,
`pid`, `tid`, `ts` and `dur` in microseconds, `name` and `args`.
"""

import collections
import gzip
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Event = dict[str, Any]
Span = tuple[float, float]


def read(folder: Path) -> list[Event]:
  """The events of the newest trace in a folder; ValueError if there is none."""
  paths = sorted(folder.rglob("*.trace.json.gz"), key=lambda p: p.stat().st_mtime)
  paths = [path for path in paths if "perfetto" not in path.name] or paths
  if not paths:
    raise ValueError(f"the profiler wrote no *.trace.json.gz into {folder}")
  with gzip.open(paths[-1], "rt", encoding="utf-8") as file:
    events: list[Event] = json.load(file)["traceEvents"]
  return events


def one_step(events: Sequence[Event]) -> list[Event]:
  """The events of the device, and their names, in the middle step of the trace.

  A step is from one start of the module that takes most time to its next start.
  """
  device = _processes(events)
  threads = _threads(events, device)
  on_device = [e for e in events if e.get("ph") == "X" and e["pid"] in device]
  modules = [e for e in on_device if _thread(e, threads) == "XLA Modules"]
  total: dict[str, float] = collections.Counter()
  for event in modules:
    total[event["name"]] += event.get("dur", 0)
  kept = on_device
  if total:
    longest = max(total, key=lambda name: total[name])
    starts = sorted(e["ts"] for e in modules if e["name"] == longest)
    if len(starts) > 1:
      middle = (len(starts) - 1) // 2
      begin, end = starts[middle], starts[middle + 1]
      kept = [e for e in on_device if e["ts"] < end and _span(e)[1] > begin]
  names = [e for e in events if e.get("ph") == "M" and e.get("pid") in device]
  return [*names, *kept]


def measure(events: Sequence[Event]) -> dict[str, Any]:
  """`overlap` of one step, if it shows copies, and its share over all traced steps."""
  whole = overlap(events)
  share = {"copies_beside_compute": whole["copies_beside_compute"]}
  try:
    return {**overlap(one_step(events)), **share}
  except ValueError:
    return share


def overlap(events: Sequence[Event]) -> dict[str, Any]:
  """How much of the time of copies to the device has computation beside it.

  Returns:
    `step_ms`, `compute_ms` (time in which kernels run), `copy_ms` (in which copies from
    the host run), `copies`, their number, and `copies_beside_compute`, the share of
    copy_ms in which kernels run, too.

  Raises:
    ValueError: the trace has no kernels, or no copies from the host.
  """
  threads = _threads(events, _processes(events))
  streams = [
    e
    for e in events
    if e.get("ph") == "X" and _thread(e, threads).startswith("Stream #")
  ]
  copies = [e for e in streams if is_copy_in(e, _thread(e, threads))]
  kernels = [
    e for e in streams if e not in copies and "memcpy" not in e["name"].lower()
  ]
  if not kernels or not copies:
    what = "kernels" if not kernels else "copies from the host"
    raise ValueError(f"the trace of the device's streams shows no {what}")
  computing, copying = (merged(map(_span, group)) for group in (kernels, copies))
  both = sum(
    max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in computing for b in copying
  )
  ends = [end for _, end in (*computing, *copying)]
  begins = [begin for begin, _ in (*computing, *copying)]
  return {
    "step_ms": round((max(ends) - min(begins)) / 1e3, 3),
    "compute_ms": round(_length(computing) / 1e3, 3),
    "copy_ms": round(_length(copying) / 1e3, 3),
    "copies": len(copies),
    "copies_beside_compute": round(both / _length(copying), 4),
  }


def is_copy_in(event: Event, thread: str = "") -> bool:
  """Whether an event of a stream, by this name, copies from the host to the device."""
  name = event["name"].lower()
  details = str(event.get("args", {}).get("memcpy_details", "")).lower()
  from_host = re.search(r"kind_src:(pageable|pinned)\b.*kind_dst:device", details)
  only = thread.lower().endswith("(memcpyh2d)")
  return "memcpyh2d" in name or "memcpyhtod" in name or bool(from_host) or only


def merged(spans: Iterable[Span]) -> list[Span]:
  """The union of spans of time, as spans that do not touch, ascending."""
  found: list[Span] = []
  for begin, end in sorted(spans):
    if found and begin <= found[-1][1]:
      found[-1] = (found[-1][0], max(found[-1][1], end))
    elif end > begin:
      found.append((begin, end))
  return found


def write(path: Path, events: Sequence[Event]) -> None:
  """Writes events as a trace for perfetto or chrome://tracing."""
  with gzip.open(path, "wt", encoding="utf-8") as file:
    json.dump({"traceEvents": list(events)}, file)


def _processes(events: Sequence[Event]) -> set[Any]:
  """Process numbers that stand for GPUs."""
  return {
    e["pid"]
    for e in events
    if e.get("name") == "process_name" and "/device:GPU" in str(e["args"].get("name"))
  }


def _threads(events: Sequence[Event], processes: set[Any]) -> dict[Any, str]:
  return {
    (e["pid"], e.get("tid")): str(e["args"].get("name"))
    for e in events
    if e.get("name") == "thread_name" and e["pid"] in processes
  }


def _thread(event: Event, threads: dict[Any, str]) -> str:
  return threads.get((event["pid"], event.get("tid")), "")


def _span(event: Event) -> Span:
  return event["ts"], event["ts"] + event.get("dur", 0)


def _length(spans: Sequence[Span]) -> float:
  return sum(end - begin for begin, end in spans)
