"""The logic of benchmarks/gpu.py, which has one try on a card."""

import dataclasses
import importlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NAMES = ("processes", "programs", "bench", "claims", "wheels", "trace", "limits",
         "runs", "plan", "speed", "setup")  # fmt: skip


@pytest.fixture
def gpu(monkeypatch):
  """The modules by their last name; `main` is gpu.py."""
  monkeypatch.syspath_prepend(str(BENCHMARKS))
  modules = {name: importlib.import_module(f"gpu_{name}") for name in NAMES}
  monkeypatch.setattr(modules["processes"], "_closed", threading.Event())
  return type("Gpu", (), {**modules, "main": importlib.import_module("gpu")})


@pytest.fixture
def bench(gpu, tmp_path):
  """A benchmark of which nothing is compiled."""
  return gpu.bench.Bench(
    rows=gpu.bench.Rows(tmp_path / "rows.jsonl", {"run": "1", "date": "2026-11-28"}),
    work=tmp_path,
    environment=dict(os.environ),
    sizes=gpu.programs.TOY,
    parts="abcdef",
    deadline=gpu.processes.Deadline(60),
    card="h100",
    memory=None,
    cores=2,
    toy=True,
    missing={"all": [], "runs": [], "torch": []},
  )


def child_of(gpu, tmp_path, code):
  log = tmp_path / "log"
  return gpu.processes.Child("it", [sys.executable, "-c", code], os.environ, log)


def written(bench):
  return [json.loads(line) for line in bench.rows.path.read_text().splitlines()]


def test_a_child_answers(gpu, tmp_path):
  code = (
    "import json, sys\n"
    "print('noise')\n"
    "for line in sys.stdin: print('@@ ' + line.strip().replace('1', '2'), flush=True)"
  )
  with child_of(gpu, tmp_path, code) as child:
    assert child.ask(30, steps=1) == {"steps": 2}
    assert child.ask(30, steps=11) == {"steps": 22}


@pytest.mark.parametrize(
  ("code", "reason"),
  [
    ('print(\'@@ {"error": "no card"}\', flush=True)', "it: no card"),
    ("import sys; sys.exit('ValueError: x')", "ended with exit code 1: ValueError: x"),
    ("import os; os.kill(os.getpid(), 9)", "exit code -9: it printed nothing"),
    (
      "import sys; sys.exit('OSError: no GPU\\nI0000 00:00 a.cc: x\\nbye')",
      "exit code 1: OSError: no GPU",
    ),
    ("import time; time.sleep(60)", "it: stopped after 0 s"),
  ],
)
def test_a_child_that_fails_says_why(gpu, tmp_path, code, reason):
  seconds = 0 if "sleep" in code else 30
  with child_of(gpu, tmp_path, code) as child:
    with pytest.raises(gpu.processes.Failed, match=reason):
      child.receive(seconds)
    assert child.ended


def test_what_a_child_started_ends_with_it(gpu, tmp_path):
  code = (
    "import subprocess, sys, time\n"
    "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print('@@ {\"pid\": %d}' % p.pid, flush=True)\n"
    "time.sleep(60)"
  )
  with child_of(gpu, tmp_path, code) as child:
    pid = child.receive(30)["pid"]
    gpu.processes.kill_all()
  for _ in range(1000):
    state = Path(f"/proc/{pid}/stat")
    if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
      break
    time.sleep(0.01)
  else:
    pytest.fail("it is still there")
  with pytest.raises(gpu.processes.Failed, match="stopped"):
    child_of(gpu, tmp_path, "")


def test_time_is_divided_among_the_parts_to_come(gpu):
  def share(name, parts):
    deadline = gpu.processes.Deadline(1000)
    return gpu.main._limit(deadline, name, parts).left() / 1000

  shares = gpu.main.SHARES
  assert share("compile", "abcdef") == pytest.approx(
    shares["compile"] / sum(shares.values()), abs=0.01
  )
  assert share("c", "c") == pytest.approx(1, abs=0.01)
  assert share("be", "bd") == pytest.approx(
    shares["be"] / (shares["be"] + shares["df"]), abs=0.01
  )
  assert share("df", "abcdef") == pytest.approx(1, abs=0.01)
  over = gpu.main._limit(gpu.processes.Deadline(0), "a", "a")
  with pytest.raises(gpu.processes.Failed, match="no time left"):
    over.left()


def test_no_program_is_compiled_twice_and_those_of_the_comparison_are_first(gpu):
  sizes = gpu.programs.CARD
  first, rest = gpu.programs.needed_programs(sizes, "abcdef")
  assert first == list(sizes.compared)
  assert len({*first, *rest}) == len(first) + len(rest)
  needed = {*sizes.planned, sizes.fed, sizes.restarted}
  needed |= {p for one in sizes.limits for p in (*one.programs, one.too_large)}
  assert {*first, *rest} == needed
  assert gpu.programs.needed_programs(sizes, "e") == ([], [sizes.restarted])
  assert len(sizes.planned) >= 8


def test_a_part_that_raises_costs_no_row_of_others(gpu, bench):
  def good(bench, deadline):
    bench.rows.write("gpu-plan", batch=8, peak_mib=None)

  def bad(bench, deadline):
    bench.rows.write("gpu-plan", batch=16)
    raise ZeroDivisionError("of this part")

  gpu.main._group(bench, "be", {"b": bad, "e": good})
  rows = written(bench)
  assert {row.get("batch") for row in rows if row["table"] == "gpu-plan"} == {8, 16}
  (missing,) = [row for row in rows if row["table"] == "gpu-missing"]
  assert missing["reason"] == "ZeroDivisionError: of this part"
  assert missing["part"] == "b" and missing["run"] == "1"
  assert "peak_mib" not in next(row for row in rows if row.get("batch") == 8)


def test_programs_that_were_not_compiled_are_rows_with_the_reason(gpu, bench):
  gpu.plan.run(bench, bench.deadline)
  gpu.limits.run(bench, bench.deadline)
  rows = written(bench)
  assert {row["table"] for row in rows} == {"gpu-missing"}
  assert len(rows) == len(bench.sizes.planned) + len(bench.sizes.limits)
  assert "not compiled" in rows[0]["reason"]


def test_interrupt_keeps_rows_and_ends_with_the_summary(
  gpu, bench, monkeypatch, capsys, tmp_path
):
  def measure(bench, budget):
    bench.rows.write("gpu-feed", data_wait_share=0.02)
    raise KeyboardInterrupt("SIGTERM")

  monkeypatch.setattr(gpu.setup, "prepare", lambda *_: (bench, "NVIDIA H100"))
  monkeypatch.setattr(gpu.main, "_measure", measure)
  monkeypatch.setattr(gpu.processes, "end_with_signals", lambda: None)
  assert gpu.main.main(["--work", str(tmp_path)]) == 1
  rows = written(bench)
  assert [row["table"] for row in rows[:2]] == ["gpu-feed", "gpu-missing"]
  assert rows[1]["reason"] == "stopped by SIGTERM"
  verdicts = {row["claim"]: row["verdict"] for row in rows if "verdict" in row}
  assert verdicts["waiting for data ≤ 5% of a run"] == "holds"
  assert "1 met, 0 disproved" in capsys.readouterr().err


def test_without_a_gpu_it_refuses_in_one_line(gpu, monkeypatch, capsys, tmp_path):
  found = {"platform": "cpu", "kind": "cpu", "missing": {"all": []}}
  monkeypatch.setattr(gpu.setup, "_probe", lambda *_: found)
  monkeypatch.setattr(gpu.processes, "end_with_signals", lambda: None)
  assert gpu.main.main(["--work", str(tmp_path)]) == 2
  error = capsys.readouterr().err
  assert (
    error.startswith("gpu.py: JAX sees no GPU, only cpu") and error.count("\n") == 1
  )
  found |= {"platform": "gpu", "missing": {"all": ["simplejpeg"]}}
  assert gpu.main.main(["--work", str(tmp_path)]) == 2
  assert "simplejpeg cannot be imported" in capsys.readouterr().err
  assert gpu.main.main(["--wheels", str(tmp_path), "--work", str(tmp_path)]) == 2
  assert "holds no wheels" in capsys.readouterr().err


def test_on_a_gpu_no_process_falls_back_to_the_cpu(gpu, monkeypatch, tmp_path):
  found = {"platform": "gpu", "kind": "NVIDIA H100 80GB HBM3", "memory": 80 * 2**30,
           "cards": ["gtx1650", "h100"], "card": None, "versions": {"jax": "0.11.2"},
           "missing": {"all": [], "runs": [], "torch": []}}  # fmt: skip
  monkeypatch.setattr(gpu.setup, "_probe", lambda *_: found)
  monkeypatch.delenv("JAX_PLATFORMS", raising=False)
  monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "0.5")
  options = gpu.main._parse(["--only", "a, b", "--results", str(tmp_path / "rows")])
  bench, kind = gpu.setup.prepare(options, tmp_path, gpu.processes.Deadline(60))
  assert kind == found["kind"] and bench.card == "h100" and bench.parts == "ab"
  assert bench.environment["JAX_PLATFORMS"] == "cuda,cpu"
  assert bench.environment["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
  assert "XLA_CLIENT_MEM_FRACTION" not in bench.environment
  assert bench.sizes is gpu.programs.CARD
  assert bench.rows.about["machine"].startswith("one NVIDIA H100 80GB HBM3, ")
  started = {}

  def child(self, task, options, **variables):
    started[options["label"]] = variables

  monkeypatch.setattr(gpu.bench.Bench, "child", child)
  limit = bench.sizes.limits[0]
  gpu.limits._start(bench, limit, limit.programs[0], 0)
  gpu.limits._start(bench, None, limit.programs[0], 0)
  limited, whole = started.values()
  fraction = float(limited["XLA_PYTHON_CLIENT_MEM_FRACTION"])
  assert round(fraction * found["memory"] / 2**20) == limit.mib and whole == {}


def test_parts_whose_modules_are_missing_are_left_out(gpu, bench, monkeypatch):
  bench.missing |= {"runs": ["grain"], "torch": ["torch"]}
  bench.sizes = dataclasses.replace(bench.sizes, compared=())
  bench.parts = "cde"
  started = []
  monkeypatch.setattr(gpu.bench.Bench, "child", lambda *a, **k: started.append(a))
  gpu.main._measure(bench, 60)
  rows = written(bench)
  assert [row["part"] for row in rows] == ["d", "e", "c"] and not started
  assert "grain cannot be imported" in rows[0]["reason"]
  assert gpu.main._conclude(bench, "de", "NVIDIA L4") == 1
  verdicts = [row["verdict"] for row in written(bench) if "verdict" in row]
  assert verdicts == ["not measured"] * 4


class Net:
  """A child that measures: so many seconds a step, and fails at an answer."""

  def __init__(self, failed, each, fails_at=None, loss=9.0):
    self._failed, self._each, self._fails_at = failed, each, fails_at
    self._answers, self._loss, self.killed = 0, loss, False

  def receive(self, seconds):
    if self._fails_at == 0:
      raise self._failed("it: no kernel")
    return {"ready": True}

  def ask(self, seconds, steps):
    self._answers += 1
    if self._answers == self._fails_at:
      raise self._failed("it: killed")
    return {"seconds": self._each * steps, "first_loss": self._loss, "peak_mib": 5,
            "from_cache": True}  # fmt: skip

  def kill(self):
    self.killed = True

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.kill()


def compare(gpu, bench, monkeypatch, **nets):
  """Part (c) with these children; its rows by net, and the reasons of missing ones."""
  of = {"speed": "ours", "PyTorch": "eager", "PyTorch, torch.compile": "compiled"}
  program = bench.sizes.compared[0]
  labels = {f"{label} {program}": nets[name] for label, name in of.items()}
  monkeypatch.setattr(
    gpu.bench.Bench, "child", lambda self, task, options, **_: labels[options["label"]]
  )
  bench.toy, bench._compiled = False, {program: {"compile_s": 9, "report": REPORT}}
  gpu.speed.Comparison(bench).run(bench, bench.deadline)
  assert all(net.killed for net in nets.values())
  rows = written(bench)
  speed = {row["net"]: row for row in rows if row["table"] == "gpu-speed"}
  return speed, [row["reason"] for row in rows if row["table"] == "gpu-missing"]


REPORT = {"images_per_s": [700, 900], "images_per_s_peak": 1600,
          "recomputed_share": 0.0, "gflops_per_image": 20.0}  # fmt: skip


def test_comparison_is_with_the_faster_pytorch(gpu, bench, monkeypatch):
  failed = gpu.processes.Failed
  nets = {"ours": Net(failed, 0.01), "eager": Net(failed, 0.03),
          "compiled": Net(failed, 0.02)}  # fmt: skip
  speed, reasons = compare(gpu, bench, monkeypatch, **nets)
  ours = speed["im21k"]
  assert ours["images_per_s"] == 800 and ours["roofline_share"] == 0.5
  assert ours["relative"] == 2 and ours["against"] == "PyTorch, torch.compile"
  assert (ours["estimate_low"], ours["estimate_high"]) == (700, 900)
  assert speed["PyTorch"]["images_per_s"] == pytest.approx(266.7)
  assert "relative" not in speed["PyTorch"] and not reasons


@pytest.mark.parametrize("fails_at", [0, 1, 3, 5])
def test_a_net_that_fails_costs_only_its_own_figure(gpu, bench, monkeypatch, fails_at):
  failed = gpu.processes.Failed
  nets = {"ours": Net(failed, 0.01), "eager": Net(failed, 0.03),
          "compiled": Net(failed, 0.02, fails_at)}  # fmt: skip
  speed, (reason,) = compare(gpu, bench, monkeypatch, **nets)
  assert reason.startswith("it: ")
  assert {"im21k", "PyTorch"} <= set(speed)
  assert speed["im21k"]["against"] == (
    "PyTorch, torch.compile" if fails_at > 3 else "PyTorch"
  )


def test_without_our_net_pytorch_is_measured_still(gpu, bench, monkeypatch):
  failed = gpu.processes.Failed
  nets = {"ours": Net(failed, 0.01, 0), "eager": Net(failed, 0.03),
          "compiled": Net(failed, 0.02)}  # fmt: skip
  speed, _ = compare(gpu, bench, monkeypatch, **nets)
  assert set(speed) == {"PyTorch", "PyTorch, torch.compile"}


def test_nets_that_differ_are_reported(gpu, bench, monkeypatch):
  failed = gpu.processes.Failed
  nets = {"ours": Net(failed, 0.01), "eager": Net(failed, 0.03, loss=9.3),
          "compiled": Net(failed, 0.02)}  # fmt: skip
  _, (reason,) = compare(gpu, bench, monkeypatch, **nets)
  assert "the nets differ" in reason


def test_a_plan_is_compared_with_the_median_step(gpu, bench, monkeypatch):
  failed, (good, bad) = gpu.processes.Failed, bench.sizes.planned
  nets = {good: Net(failed, 0.01), bad: Net(failed, 0.01, 2)}
  labels = {f"plan {program}": net for program, net in nets.items()}
  monkeypatch.setattr(
    gpu.bench.Bench, "child", lambda self, task, options, **_: labels[options["label"]]
  )
  compiled = {"compile_s": 9, "needed_mib": 4, "report": REPORT}
  bench._compiled = {good: compiled, bad: compiled}
  gpu.plan.run(bench, bench.deadline)
  row, missing = written(bench)
  assert row["images_per_s"] == 800 and row["step_ms"] == 10 and row["peak_off"] == 0.25
  assert missing["reason"] == "it: killed" and all(net.killed for net in nets.values())


@pytest.mark.parametrize(
  ("kind", "name"),
  [
    ("NVIDIA H100 80GB HBM3", "h100"),
    ("NVIDIA GeForce GTX 1650", "gtx1650"),
    ("NVIDIA GeForce RTX 2080 Ti", "rtx2080ti"),
    ("NVIDIA L40S", None),
    ("NVIDIA A100-SXM4-40GB", "a100"),
    ("Tesla T4", "t4"),
    ("cpu", None),
  ],
)
def test_card_of_a_device(gpu, kind, name):
  names = ("h100", "gtx1650", "rtx2080ti", "rtx2080", "l4", "a10", "a100", "t4")
  assert gpu.claims.card_name(kind, names) == name


def test_range_of_an_estimate(gpu):
  estimated = gpu.claims.estimated_range
  assert estimated({"images_per_s": 600}) == (300, 400)
  assert estimated({"images_per_s_range": [5, 7], "images_per_s": 600}) == (5, 7)
  assert estimated({"images_per_s": [5, 7]}) == (5, 7)
  assert estimated({}) is None


GOOD = (
  {"table": "gpu-plan", "needed_mib": 1000, "peak_mib": 1049, "images_per_s": 6500,
   "estimate_low": 6000, "estimate_high": 8000},
  {"table": "gpu-limits", "limit_mib": 1024, "batch": 40, "trained": True,
   "same_losses": True, "array_refused": True, "too_large": "float32 128 none",
   "too_large_refused": True},
  {"table": "gpu-speed", "net": "im21k", "dtype": "bfloat16", "images_per_s": 6100,
   "relative": 1.2, "against": "PyTorch"},
  {"table": "gpu-speed", "net": "im21k", "dtype": "float32", "images_per_s": 3000,
   "relative": 1.1, "against": "PyTorch"},
  {"table": "gpu-feed", "data_wait_share": 0.04},
  {"table": "gpu-restart", "what": "repeated", "same_bits": True},
  {"table": "gpu-restart", "what": "restarted", "same_bits": True},
  {"table": "gpu-restart", "what": "compiled again", "same_bits": True},
  {"table": "gpu-trace", "copies_beside_compute": 0.97},
)  # fmt: skip


def test_all_claims_can_hold_and_none_does_without_rows(gpu):
  found = gpu.claims.claims(GOOD, "NVIDIA H100 80GB HBM3")
  assert all(claim.holds for claim in found) and len(found) == 12
  assert gpu.claims.summary(found).endswith("12 met, 0 disproved, 0 not measured")
  found = gpu.claims.claims((), "NVIDIA H100 80GB HBM3")
  assert all(claim.holds is None for claim in found)
  assert {claim.part for claim in found} == set("abcdef")
  assert len(gpu.claims.claims(GOOD, "NVIDIA L4")) == 11  # 6,000/s is of an H100


@pytest.mark.parametrize(
  ("row", "change", "claim"),
  [
    (0, {"peak_mib": 1051}, "peak"),
    (0, {"peak_mib": 949}, "peak"),
    (0, {"images_per_s": 5999}, "range"),
    (0, {"images_per_s": 8001}, "range"),
    (1, {"same_losses": False}, "same loss"),
    (1, {"trained": False, "same_losses": False}, "same loss"),
    (1, {"array_refused": False}, "binds"),
    (1, {"too_large_refused": False}, "binds"),
    (2, {"images_per_s": 5999}, "6,000"),
    (2, {"relative": 1.0}, "bfloat16: ahead"),
    (3, {"relative": 0.99}, "float32: ahead"),
    (4, {"data_wait_share": 0.051}, "waiting"),
    (5, {"same_bits": False}, "repeated"),
    (6, {"same_bits": False}, "restarted"),
    (7, {"same_bits": False}, "compiles again"),
    (8, {"copies_beside_compute": 0.89}, "copies"),
  ],
)
def test_each_claim_can_be_disproved(gpu, row, change, claim):
  rows = [{**one, **(change if k == row else {})} for k, one in enumerate(GOOD)]
  # One more row that holds must not hide the one that does not.
  rows.append(GOOD[row])
  found = gpu.claims.claims(rows, "NVIDIA H100 80GB HBM3")
  (disproved,) = [one for one in found if one.holds is False]
  assert claim in disproved.claim and disproved.measured.startswith("1 of 2: ")


def test_losses_are_compared_to_the_bit(gpu):
  assert gpu.limits.compare([1.0, 0.5], [1.0, 0.5])["same_losses"]
  other = gpu.limits.compare([1.0, 0.5 + 1e-7], [1.0, 0.5])
  assert not other["same_losses"] and 1e-7 < other["largest_difference"] < 3e-7
  assert not gpu.limits.compare(None, [1.0])["same_losses"]


def test_first_difference_of_two_runs(gpu):
  one = [{"step": s, "loss": 1.0 / s} for s in (2, 4, 6)] + [{"step": 6, "eval": 1}]
  other = [{**row} for row in one]
  assert gpu.runs.first_difference(one, other) == {"rows_compared": 3}
  other[1]["loss"] = 0.5
  assert gpu.runs.first_difference(one, other)["first_difference"] == 4


def events(copy_begin, stream="Stream #16(MemcpyH2D)"):
  """Two steps of 100 µs, of which 80 compute, each with a copy of 10 µs."""
  names = {1: "XLA Modules", 2: "Stream #13(Compute)", 3: stream}
  made = [
    {"ph": "M", "name": "process_name", "pid": 9, "args": {"name": "/device:GPU:0"}},
    {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "/host:CPU"}},
    *(
      {"ph": "M", "name": "thread_name", "pid": 9, "tid": t, "args": {"name": name}}
      for t, name in names.items()
    ),
    {"ph": "X", "pid": 1, "tid": 1, "ts": 0, "dur": 500, "name": "python"},
  ]
  for start in (0, 100):
    made += [
      {"ph": "X", "pid": 9, "tid": tid, "ts": start + ts, "dur": dur, "name": name}
      for tid, ts, dur, name in (
        (1, 0, 80, "pmap_take"), (2, 0, 40, "conv"), (2, 40, 40, "fusion"),
        (3, copy_begin, 10, "MemcpyH2D"),
      )
    ]  # fmt: skip
  return made


@pytest.mark.parametrize(("begin", "share"), [(20, 1.0), (75, 0.5), (85, 0.0)])
def test_overlap_of_copies_in_one_step(gpu, begin, share):
  step = gpu.trace.one_step(events(begin))
  assert not [e for e in step if e["name"] == "python"]
  found = gpu.trace.overlap(step)
  assert found["copies_beside_compute"] == share and found["copies"] == 1
  assert found["compute_ms"] == 0.08 and found["copy_ms"] == 0.01
  assert gpu.trace.measure(events(begin))["copies_beside_compute"] == share


def test_a_trace_without_what_is_measured_is_an_error(gpu, tmp_path):
  with pytest.raises(ValueError, match="no copies from the host"):
    gpu.trace.overlap([e for e in events(20) if e.get("tid") != 3])
  with pytest.raises(ValueError, match="wrote no"):
    gpu.trace.read(tmp_path)
  gpu.trace.write(tmp_path / "a.trace.json.gz", events(20))
  assert gpu.trace.read(tmp_path) == events(20)


@pytest.mark.parametrize(
  ("name", "details", "thread", "copy"),
  [
    ("MemcpyH2D", "", "Stream #1(Compute,MemcpyH2D)", True),
    ("copy", "kind_src:pageable kind_dst:device size:9", "Stream #1", True),
    ("copy", "kind_src:device kind_dst:device size:9", "Stream #1", False),
    ("copy", "", "Stream #1(MemcpyH2D)", True),
    ("MemcpyD2H", "kind_src:device kind_dst:pinned", "Stream #1", False),
    ("conv", "", "Stream #1(Compute)", False),
  ],
)
def test_copies_from_the_host(gpu, name, details, thread, copy):
  event = {"name": name, "args": {"memcpy_details": details}}
  assert gpu.trace.is_copy_in(event, thread) == copy


def test_spans_are_merged(gpu):
  assert gpu.trace.merged([(5, 6), (0, 2), (1, 3), (3, 4), (7, 7)]) == [(0, 4), (5, 6)]


@pytest.mark.parametrize("form", ["{n} {v}\n", "{n}=={v}\n", "{n}, "])
def test_wheels_that_an_image_lacks(gpu, tmp_path, form):
  packages = {"Numpy": "2.5.2", "opencv_python_headless": "4.13.0", "tqdm": "4.0"}
  listing = tmp_path / "image.txt"
  listing.write_text("".join(form.format(n=n, v=v) for n, v in packages.items()))
  there = gpu.wheels.present(listing)
  assert set(there) == {"numpy", "opencv-python-headless", "tqdm"}
  names = {text.partition("==")[0].lower() for text in gpu.wheels.wanted(there)}
  assert {"grain", "array-record", "simplejpeg", "flax"} <= names
  assert not names & {"numpy", "opencv-python-headless", "jax", "jaxlib"}
  assert "cloudpickle" in names  # required by grain
  # 4.0 is too old; without a version what is there is taken to do.
  assert ("tqdm" in names) == ("," not in form)


def test_nothing_is_lacking_where_all_is_installed(gpu):
  assert gpu.wheels.wanted(gpu.wheels.present(None), "3.11") == []


def test_the_newest_run_of_each_part_is_shown(load_tables):
  rows = [
    {"table": "gpu-speed", "run": "1", "net": "a"},
    {"table": "gpu-missing", "part": "c", "run": "1"},
    {"table": "gpu-missing", "part": "d", "run": "1"},
    {"table": "gpu-claims", "part": "c", "run": "1"},
    {"table": "gpu-claims", "part": "d", "run": "1"},
    {"table": "gpu-speed", "run": "2", "net": "b"},
    {"table": "gpu-claims", "part": "c", "run": "2"},
    {"table": "pack", "way": "x"},
  ]
  newest = load_tables.newest
  assert [row["net"] for row in newest(rows, "gpu-speed")] == ["b"]
  assert [row["part"] for row in newest(rows, "gpu-missing")] == ["d"]
  assert [row["run"] for row in newest(rows, "gpu-claims")] == ["1", "2"]
  assert newest(rows, "pack") == rows[-1:]


@pytest.fixture
def load_tables(monkeypatch):
  monkeypatch.syspath_prepend(str(BENCHMARKS))
  return importlib.import_module("tables")


def test_the_planned_batch_is_the_largest_that_fits(gpu, bench):
  one, two, three = (gpu.programs.Program("float32", b, "block") for b in (64, 32, 16))
  limit = gpu.programs.Limit(1024, (one, two, three), one)
  bench._compiled = {
    one: {"needed_mib": 1025},
    two: gpu.processes.Failed("compile: stopped"),
    three: {"needed_mib": 1024},
  }
  assert gpu.limits.planned(bench, limit) == three
  bench._compiled[one] = {"needed_mib": 1024}
  assert gpu.limits.planned(bench, limit) == one
  bench._compiled = {one: {"needed_mib": 1025}}
  assert gpu.limits.planned(bench, limit) == one  # It fails, and the row says so.
  bench._compiled = {}
  with pytest.raises(gpu.processes.Failed, match="not compiled"):
    gpu.limits.planned(bench, limit)


class Says(Net):
  """A child that says these messages in turn; the last may be a failure."""

  def __init__(self, *messages):
    self._messages, self.killed = list(messages), False

  def receive(self, seconds):
    message = self._messages.pop(0)
    if isinstance(message, Exception):
      raise message
    return message


@pytest.mark.parametrize("crash", [False, True])
def test_limited_memory_is_compared_with_the_whole(gpu, bench, monkeypatch, crash):
  refused = {"exhausted": "RESOURCE_EXHAUSTED: 9 GiB"}
  steps = {"losses": [9.0, 8.0], "limit_mib": 64.0, "peak_mib": 50.0}
  failure = gpu.processes.Failed("it: ended with exit code -6")
  (limit,), fits = bench.sizes.limits, bench.sizes.limits[0].programs[0]
  children = {
    f"64limited {fits}": Says({"array": refused}, {"steps": steps}),
    f"unlimited {fits}": Says({"steps": steps}),
    f"64limited {limit.too_large}": Says(failure if crash else {"steps": refused}),
  }
  monkeypatch.setattr(
    gpu.bench.Bench,
    "child",
    lambda self, task, options, **_: children[options["label"]],
  )
  compiled = {"needed_mib": 48}
  bench._compiled = {fits: compiled, limit.too_large: compiled}
  monkeypatch.setattr(gpu.limits, "Child", Says)
  gpu.limits.run(bench, bench.deadline)
  (row,) = written(bench)
  assert row["trained"] and row["same_losses"] and row["array_refused"]
  assert row["too_large_refused"] != crash
  assert row["refusal"] == (str(failure) if crash else refused["exhausted"])
  assert all(child.killed for child in children.values())
  trains, binds = gpu.claims.claims([row], "NVIDIA L4")[2:4]
  assert trains.holds and binds.holds != crash


@pytest.mark.slow
def test_a_part_at_toy_size(tmp_path):
  """Photos, compilation, the run that takes it from the cache, rows and claims."""
  results = tmp_path / "gpu.jsonl"
  command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--toy", "--budget", "900"]
  command += ["--only", "d", "--results", str(results)]
  done = subprocess.run(command, capture_output=True, text=True)
  rows = [json.loads(line) for line in results.read_text().splitlines()]
  feed, claim = (
    next(row for row in rows if row["table"] == table)
    for table in ("gpu-feed", "gpu-claims")
  )
  assert feed["images_per_s"] > 0 and feed["bad_photos"] == 0
  assert 0 <= feed["data_wait_share"] <= feed["largest_wait_share"]
  assert not [row for row in rows if row["table"] == "gpu-missing"], done.stderr
  assert done.returncode == (claim["verdict"] != "holds")
  for row in rows:
    assert row["source"] == "measured" and row["date"] and "test" in row["machine"]
