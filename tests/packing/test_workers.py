"""Workers: as many as the process may use cores, and the same bytes with Beam."""

import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from im21k.packing import workers
from im21k.packing.pack import pack
from im21k.packing.verify import verify

FISH, SHARK = "n01440764", "n01484850"
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


def test_ctrl_c_ends_workers_without_a_traceback():
  handlers = workers.run_local(signal.getsignal, [signal.SIGINT] * 2, workers=2)
  assert list(handlers) == [signal.SIG_DFL] * 2


def test_a_killed_worker_is_an_error_with_what_to_do():
  with pytest.raises(ChildProcessError, match=r"was killed.* with fewer --workers"):
    list(workers.run_local(os._exit, [1], workers=2))


def test_beam_that_is_not_installed_is_an_error_with_what_to_do(monkeypatch):
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  with pytest.raises(ValueError, match=r"pip install 'im21k\[beam\]'"):
    list(workers.run_beam(len, [()], workers=1))


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_a_beam_pipeline_writes_the_same_bytes(photos, tmp_path, need, shuffle):
  """On Beam's local runner with several processes, in an environment of its own."""
  own = importlib.util.find_spec("apache_beam")
  python = Path(sys.executable) if own else Path(sys.prefix) / "beam" / "bin" / "python"
  need(python.exists(), "Apache Beam is not installed: make test does that")
  source = photos({FISH: 9, SHARK: 8})
  (source / FISH / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
  options = {"shards": 3, "shuffle": shuffle, "memory": 1e-5, "eval_per_class": 1}
  pack(source, tmp_path / "local", workers=2, **options)
  flags = (f"--{name.replace('_', '-')}={value}" for name, value in options.items())
  command = [python, "-m", "im21k.cli", "pack", source, tmp_path / "beam", *flags]
  done = subprocess.run(
    [*command, "--runner=beam", "--workers=2"],
    capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  contents = [
    {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    for name in ("local", "beam")
  ]
  assert contents[0] == contents[1]
