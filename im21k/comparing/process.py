"""Requests to `child` in a process of its own: what it answers, and what it costs.

Signals come to the sweep alone, which passes on the first one: a run saves and stops.
"""

import dataclasses
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import im21k
from im21k.comparing.grid import Run
from im21k.training.signals import StopSignals

_ROOT = str(Path(im21k.__file__).parents[1])
# The same im21k as this one, wherever Python would look for another.
_CODE = (
  "import sys; root = sys.argv.pop(); root in sys.path or sys.path.insert(0, root); "
  "from im21k.comparing import child; sys.exit(child.main())"
)
COMMAND = (sys.executable, "-P", "-c", _CODE, _ROOT)
_EACH_S = 0.2  # Between looks at the child and at signals.


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What has become of a request.

  Attributes:
    answer: the child's; `error` and `kind`, if it ended without one.
    seconds: from its start to its end.
    processor_s: processor seconds of the child and its workers.
  """

  answer: dict[str, Any]
  seconds: float
  processor_s: float


def ask(request: dict[str, Any], signals: StopSignals) -> Outcome:
  """Starts a child, and waits until it has ended.

  Whatever ends this wait closes the child's standard input, at which it stops.
  """
  begun, before = time.monotonic(), _processor_s()
  with tempfile.TemporaryFile() as answers:
    # A session of its own: Ctrl-C comes to all processes of a terminal's group.
    with subprocess.Popen(
      COMMAND, stdin=subprocess.PIPE, stdout=answers, start_new_session=True
    ) as child:
      _wait(child, request, signals)
    answers.seek(0)
    lines = answers.read().splitlines()
  answer = _answer(lines, child.returncode)
  return Outcome(answer, time.monotonic() - begun, _processor_s() - before)


def check(runs: Sequence[Run], signals: StopSignals) -> list[dict[str, Any]]:
  """`total` steps and `hashes` of the data of each combination, none after a signal.

  Raises:
    ValueError: one of them cannot be run.
  """
  first = {run.cell: run for run in reversed(runs)}
  cells = [first[cell] for cell in sorted(first)]
  request = {"do": "check", "configs": [run.config.to_dict() for run in cells]}
  answer = ask(request, signals).answer
  if signals.stop:
    return []
  if "error" in answer:
    raise ValueError(f"the runs cannot be checked: {answer['error']}")
  found: list[dict[str, Any]] = answer["checked"]
  for run, one in zip(cells, found, strict=True):
    if "error" in one:
      of = " ".join(f"{name}={value}" for name, value in run.values.items())
      raise ValueError(f"{of}: {one['error']}" if of else one["error"])
  return found


def _wait(
  child: subprocess.Popen[bytes], request: dict[str, Any], signals: StopSignals
) -> None:
  assert child.stdin is not None
  try:
    child.stdin.write(json.dumps(request).encode() + b"\n")
    child.stdin.flush()
    is_sent = False
    while child.poll() is None:
      if signals.stop and not is_sent:
        child.send_signal(signal.SIGTERM)
        is_sent = True
      time.sleep(_EACH_S)
  except BrokenPipeError:
    pass  # It ended before it had read; why, its status says.


def _answer(lines: list[bytes], status: int) -> dict[str, Any]:
  """The last line of what a child has printed, if it ended well."""
  if status == 0 and lines:
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer
  if status < 0:
    name = signal.Signals(-status).name
    hint = ", as for want of memory" if name == "SIGKILL" else ""
    return {"error": f"its process was ended by {name}{hint}", "kind": name}
  return {"error": f"its process ended with status {status}", "kind": "Status"}


def _processor_s() -> float:
  """Processor seconds of all children that have ended."""
  usage = resource.getrusage(resource.RUSAGE_CHILDREN)
  return usage.ru_utime + usage.ru_stime
