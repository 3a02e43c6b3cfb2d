"""Processes that begin and end together."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from im21k import cli
from im21k.hosts import launch

SHOW = "import os; print(*(os.environ[k] for k in ('IM21K_HOSTS', 'IM21K_HOST')))"


def run(capfd, *arguments):
  status = cli.main(["launch", *arguments])
  return status, *capfd.readouterr()


def test_each_has_its_number_before_its_lines(capfd):
  status, out, _ = run(capfd, "--hosts", "3", "--", sys.executable, "-c", SHOW)
  assert status == 0
  lines = sorted(line for line in out.splitlines() if line.startswith("["))
  assert lines == ["[0] 3 0", "[1] 3 1", "[2] 3 2"]


def test_when_one_fails_all_end_and_the_reason_is_named(capfd, monkeypatch):
  monkeypatch.setattr(launch, "_GRACE", 0.5)
  command = 'test "$IM21K_HOST" = 1 && exit 3; sleep 600'
  status, _, err = run(capfd, "--hosts", "2", "--", "sh", "-c", command)
  assert status == 1
  assert "im21k launch: host 1 has ended with status 3" in err


def test_who_ends_because_of_another_is_not_the_reason(capfd):
  command = 'test "$IM21K_HOST" = 0 && exit 75; sleep 0.5; exit 4'
  status, _, err = run(capfd, "--hosts", "2", "--", "sh", "-c", command)
  assert status == 1
  assert "im21k launch: host 1 has ended with status 4" in err


def test_all_are_started_again(capfd, tmp_path):
  mark = tmp_path / "mark"
  command = f'test -e {mark} && exit 0; test "$IM21K_HOST" = 0 && touch {mark}; exit 75'
  arguments = ("--hosts", "2", "--restarts", "3", "--", "sh", "-c", command)
  status, out, err = run(capfd, *arguments)
  assert status == 0
  assert "starting all again (1 of 3)" in err
  assert "2 hosts ended, after 1 restart" in out


def test_a_wrong_command_line_is_not_tried_again(capfd):
  status, _, err = run(
    capfd, "--hosts", "1", "--restarts", "5", "--", "sh", "-c", "exit 2"
  )
  assert status == 1 and "starting" not in err


def test_gpus_are_dealt_out(capfd, monkeypatch):
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
  show = 'echo "$CUDA_VISIBLE_DEVICES"'
  _, out, _ = run(capfd, "--hosts", "2", "--gpus-each", "2", "--", "sh", "-c", show)
  assert {"[0] 4,5", "[1] 6,7"} <= set(out.splitlines())
  status, _, err = run(
    capfd, "--hosts", "3", "--gpus-each", "2", "--", "sh", "-c", show
  )
  assert status == 1 and "CUDA_VISIBLE_DEVICES names 4" in err


@pytest.mark.parametrize(
  "command",
  [["recalibrate", "w", "p", "o"], ["sweep", "demo", "--over", "seed=0,1"]],
)
def test_what_each_host_would_repeat_is_refused(capfd, monkeypatch, command):
  found = {"IM21K_COORDINATOR": "a:7000", "IM21K_HOSTS": "2", "IM21K_HOST": "0"}
  for name, value in found.items():
    monkeypatch.setenv(name, value)
  assert cli.main(command) == 1
  assert f"{command[0]} runs on one host only" in capfd.readouterr().err


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    (("--hosts", "0", "--", "true"), "hosts is 0"),
    (("--hosts", "2", "--gpus-each", "0", "--", "true"), "gpus_each is 0"),
    (("--hosts", "2", "--restarts", "-1", "--", "true"), "restarts is -1"),
    (("--hosts", "2", "--", "no-such-command"), "no command 'no-such-command'"),
  ],
)
def test_what_is_wrong_is_named(capfd, arguments, words):
  status, _, err = run(capfd, *arguments)
  assert status == 1 and words in err


def test_a_signal_goes_to_all(tmp_path):
  trap = f'trap "touch {tmp_path}/$IM21K_HOST; exit 0" TERM'
  command = ["sh", "-c", f"{trap}; echo up; while :; do sleep 0.05; done"]
  launched = [sys.executable, "-m", "im21k", "launch", "--hosts", "2", "--", *command]
  process = subprocess.Popen(launched, stdout=subprocess.PIPE, text=True)
  watchdog = threading.Timer(60, process.kill)
  watchdog.start()
  for _ in range(2):
    assert "up" in process.stdout.readline()
  os.kill(process.pid, signal.SIGTERM)
  assert process.wait() == 0
  process.stdout.close()
  watchdog.cancel()
  assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
