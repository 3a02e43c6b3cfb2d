"""A run over several processes is the run of one, whatever happens to one of them."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from im21k import weights
from im21k.packing.pack import pack

PROGRAM = str(Path(__file__).with_name("program.py"))
CONFIG = """
from ml_collections import ConfigDict


def get_config():
  return ConfigDict({document!r})
"""
DOCUMENT = {
  "model": {"name": "tiny"},
  "total": {"steps": 12},
  "schedule": {"name": "stepwise", "rates": (0.1, 0.01), "until": {"steps": (8,)}},
  "batch_size": 8,
  "image_size": 32,
  "log_every": {"steps": 5},
  "eval_every": {"steps": 6},
  "save_every": {"steps": 4},
  "devices": 2,
}
TIMES = ("time", "secs", "images_per_s", "share", "mib")


class Runner:
  """Runs of one config in work folders of their own."""

  def __init__(self, folder, data):
    self._folder = folder
    document = {**DOCUMENT, "data": str(data)}
    self.config = folder / "config.py"
    self.config.write_text(CONFIG.format(document=document), encoding="utf-8")

  def command(self, name, *settings):
    workdir = str(self._folder / name)
    train = [sys.executable, PROGRAM, "train", str(self.config), "--workdir", workdir]
    return [*train, *settings]

  def start(self, command, environment=None):
    process = subprocess.Popen(
      command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
      env={**os.environ, "JAX_PLATFORMS": "cpu", **(environment or {})},
    )  # fmt: skip
    watchdog = threading.Timer(240, process.kill)
    watchdog.daemon = True
    watchdog.start()
    return process

  def launch(self, name, *settings, hosts=2, restarts=0):
    many = ["launch", "--hosts", f"{hosts}", "--restarts", f"{restarts}", "--"]
    command = self.command(name, "--heartbeat", "120", *settings)
    return self.start([sys.executable, PROGRAM, *many, *command])

  def one(self, name, *settings):
    return self.start(self.command(name, *settings))

  def arrays(self, name):
    return load_file(self._folder / name / "weights" / weights.ARRAYS)

  def rows(self, name):
    """Rows of metrics, without what a clock says."""
    lines = (self._folder / name / "metrics.jsonl").read_text().splitlines()
    return [
      {k: v for k, v in json.loads(line).items() if not any(t in k for t in TIMES)}
      for line in lines
    ]


def ended(process):
  out, _ = process.communicate()
  assert process.returncode == 0, out
  return out


def hit(process, host, number):
  """Sends a signal to a host of a launch in the middle of its run; what all said."""
  out, done = [], False
  with process.stdout:
    for line in process.stdout:
      out.append(line)
      if "checkpoint saved at step 4" in line and not done:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        os.kill(int(children.split()[host]), number)
        done = True
  assert process.wait() == 0, "".join(out)
  return "".join(out)


def difference(one, other):
  """The largest absolute one; of arrays beyond 1, variances, a share of the largest."""

  def of(array, other):
    return float(np.abs(array.astype("f8") - other).max() / max(1, np.abs(other).max()))

  return max(of(one[k], other[k]) for k in one)


def same(one, other):
  return all(np.array_equal(one[k], other[k]) for k in {*one, *other})


@pytest.fixture(scope="module")
def runner(tmp_path_factory, packed):
  return Runner(tmp_path_factory.mktemp("hosts"), packed)


@pytest.fixture(scope="module")
def whole(runner):
  """The run of two hosts, each with two devices, that nothing happens to."""
  return ended(runner.launch("whole"))


def test_two_hosts_are_as_one_and_as_four(runner, whole):
  assert "on 2 hosts x 2 x cpu" in re.sub(r"\n\[0\] +", " ", whole)  # in one line
  said = [line for line in whole.splitlines() if line.startswith("[1]")]
  assert not said
  ended(runner.one("one", "--config.devices=4"))
  assert difference(runner.arrays("whole"), runner.arrays("one")) <= 2e-6
  ended(runner.launch("four", "--config.devices=1", hosts=4))
  assert difference(runner.arrays("whole"), runner.arrays("four")) <= 2e-6
  for row, other in zip(runner.rows("whole"), runner.rows("one"), strict=True):
    assert row == pytest.approx(other, rel=1e-4)
    assert row.get("eval_count") == other.get("eval_count")


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_killed_and_started_again_it_ends_in_the_same_bits(runner, whole, killed):
  process = runner.launch(f"killed-{killed}", restarts=1)
  text = hit(process, killed, signal.SIGKILL)
  lost = re.search(rf"\[{1 - killed}\] im21k: host {killed} \(.*\) after step ", text)
  assert lost and "the last checkpoint is that of step" in text, text
  assert "starting all again (1 of 1)" in text
  assert same(runner.arrays("whole"), runner.arrays(f"killed-{killed}"))
  assert runner.rows("whole") == runner.rows(f"killed-{killed}")


@pytest.mark.slow
def test_a_signal_to_one_stops_all_after_the_same_step(runner, whole):
  process = runner.launch("stopped", "--config.total.steps=4000")
  assert "stopped: run again" in hit(process, 1, signal.SIGTERM)
  ended(runner.launch("stopped"))
  assert same(runner.arrays("whole"), runner.arrays("stopped"))


@pytest.mark.slow
@pytest.mark.parametrize(
  "settings",
  [
    ["--config.split_head=True"],
    ["--config.mix.mixup=0.3", "--config.accumulate=2", "--config.batch_size=16"],
    ["--config.average.name=ema", "--config.average.horizon.steps=8"],
  ],
)
def test_what_a_step_may_do_is_the_same_over_hosts(runner, settings):
  name = settings[0].partition("=")[0]
  ended(runner.one(f"one{name}", "--config.devices=4", *settings))
  ended(runner.launch(f"two{name}", *settings))
  found = difference(runner.arrays(f"one{name}"), runner.arrays(f"two{name}"))
  assert found <= 2e-6


@pytest.mark.slow
def test_recalibrated_statistics_are_those_of_one_host(runner):
  ended(runner.one("one-again", "--config.devices=4", "--config.recalibrate=16"))
  ended(runner.launch("two-again", "--config.recalibrate=16"))
  one, two = runner.arrays("one-again"), runner.arrays("two-again")
  for name in one:  # Kernels differ by 3e-7; they weigh pixels of up to 138.
    np.testing.assert_allclose(two[name], one[name], rtol=4e-5, atol=2e-6)


@pytest.mark.parametrize(
  ("setting", "words"),
  [
    ("--config.seed=1", "another config than host 0: seed is 1 there, 0 on host 0"),
    ("--config.data={folder}/data", "another data than host 0: "),
    ("--workdir={folder}/other", "does not see what host 0 writes"),
    ("COMMIT=abc", "another code than host 0: commit is abc there, "),
  ],
)
def test_hosts_that_differ_say_in_what_on_all(
  runner, setting, words, tmp_path, sample_photos
):
  from .conftest import free_port

  own = setting.format(folder=tmp_path)
  environment = {}
  place = f"127.0.0.1:{free_port()}"
  hosts = ["--coordinator", place, "--hosts", "2"]
  first = runner.command("differ", *hosts, "--host", "0")
  second = runner.command("differ", *hosts, "--host", "1")
  if own.startswith("--workdir"):
    second[second.index("--workdir") + 1] = own.partition("=")[2]
  elif own.startswith("COMMIT"):
    environment["COMMIT"] = own.partition("=")[2]
  else:
    if own.startswith("--config.data"):
      pack(sample_photos, tmp_path / "data", eval_per_class=3, workers=1)
    second.append(own)
  processes = [runner.start(first), runner.start(second, environment)]
  outs = [process.communicate()[0] for process in processes]
  assert all(process.returncode for process in processes)
  assert all(words in out and "Traceback" not in out for out in outs), outs
