"""Workers: as many as the process may use cores, and all end with their parent."""

import contextlib
import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from im21k.packing import workers
from im21k.packing.pack import pack
from im21k.packing.verify import verify

FISH = "n01440764"
ROOT = Path(__file__).parents[2]


def test_one_worker_for_each_core_that_the_process_may_use(
  photos, tmp_path, monkeypatch
):
  """A batch system allots 8 cores of a node that has 128."""
  monkeypatch.setattr(os, "cpu_count", lambda: 128)
  monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
  sizes = []

  class Pool(workers.futures.ThreadPoolExecutor):
    def __init__(self, count, mp_context, initializer, initargs):
      sizes.append(count)
      super().__init__(1)

  monkeypatch.setattr(workers.futures, "ProcessPoolExecutor", Pool)
  monkeypatch.setattr(workers, "_context", lambda: multiprocessing)
  source = photos({FISH: 3})
  pack(source, tmp_path / "direct")
  pack(source, tmp_path / "external", shuffle="external")
  verify(tmp_path / "direct")
  assert sizes == [8, 8, 8, 8]


def test_workers_are_deaf_to_ctrl_c():
  handlers = workers.run_local(signal.getsignal, [signal.SIGINT] * 2, workers=2)
  assert list(handlers) == [signal.SIG_IGN] * 2


# Its second worker starts when the first has done all there is to do.
LATE = """
import multiprocessing, sys, time
if multiprocessing.current_process().name.endswith("-2"):
  time.sleep(1.5)
from im21k import cli
if __name__ == "__main__":
  sys.exit(cli.main())
"""


@pytest.mark.parametrize("command", ["pack", "verify"])
def test_a_worker_that_starts_late_makes_no_noise(photos, tmp_path, command):
  """It missed the semaphores, which were gone, in a traceback after a success."""
  (tmp_path / "late.py").write_text(LATE)
  words = ["pack", photos({FISH: 3}), "out"]
  if command == "verify":
    pack(*words[1:2], tmp_path / "out", workers=1)
    words = ["verify", "out"]
  done = subprocess.run(
    [sys.executable, "late.py", *words, "--workers=2"], cwd=tmp_path, text=True,
    capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
  )  # fmt: skip
  assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_waits_until_a_worker_is_known():
  seen = []
  with pytest.raises(KeyboardInterrupt), workers._undisturbed():
    signal.raise_signal(signal.SIGINT)
    seen.append("started")
  assert seen and signal.getsignal(signal.SIGINT) is signal.default_int_handler
  with pytest.raises(KeyboardInterrupt):
    signal.raise_signal(signal.SIGINT)


def children(process):
  """Ids of the processes below one, those that start workers included."""
  found, new = set(), {process.pid}
  while new:
    found |= new
    rows = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True)
    pairs = [tuple(map(int, row.split())) for row in rows.stdout.splitlines()]
    new = {pid for pid, parent in pairs if parent in new} - found
  return found - {process.pid}


# Workers that say when they have started, and then sleep in the middle of a task.
SLEEPS = """
import os, sys, time
from im21k import cli
from im21k.packing import shard_writer, repair
def sleep(*_):
  os.write(2, b"working\\n")  # At once: two workers may write together.
  time.sleep(600)
repair.prepare = sleep
if __name__ == "__main__":
  sys.exit(cli.main())
"""


@pytest.fixture
def working(photos, tmp_path):
  """A packer, in a session of its own, both of whose workers are in their tasks."""
  (tmp_path / "packer.py").write_text(SLEEPS)
  command = ["packer.py", "pack", photos({FISH: 9}), "out", "--workers=2", "--shards=4"]
  process = subprocess.Popen(
    [sys.executable, *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
  )  # fmt: skip
  assert [process.stderr.readline() for _ in range(2)] == ["working\n"] * 2
  workers = children(process)
  yield process
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)
  assert not [pid for pid in workers if is_running(pid)]


def is_running(pid):
  for _ in range(600):
    try:
      state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
      return False
    if state == "Z":
      return False
    time.sleep(0.05)  # The resource tracker looks around before it ends.
  return True


def has_ended(process, status, line):
  """Whether a packer has said one line, and left nothing half and no lock."""
  _, error = process.communicate(timeout=60)
  folder = Path(process.args[3]).with_name("out") / ".packing"
  left = [p.name for p in folder.iterdir() if p.suffix == ".lock" or p.name[0] == "."]
  return (process.returncode, error, left) == (status, f"{line}\n", [])


@pytest.mark.parametrize("everybody", [True, False])
def test_ctrl_c_ends_all_with_one_line(working, everybody):
  """Pressed in a terminal it reaches all processes, `kill -INT` one."""
  (os.killpg if everybody else os.kill)(working.pid, signal.SIGINT)
  assert has_ended(working, 130, "im21k: interrupted")


def test_a_killed_worker_ends_all_with_what_to_do(working):
  os.kill(max(children(working)), signal.SIGKILL)
  line = (
    "im21k pack: a worker process was killed, perhaps because memory ran out: repeat "
    "the command, with fewer --workers"
  )
  assert has_ended(working, 1, line)


def test_workers_end_with_their_killed_parent(working):
  pids = children(working)
  working.kill()
  working.wait()
  assert not [pid for pid in pids if is_running(pid)]
  working.stderr.close()


def test_a_killed_worker_is_an_error_with_what_to_do():
  with pytest.raises(ChildProcessError, match=r"was killed.* with fewer --workers"):
    list(workers.run_local(os._exit, [1], workers=2))


def test_workers_are_gone_when_nobody_asks_for_more(tmp_path):
  results = workers.run_local(time.sleep, [0, 600, 600], workers=2)
  assert next(results) is None and len(multiprocessing.active_children()) == 2
  results.close()
  assert not multiprocessing.active_children()


@pytest.mark.parametrize("what", ["Lock", "RawArray", "Pipe"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EMFILE])
def test_without_shared_memory_it_says_what_to_do(
  photos, tmp_path, monkeypatch, what, code
):
  context = multiprocessing.get_context("forkserver")

  def fails(*args, **options):
    raise OSError(code, os.strerror(code))

  monkeypatch.setattr(type(context), what, fails)
  with pytest.raises(ChildProcessError, match=r"--shm-size.*or give --workers 1") as e:
    pack(photos({FISH: 3}), tmp_path / "out", workers=2)
  assert os.strerror(code) in str(e.value) and "\n" not in str(e.value)
  assert pack(tmp_path / "photos", tmp_path / "out", workers=1)["train"] == 3
