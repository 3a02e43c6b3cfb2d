"""Sweeps of stand-ins: nothing is run twice, whoever is killed; failures are kept."""

import collections
import csv
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from im21k import cli, lock
from im21k.comparing import process, sweep
from im21k.comparing.sweep import text
from im21k.training.config import Config

from .conftest import STUB
from .stub_child import DIES, DIVERGES, HASHES, RAISES, REFUSED, WAITS


@pytest.fixture
def start(config, stub, tmp_path):
  """Starts a sweep of stand-ins in tmp_path / "s"."""

  def start(*over, seeds=2, settings=None, **options):
    options.setdefault("workdir", tmp_path / "s")
    lines = "\n".join(over) or None
    return sweep.sweep(
      str(config), over=lines, seeds=seeds, settings=settings or {}, **options
    )

  return start


def steps(root):
  """Each `NAME step N` that a stand-in has taken, and how often."""
  lines = (root / "steps.log").read_text().splitlines()
  return collections.Counter(line for line in lines if " step " in line)


def statuses(result):
  return {run["name"]: run["status"] for run in result["runs"]}


def test_all_runs_are_trained_once_and_never_again(start, tmp_path):
  first = start("optimizer.weight_decay=0,0.1", "batch_size=8,16")
  assert set(statuses(first).values()) == {"finished"} and len(first["runs"]) == 8
  assert not {"failed", "stopped_by"} & set(first)
  wanted = steps(tmp_path / "s")
  assert len(wanted) == 8 * 4 and set(wanted.values()) == {1}
  again = start("optimizer.weight_decay=0,0.1", "batch_size=8,16")
  assert again == first and steps(tmp_path / "s") == wanted
  # Names in another order, a further value and seed: what is there is recognised.
  grown = start("batch_size=8,16", "optimizer.weight_decay=0.1,0,0.2", seeds=3)
  assert len(grown["runs"]) == 18
  found = steps(tmp_path / "s")
  assert found & wanted == wanted and len(found) == 18 * 4
  assert set(found.values()) == {1}


def test_a_sweep_that_gets_a_key_keeps_the_runs_it_has(start, tmp_path):
  start("optimizer.weight_decay=0,0.1", settings={"batch_size": 8})
  start("optimizer.weight_decay=0,0.1", "batch_size=8,16")
  assert len(list((tmp_path / "s").glob("*/weights"))) == 8
  assert set(steps(tmp_path / "s").values()) == {1}


def test_the_table_has_mean_and_deviation_by_hand(start, tmp_path):
  result = start("optimizer.weight_decay=0,0.1")
  first, second = result["cells"]
  # Held-out: half of (0.4 + seed / 100 + decay), seeds 3 and 4.
  assert first["eval_top_1_mean"] == pytest.approx((0.43 + 0.44) / 4)
  assert first["eval_top_1_std"] == pytest.approx(0.005 / 2**0.5)
  assert second["gain_mean"] == pytest.approx(0.05) and second["pairs"] == 2
  assert second["gain_std"] == pytest.approx(0, abs=1e-12)
  assert first["train_top_1_mean"] == pytest.approx(0.435)
  assert first["images_per_s_mean"] == 100 and first["images_per_s_std"] == 0
  assert first["processor_h_mean"] > 0 and first["is_whole_cost"]
  shown = text(result).splitlines()
  assert shown[0].split()[:4] == ["optimizer.weight_decay", "runs", "held-out", "top-1"]
  assert re.match(r"0 +2/2 +21\.75 ± 0\.35 +- ", shown[1])
  assert re.match(r"0\.1 +2/2 +26\.75 ± 0\.35 +\+5\.00 ± 0\.00 ", shown[2])
  assert "4 runs: 4 finished" in shown
  with (tmp_path / "s" / "sweep.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [row["optimizer.weight_decay"] for row in rows] == ["0", "0.1"]
  assert float(rows[1]["gain_mean"]) == pytest.approx(0.05)
  with (tmp_path / "s" / "runs.csv").open() as file:
    assert [row["status"] for row in csv.DictReader(file)] == ["finished"] * 4


def test_further_evaluation_sets_are_columns_too(start, tmp_path):
  start(seeds=2)
  for seed in (3, 4):
    with (tmp_path / "s" / f"seed={seed}" / "metrics.jsonl").open("a") as file:
      file.write(json.dumps({"step": 4, "eval_val_top_1": seed / 10}) + "\n")
  result = start(seeds=2)
  assert result["cells"][0]["eval_val_top_1_mean"] == pytest.approx(0.35)
  head, row = text(result).splitlines()[:2]
  at = head.index("val top-1 %")
  assert row[at:].startswith("35.00 ± 7.07")
  path = tmp_path / "s" / "seed=3" / "metrics.jsonl"
  path.write_text("no row\n" + path.read_text())
  with pytest.raises(ValueError, match=r"line 1 of .*metrics\.jsonl is damaged"):
    start(seeds=2)


def test_failures_are_recorded_and_the_sweep_continues(start, tmp_path, capsys):
  over = f"optimizer.momentum={DIVERGES},{RAISES},{DIES},0.9"
  result = start(over, seeds=1)
  assert [run["status"] for run in result["runs"]] == ["failed"] * 3 + ["finished"]
  assert result["failed"] == "of 4 runs not all are finished: 3 failed"
  reasons = [run["reason"] for run in result["runs"]]
  assert reasons[:2] == ["the loss is nan", "the disk is full"]
  assert "ended by SIGKILL" in reasons[2]
  assert "failed: the loss is nan" in text(result)
  assert "failed after 0:00:01: the disk is full" in capsys.readouterr().err
  assert [cell["failed"] for cell in result["cells"]] == [1, 1, 1, 0]
  assert result["cells"][0]["eval_top_1_mean"] is None
  # What diverged would diverge again; the others are tried again, from where they were.
  before = steps(tmp_path / "s")
  starts = (tmp_path / "s" / "steps.log").read_text().count(" starts ")
  assert start(over, seeds=1)["failed"] == result["failed"]
  assert steps(tmp_path / "s") == before
  after = (tmp_path / "s" / "steps.log").read_text()
  assert after.count(" starts ") == starts + 2
  assert after.count(f"={DIVERGES},seed=3 starts") == 1


def test_nothing_starts_where_a_run_would_be_refused(start, tmp_path):
  with pytest.raises(ValueError, match=rf"momentum={REFUSED}: momentum is not to its"):
    start(f"optimizer.momentum=0.9,{REFUSED}")
  with pytest.raises(ValueError, match=r"momentum=7: .* but must be"):
    start("optimizer.momentum=0.9,7")
  assert not (tmp_path / "s" / "steps.log").exists()


def test_a_folder_of_other_settings_is_refused(start, tmp_path):
  start("optimizer.weight_decay=0,0.1", seeds=1)
  before = steps(tmp_path / "s")
  for settings, message in (
    ({"batch_size": 16}, "batch_size was 8, is 16. Take another workdir"),
    ({"devices": 2}, "devices was 4, is 2"),
    ({"total.steps": 9}, "total was steps=4, is steps=9"),
  ):
    with pytest.raises(ValueError, match=message):
      start("optimizer.weight_decay=0,0.1", seeds=1, settings=settings)
  # Other data, too: by its hash, not by its place.
  name = "optimizer.weight_decay=0,seed=3"
  path = tmp_path / "s" / name / "config.json"
  recorded = json.loads(path.read_text())
  path.write_text(json.dumps({**recorded, "data": "elsewhere"}))
  start("optimizer.weight_decay=0,0.1", seeds=1, settings={"workers": 0})
  assert steps(tmp_path / "s") == before
  path.write_text(json.dumps({**recorded, "hashes": {**HASHES, "data": "other"}}))
  with pytest.raises(ValueError, match="holds a run with other settings: data was"):
    start("optimizer.weight_decay=0,0.1", seeds=1)
  path.write_text("{")
  with pytest.raises(ValueError, match=r"config\.json is damaged"):
    start("optimizer.weight_decay=0,0.1", seeds=1)
  path.write_text(json.dumps(recorded))
  (path.parent / "sweep.json").write_text('{"pieces": 3}')
  with pytest.raises(ValueError, match=r"sweep\.json is damaged: remove it"):
    start("optimizer.weight_decay=0,0.1", seeds=1)
  assert steps(tmp_path / "s") == before
  with pytest.raises(ValueError, match="holds a run itself: name another folder"):
    start(workdir=path.parent)


def test_the_policies_that_a_run_has_chosen_are_its_own(start, tmp_path):
  open_ = {"model.remat": "fit"}
  start("optimizer.weight_decay=0,0.1", seeds=1, settings=open_)
  before = steps(tmp_path / "s")
  for path in (tmp_path / "s").glob("*/config.json"):
    recorded = json.loads(path.read_text())
    recorded["model"]["remat"] = "block"
    path.write_text(json.dumps(recorded))
  start("optimizer.weight_decay=0,0.1", seeds=1, settings=open_)
  assert steps(tmp_path / "s") == before


def test_parts_share_the_runs_and_the_table_is_of_all(start, tmp_path):
  over = "optimizer.weight_decay=0,0.1,0.2"
  first = start(over, part="1/2")
  assert "failed" not in first and list(statuses(first).values()).count("new") == 3
  assert "6 runs: 3 finished, 3 new" in text(first)
  second = start(over, part="2/2")
  assert set(statuses(second).values()) == {"finished"}
  assert set(steps(tmp_path / "s").values()) == {1}
  assert start(over)["cells"] == second["cells"]


def test_two_of_the_same_part_are_refused(start, tmp_path):
  with lock.hold(tmp_path / "s", "sweeping", ".sweep-1-of-2.lock"):
    with pytest.raises(lock.Held, match="is in use"):
      start(part="1/2")
    start(part="2/2")
  assert not list((tmp_path / "s").glob(".sweep*"))


def test_a_run_that_another_process_trains_is_left_to_it(start, tmp_path, monkeypatch):
  monkeypatch.setattr(sweep, "_PATIENCE_S", 0)
  name = "optimizer.weight_decay=0,seed=3"
  with lock.hold(tmp_path / "s" / name, "training"):
    result = start("optimizer.weight_decay=0,0.1", seeds=1)
  assert list(statuses(result).values()) == ["new", "finished"]
  assert result["failed"] == "of 2 runs not all are finished: 1 new"
  result = start("optimizer.weight_decay=0,0.1", seeds=1)
  assert "failed" not in result
  # It may also begin between two looks: the run itself is refused then.
  shutil.rmtree(tmp_path / "s" / name)
  (tmp_path / "s" / name).mkdir()
  with (tmp_path / "s" / name / ".stub-lock").open("w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    result = start("optimizer.weight_decay=0,0.1", seeds=1)
  assert list(statuses(result).values()) == ["new", "finished"]
  assert json.loads((tmp_path / "s" / name / "sweep.json").read_text())["pieces"] == []


def test_a_dry_run_lists_and_writes_nothing(start, tmp_path):
  result = start("optimizer.weight_decay=0,0.1", dry_run=True, part="1/2")
  assert not (tmp_path / "s").exists() and "failed" not in result
  assert text(result).splitlines() == [
    "optimizer.weight_decay=0,seed=3: new",
    "optimizer.weight_decay=0.1,seed=3: new, another part",
    "optimizer.weight_decay=0,seed=4: new",
    "optimizer.weight_decay=0.1,seed=4: new, another part",
    "",
    "4 runs: 4 new",
  ]


DRIVER = """
import sys
from im21k import cli
from im21k.comparing import picture, process
process.COMMAND = (sys.executable, "-S", sys.argv.pop(1))
process._EACH_S = 0.01
picture.draw = lambda path, runs: False
sys.exit(cli.main())
"""


def launch(config, *arguments):
  """A sweep in a process of its own, as from a shell."""
  words = ["sweep", str(config), "--workdir", "s", "--json", *arguments]
  return subprocess.Popen(
    [sys.executable, "-c", DRIVER, str(STUB), *words],
    cwd=config.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    start_new_session=True,
  )  # fmt: skip


def wait_for(log, text, count=1):
  """Until a text comes so often in a file; a busy machine is no failure."""
  while not (log.exists() and log.read_text().count(text) >= count):
    time.sleep(0.01)


@pytest.mark.slow
def test_a_sweep_that_is_killed_and_started_again_runs_nothing_twice(config, tmp_path):
  """By SIGKILL in the middle of a run, by Ctrl-C, by SIGTERM: each step comes once."""
  over = ["--over", f"optimizer.momentum={WAITS},0.9", "--seeds", "2"]
  root = tmp_path / "s"
  log = root / "steps.log"
  with launch(config, *over) as killed:
    wait_for(log, " step 2")
    killed.kill()  # The run notices, and stops by itself.
  with launch(config, *over) as stopped:
    wait_for(log, " starts ", 2)
    os.killpg(stopped.pid, signal.SIGINT)  # As of a terminal, to all of the group.
    out, err = stopped.communicate()
  assert stopped.returncode == 130, err
  assert json.loads(out)["stopped_by"] == "SIGINT"
  assert "stopped by SIGINT: the same command resumes" in err
  with launch(config, *over) as stopped:
    wait_for(log, " starts ", 3)
    stopped.send_signal(signal.SIGTERM)
    stopped.communicate()
  assert stopped.returncode == 143
  (root / "go").touch()
  with launch(config, *over) as last:
    out, err = last.communicate()
  assert last.returncode == 0, err
  result = json.loads(out)
  assert {run["status"] for run in result["runs"]} == {"finished"}
  found = steps(root)
  assert len(found) == 16 and set(found.values()) == {1}
  # The first stretch's end was never noted: its cost is a bound.
  assert [cell["is_whole_cost"] for cell in result["cells"]] == [False, True]
  assert "≥" in text(result)


def test_a_child_that_is_stopped_or_dies_is_reported(stub, config, tmp_path):
  from im21k.training.signals import StopSignals

  document = Config.from_dict(json.loads(config.read_text().partition("return ")[2]))
  workdir = tmp_path / "run"
  workdir.mkdir()
  request = {"do": "train", "config": document.to_dict(), "workdir": str(workdir)}
  with StopSignals() as signals:
    outcome = process.ask(request, signals)
  assert outcome.answer["finished"] and outcome.processor_s > 0
  assert process._answer([], 3)["error"] == "its process ended with status 3"
  assert "for want of memory" in process._answer([b"{}"], -9)["error"]


def test_the_command_line(config, stub, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  line = ["sweep", str(config), "--over", "batch_size=8,16", "--seeds", "1"]
  over = ["--over", "schedule.rates=[0.1,0.01];[0.2,0.02]"]
  assert cli.main([*line, *over, "--config.optimizer.momentum=0.85"]) == 0
  out, _ = capsys.readouterr()
  assert "batch_size  schedule.rates  runs  held-out top-1 %" in out
  assert (tmp_path / "runs" / "config-sweep" / "sweep.csv").is_file()
  assert cli.main([*line, "--over", "batch_size=8"]) == 1
  assert "over has batch_size twice" in capsys.readouterr().err
