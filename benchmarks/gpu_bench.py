"""What the parts of `gpu.py` share: rows, time, children and compiled programs.

Rows are appended to the file of results as they come, each flushed to the disk, so that
a killed benchmark loses none.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gpu_programs
from gpu_processes import Child, Deadline, Failed, kill_all
from gpu_programs import Program, Sizes

HERE = Path(__file__).parent
ROOT = HERE.parent


class Rows:
  """The file of results.

  Args:
    path: file to append to.
    about: what every row says besides its figures.
  """

  def __init__(self, path: Path, about: dict[str, Any]):
    self.path, self.about = path, about
    self.written: list[dict[str, Any]] = []
    self._lock = threading.Lock()

  def write(self, table: str, **columns: Any) -> None:
    """Appends a row without what is None, and shows it."""
    row = {"table": table, **{k: v for k, v in columns.items() if v is not None}}
    with self._lock:
      self.written.append(row)
      self.path.parent.mkdir(parents=True, exist_ok=True)
      with self.path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**row, **self.about}) + "\n")
        file.flush()
        os.fsync(file.fileno())
      with contextlib.suppress(OSError):  # Whoever looked on has gone.
        print(json.dumps(row), flush=True)

  def missing(self, part: str, what: str, reason: str) -> None:
    """A row for a figure that could not be measured, and why."""
    self.write("gpu-missing", part=part, what=what, reason=reason)

  def of(self, table: str) -> list[dict[str, Any]]:
    """The rows written so far."""
    with self._lock:
      return [row for row in self.written if row["table"] == table]


@dataclasses.dataclass
class Bench:
  """A benchmark under way.

  Attributes:
    rows: where figures are written.
    work: folder for the cache, photos, runs and logs.
    environment: variables of all children.
    sizes: what is measured.
    parts: letters of the chosen parts.
    deadline: end of the whole.
    card: name in `planning.cards`, or None.
    memory: bytes of the card's memory; None without a GPU.
    cores: processor cores.
    toy: whether this is a test on CPU.
    missing: modules that are not there, by what needs them.
  """

  rows: Rows
  work: Path
  environment: dict[str, str]
  sizes: Sizes
  parts: str
  deadline: Deadline
  card: str | None
  memory: int | None
  cores: int
  toy: bool
  missing: dict[str, list[str]]

  def __post_init__(self) -> None:
    self.config = gpu_programs.write_config(self.work)
    self._compiled: dict[Program, dict[str, Any] | Failed] = {}
    self._lock = threading.Lock()
    self._count = 0

  def child(self, task: str, options: dict[str, Any], **variables: str) -> Child:
    """Starts a task of `gpu_child.py`; `variables` are added to its environment."""
    label = options.get("label", task)
    command = [sys.executable, str(HERE / "gpu_child.py"), task, json.dumps(options)]
    return Child(label, command, {**self.environment, **variables}, self.log(label))

  def run(self, name: str, workdir: Path, *options: str, **variables: str) -> Child:
    """Starts `experiments/run.py`; its log is beside the work folder."""
    command = [sys.executable, str(ROOT / "experiments" / "run.py")]
    command += [f"--config={self.config}", f"--workdir={workdir}", *options]
    return Child(name, command, {**self.environment, **variables}, self.log(name))

  def log(self, label: str) -> Path:
    """A new file for what a child prints."""
    with self._lock:
      self._count += 1
      number = self._count
    name = re.sub(r"[^\w.-]+", "_", label)
    return self.work / f"{number:03d}_{name}.log"

  def options(self, program: Program, label: str, **more: Any) -> dict[str, Any]:
    """What a child is told of a program."""
    return {
      "label": f"{label} {program}",
      "config": str(self.config),
      "settings": {**self.sizes.model, **program.settings},
      "card": self.card,
      **more,
    }

  def compile(
    self,
    first: Sequence[Program],
    rest: Sequence[Program],
    deadline: Deadline,
    head_start: float,
  ) -> None:
    """Compiles programs into the cache, several at once; keeps what failed, too.

    Args:
      first: programs that have the card to themselves.
      rest: programs that are begun once these are done, or `head_start` is over.
      deadline: when those still under way are stopped.
      head_start: seconds.
    """
    at_once = max(1, min(8, self.cores // 2))
    with concurrent.futures.ThreadPoolExecutor(max(at_once, len(first))) as threads:
      try:
        pending = {one: threads.submit(self._compile, one, deadline) for one in first}
        concurrent.futures.wait(pending.values(), timeout=head_start)
        pending |= {one: threads.submit(self._compile, one, deadline) for one in rest}
        for program, future in pending.items():
          self._compiled[program] = future.result()
      except BaseException:
        kill_all()
        raise

  def _compile(self, program: Program, deadline: Deadline) -> dict[str, Any] | Failed:
    try:
      left = deadline.left()
      with self.child("compile", self.options(program, "compile")) as child:
        return child.receive(left)
    except Failed as error:
      return error
    except Exception as error:  # Costs this program only.
      return Failed(f"compile {program}: {type(error).__name__}: {error}"[:300])

  def compiled(self, program: Program) -> dict[str, Any]:
    """What compiling a program said; Failed if it failed, or was not compiled."""
    result = self._compiled.get(program, Failed(f"compile {program}: not compiled"))
    if isinstance(result, Failed):
      raise result
    return result

  @contextlib.contextmanager
  def noting(self, part: str, what: str) -> Iterator[None]:
    """A figure that fails becomes a row with the reason, and the others go on."""
    try:
      yield
    except Failed as error:
      self.rows.missing(part, what, str(error))
    except Exception as error:  # A fault of the benchmark must cost one figure only.
      text = " ".join(str(error).split())
      self.rows.missing(part, what, f"{type(error).__name__}: {text}"[:300])
