"""Packing on a Dask cluster whose workers are killed: the bytes of the local packer."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from im21k.packing.pack import pack

ROOT = Path(__file__).parents[2]


def contents(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def environment(**more):
  return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def run(words, **more):
  return subprocess.run(
    words, capture_output=True, text=True, env=environment(), **more
  )


@contextlib.contextmanager
def loopback(count):
  """An address for each, all of the loopback device; `(command before, address)`."""
  yield [([], f"127.0.0.{2 + at}") for at in range(count)]


@contextlib.contextmanager
def namespaces(count):
  """A network namespace for each, with one address, joined by a bridge."""
  if os.geteuid() or not shutil.which("ip"):
    pytest.skip("network namespaces need root and iproute2")
  mark = f"{os.getpid() % 0xFFFF:x}"
  net, bridge = f"198.18.{os.getpid() % 250}", f"bm{mark}"
  names = [f"im21k-{mark}-{at}" for at in range(count)]
  lines = [
    f"link add {bridge} type bridge",
    f"addr add {net}.1/24 dev {bridge}",
    f"link set {bridge} up",
  ]
  for at, name in enumerate(names):
    lines += [
      f"netns add {name}",
      f"link add v{mark}{at} type veth peer name eth0 netns {name}",
      f"link set v{mark}{at} master {bridge}",
      f"link set v{mark}{at} up",
      f"-n {name} addr add {net}.{10 + at}/24 dev eth0",
      f"-n {name} link set eth0 up",
      f"-n {name} link set lo up",
    ]
  try:
    for line in lines:
      done = subprocess.run(["ip", *line.split()], capture_output=True, text=True)
      if done.returncode:
        pytest.skip(f"no network namespaces here: ip {line}: {done.stderr.strip()}")
    yield [
      (["ip", "netns", "exec", name], f"{net}.{10 + at}")
      for at, name in enumerate(names)
    ]
  finally:
    for line in (*(f"netns del {name}" for name in names), f"link del {bridge}"):
      subprocess.run(["ip", *line.split()], capture_output=True)


def wait_for(condition, process):
  """Waits; the process must not end before."""
  for _ in range(6000):
    if condition():
      return
    assert process.poll() is None, "it has ended"
    time.sleep(0.05)
  raise AssertionError("it takes too long")


# The first worker that comes to its fifth photo, or its second shard of runs, says so
# and waits, to be killed there. All take their time, so that none does everything.
PRELOAD = """
import os, time
from im21k.packing import external_shuffle, repair
calls = dict.fromkeys(("prepare", "read_records"), 0)
def slow(module, name, last):
  function = getattr(module, name)
  def slowed(*args):
    calls[name] += 1
    if calls[name] >= last:
      try:
        os.symlink(str(os.getpid()), name)
      except FileExistsError:
        pass
      else:
        time.sleep(600)
    time.sleep(0.1)
    return function(*args)
  setattr(module, name, slowed)
slow(repair, "prepare", 5)
slow(external_shuffle, "read_records", 2)
"""


class Cluster:
  """A scheduler of Dask, and workers, each a process with an address of its own."""

  def __init__(self, python, folder, members):
    self.python, self.folder, self.members = python, folder, members
    self.processes = []
    (folder / "preload.py").write_text(PRELOAD)
    before, host = members[0]
    about = folder / "scheduler.json"
    scheduler = self._start(
      *before, python, "-m", "distributed.cli.dask_scheduler", "--host", host,
      "--port", "0", "--scheduler-file", about, "--no-dashboard",
    )  # fmt: skip
    wait_for(lambda: about.exists() and about.read_text(), scheduler)
    self.address = json.loads(about.read_text())["address"]

  def add(self, count, *more):
    """Starts so many workers with more arguments; waits until all have joined."""
    for before, host in self.members[1 : 1 + count]:
      self._start(
        *before, self.python, "-m", "distributed.cli.dask_worker", self.address,
        "--host", host, "--nthreads", "1", "--no-nanny", "--no-dashboard",
        "--local-directory", self.folder / "dask", *more,
      )  # fmt: skip
    wait_for(lambda: self.logs().count("Registered to:") == count, self.processes[-1])

  def kill_at(self, place, process):
    """Kills the worker that waits at a place; the process must not end before."""
    link = self.folder / place
    wait_for(link.is_symlink, process)
    pid = int(os.readlink(link))
    (victim,) = (each for each in self.processes if each.pid == pid)
    os.kill(pid, signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL

  def _start(self, *words, **more):
    log = (self.folder / f"dask-{len(self.processes)}.log").open("w")
    process = subprocess.Popen(
      list(map(str, words)), stdout=log, stderr=log, cwd=self.folder,
      env=environment(**more),
    )  # fmt: skip
    self.processes.append(process)
    log.close()
    return process

  def logs(self):
    return "".join(path.read_text() for path in sorted(self.folder.glob("dask-*.log")))

  def end(self):
    for process in self.processes:
      with contextlib.suppress(ProcessLookupError):
        process.kill()
      process.wait()


@pytest.fixture
def cluster(beam_python, tmp_path, request):
  (folder := tmp_path / "cluster").mkdir()
  with {"loopback": loopback, "namespaces": namespaces}[request.param](5) as members:
    cluster = Cluster(beam_python, folder, members)
    try:
      yield cluster
    finally:
      cluster.end()


@pytest.mark.slow
@pytest.mark.parametrize(
  ("shuffle", "cluster"),
  [("direct", "loopback"), ("external", "loopback"), ("external", "namespaces")],
  indirect=["cluster"],
)
def test_a_dask_cluster_that_loses_workers_writes_the_same_bytes(
  source, tmp_path, command, cluster, shuffle
):
  """In each pass a worker is killed in the middle of a task, with SIGKILL."""
  options = {"shards": 12, "shuffle": shuffle, "eval_per_class": 1}
  options |= {"memory": 1e-5} if shuffle == "external" else {}
  pack(source, tmp_path / "local", workers=2, **options)
  places = ["prepare"] + ["read_records"] * (shuffle == "external")
  cluster.add(2 + len(places), "--preload", "preload.py")
  process = subprocess.Popen(
    command(
      source, tmp_path / "dask", "--beam-options", "--runner=DaskRunner",
      f"--beam-options=--dask_client_address={cluster.address}", **options,
    ),
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
  )  # fmt: skip
  cluster.processes.append(process)
  for place in places:
    cluster.kill_at(place, process)
    assert not (tmp_path / "dask" / "manifest.json").exists()
  out, error = process.communicate(timeout=300)
  assert process.returncode == 0, error + cluster.logs()
  assert "packed 33 train and 3 held-out photos" in out
  assert contents(tmp_path / "local") == contents(tmp_path / "dask")


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["loopback"], indirect=True)
def test_a_worker_of_dask_that_cannot_work_is_one_line(
  source, tmp_path, command, cluster
):
  """It comes upon a class that nothing lists."""
  cluster.add(1)
  options = f"--beam-options=--runner=dask --dask_client_address={cluster.address}"
  with tarfile.open(tmp_path / "a.tar", "w") as tar:
    tar.add(source, "")
    tar.add(source / "n01440764", "n00000001")
  done = run(command(tmp_path / "a.tar", tmp_path / "out", options))
  assert done.returncode == 1
  last = done.stderr.splitlines()[-1]
  assert last.startswith("im21k pack: ") and "which is not among the" in last
  assert last.endswith(f"(worker {socket.gethostname()})")
