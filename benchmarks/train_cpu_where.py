"""Where the time of a training step goes on CPU, by kind of work, from a trace.

In: a step and the text of its program; out: one row per kind of work, `ms` of wall time
and `share` of their sum. An instruction lasts until its event `end:`, since some hand
work to threads of which a trace says nothing; several at a time share the time equally.
"""

import collections
import gzip
import json
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax

KINDS = (
  "convolution, forward",
  "convolution, image gradient",
  "convolution, kernel gradient",
  "BatchNorm and ReLU, forward",
  "BatchNorm and ReLU, backward",
  "pools",
  "joining and splitting",
  "head and loss",
  "optimizer",
  "rest",
)
_LINE = re.compile(r"\s*(?:ROOT )?%?([\w.\-]+) = ")
_COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.\-]+) .*\{$")
# What `origins` adds where a matrix product sums over rows: images and pixels.
SUMMED = " (over rows)"
_ROWS = "lhs_contracting_dims={0}"
_CONVOLUTION = re.compile(
  r"conv_general_dilated|dot_general|\.weights/|/while|"
  r"/(conv\w+(\.pooled)?|3x3|double_3x3_\d|proj)/cond/"
)
_POOLED_FORWARD = re.compile(r"\.pooled/bn\.own/.*(select_n|pad|slice|lt|or|ne)$")
_POOLED_BACKWARD = re.compile(r"\.pooled/bn\.own/cond/\w+/(?!reduce_sum)")


def parts(step: Callable[[], Any], text: str) -> list[dict[str, Any]]:
  """Rows of one step, after a step that is not traced.

  Args:
    step: runs the program once, to its end.
    text: the compiled program; it names the origin of each instruction.
  """
  step()
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      step()
    (path,) = Path(folder).rglob("*.trace.json.gz")
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
  named = origins(text)
  spent = shared(
    {n: kind(o) for n, o in named.items() if not o.endswith("/while")}, events
  )
  total = sum(spent.values())
  return [
    {"where": k, "ms": round(spent[k] / 1e3, 1), "share": round(spent[k] / total, 4)}
    for k in KINDS
  ]


def origins(text: str) -> dict[str, str]:
  """`op_name` of each instruction of a program, or nothing; see also `SUMMED`."""
  found: dict[str, str] = {}
  over_rows, computation = set(), ""
  calls: dict[str, str] = {}
  for line in text.splitlines():
    if header := _COMPUTATION.match(line):
      computation = header[1]
    if not (match := _LINE.match(line)):
      continue
    name = match[1]
    origin = re.search(r'op_name="([^"]*)"', line)
    found[name] = origin[1] if origin else ""
    if _ROWS in line:
      over_rows |= {name, computation}
    if called := re.search(r"calls=%?([\w.\-]+)", line):
      calls[name] = called[1]
  for name, origin_of in found.items():
    if {name, calls.get(name)} & over_rows:
      found[name] = origin_of + SUMMED
  return found


def shared(
  kinds: dict[str, str], events: Iterable[dict[str, Any]]
) -> collections.Counter[str]:
  """Microseconds of each kind; `kinds` has that of each instruction, loops left out."""
  starts: dict[str, list[tuple[float, float]]] = collections.defaultdict(list)
  ends: dict[str, list[float]] = collections.defaultdict(list)
  for event in events:
    name = event.get("name", "")
    if event.get("ph") == "X" and name in kinds:
      starts[name].append((event["ts"], event["ts"] + event.get("dur", 0)))
    elif "ts" in event and name.startswith("end: "):
      ends[name.removeprefix("end: ")].append(event["ts"])
  changes: list[tuple[float, int, str]] = []
  for name, spans in starts.items():
    last = sorted(ends[name])
    if len(last) != len(spans):
      last = [0.0] * len(spans)
    for (start, end), later in zip(sorted(spans), last, strict=True):
      changes += [(start, 1, kinds[name]), (max(end, later), -1, kinds[name])]
  spent: collections.Counter[str] = collections.Counter()
  active: collections.Counter[str] = collections.Counter()
  before = 0.0
  for now, change, one in sorted(changes):
    if count := sum(active.values()):
      for each, n in active.items():
        spent[each] += (now - before) * n / count
    active[one] += change
    before = now
  return spent


def kind(origin: str) -> str:
  """What work an instruction does, by what `origins` says of it."""
  backward = "transpose(" in origin
  if re.fullmatch(r"jit\(step\)/(add|mul|sub|neg)", origin):
    return "optimizer"
  if re.search(r"/head/|jvp\((jit\(\w+\))?\)|jvp\(InceptionBN\)+/\w+$", origin):
    return "head and loss"
  if "bn.own" in origin:
    pooled = _POOLED_BACKWARD if backward else _POOLED_FORWARD
    if pooled.search(origin):
      return "pools"
    return f"BatchNorm and ReLU, {'backward' if backward else 'forward'}"
  if _CONVOLUTION.search(origin):
    if not backward:
      return "convolution, forward"
    kernel = SUMMED in origin or "/while" in origin or ".weights" in origin
    if kernel or origin.endswith("/broadcast_in_dim"):
      return "convolution, kernel gradient"
    return "convolution, image gradient"
  if re.search(r"/(concatenate|split|add_any)$", origin):
    return "joining and splitting"
  return "pools" if "/block_" in origin else "rest"
