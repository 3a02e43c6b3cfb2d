"""Every option of every command has an effect: on what is printed, written or refused.

Each option is set once beside an otherwise equal command line. `pack` and the keys of a
config have tests of their own, over all of theirs.
"""

import contextlib
import importlib
import inspect
import json
import os
import re
import shutil
import signal
import tarfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from im21k import cli, models, synsets, usage, weights
from im21k.answers import calibration
from im21k.comparing import process
from im21k.comparing import sweep as sweeps
from im21k.convert import mxnet
from im21k.features.part_files import Parts, Place
from im21k.features.stream import Rows
from im21k.finetuning import finetune as finetuning
from im21k.models import registry
from im21k.packing.pack import pack
from im21k.planning import bench_loader, loader_speed, plan
from im21k.serving import serve
from im21k.synsets import ClassList
from im21k.training import run as training

FISH, MILL, HAMMER = "n02512053", "n04587559", "n03481172"
CLASSES = ClassList("three", (FISH, MILL, HAMMER))
TESTED_ELSEWHERE = {
  "launch": "tests/hosts/test_launch.py",
  "pack": "tests/packing/test_config.py",
  "export-checkpoint": "tests/training/test_export_checkpoint.py",
}

# Command: the command line without options.
BASE = {
  "verify": "verify {packed}",
  "bench-loader": "bench-loader {packed} --batch-size 2",
  "train": "train demo",
  "sweep": "sweep demo --workdir {out}/s",
  "compare": "compare {run} {calibrated} --data {packed}",
  "configs": "configs",
  "plan": "plan --config {config}",
  "evaluate": "evaluate {weights} {packed}",
  "recalibrate": "recalibrate {weights} {packed} {out}/new --images 8 --batch-size 4",
  "calibrate": "calibrate {weights} {packed} --split train",
  "predict": "predict {calibrated} {photo}",
  "finetune": "finetune {weights} {photos} {out}/mine",
  "features": "features {weights} {photos} {out}/f.npz",
  "serve": "serve {weights}",
  "export": "export {mxnet} {out}/program --format torch",
  "probe": "probe {features}",
  "report": "report {run}",
  "classes suggest": "classes suggest {photos} {out}/own.csv",
  "synset": "synset fir",
  "convert mxnet": "convert mxnet {params} {out}/released --synset {synset}",
  "convert to-mxnet": "convert to-mxnet {mxnet} {out}/mine",
  "completion": "completion bash",
}
# Command and option: its value, '' for a flag. A value that is refused shows that the
# option is read, where another one would change nothing but the time that it takes.
OPTIONS = {
  "verify --decode": "0",
  "verify --workers": "0",
  "bench-loader --batch-size": "3",
  "bench-loader --image-size": "32",
  "bench-loader --crop": "straight",
  "bench-loader --order": "global",
  "bench-loader --threads": "2",
  "bench-loader --workers": "1",
  "bench-loader --seconds": "2",
  "bench-loader --gpu-images-per-s": "3000",
  "bench-loader --picture": "{out}/loader.png",
  "configs --keys": "",
  "plan --config": "inception_bn_21k",
  "plan --gpu": "rtx3050-4gb",
  "plan --devices": "2",
  "plan --batch": "48",
  "plan --dtype": "bfloat16",
  "plan --remat": "block",
  "plan --split-head": "",
  "plan --link-gbs": "5",
  "plan --hosts": "2",
  "plan --network-gbs": "25 --hosts 2",
  "plan --reserve-mib": "1024",
  "plan --price": "gtx1650=0.1",
  "plan --max-days": "9 --gpu all",
  "plan --sweep": "",
  "plan --dump": "{out}/dump",
  "plan --list": "",
  "evaluate --split": "train",
  "evaluate --labels": "{missing}",
  "evaluate --crop-fraction": "0.5",
  "evaluate --flip": "",
  "evaluate --batch-size": "0",
  "evaluate --devices": "3",
  "evaluate --csv-file": "{out}/rows.csv",
  "evaluate --class-csv": "{out}/classes.csv",
  "evaluate --hierarchical": "",
  "evaluate --trained-on": "{packed}",
  "recalibrate --images": "4",
  "recalibrate --split": "eval",
  "recalibrate --labels": "{missing}",
  "recalibrate --batch-size": "5",
  "recalibrate --devices": "3",
  "calibrate --split": "eval",
  "calibrate --labels": "{missing}",
  "calibrate --images": "3",
  "calibrate --batch-size": "0",
  "calibrate --accuracy": "0.6",
  "calibrate --confidence": "0.5",
  "calibrate --plot": "{out}/reliability.png",
  "predict --top-k": "1",
  "predict --answer": "hedged",
  "predict --accuracy": "0.7 --answer hedged",
  "predict --under": "n02512053",
  "predict --classes": "{list}",
  "predict --only": "objects",
  "predict --definitions": "",
  "predict --plot": "{out}/plot.png",
  "predict --report": "{out}/page.html",
  "finetune --classes": "{missing}",
  "finetune --eval-fraction": "0.4",
  "finetune --trunk": "train",
  "finetune --steps": "7 --trunk train",
  "finetune --batch-size": "5 --trunk train",
  "finetune --rate": "0.5 --trunk train",
  "finetune --devices": "300",
  "finetune --seed": "1 --trunk train",
  "features --stage": "logits",
  "features --dtype": "float16",
  "features --split": "train",
  "features --labels": "{missing}",
  "features --batch-size": "0",
  "features --devices": "3",
  "predict --json-lines": "",
  "serve --host": "localhost",
  "serve --port": "8001",
  "export --answers": "",
  "export --accuracy": "0.7 --answers",
  "export --image-size": "64",
  "probe --train": "{missing}",
  "probe --eval-fraction": "0.5",
  "probe --eval-per-class": "4",
  "probe --seed": "1",
  "report --data": "{missing}",
  "report --split": "train",
  "report --images": "1",
  "report --batch-size": "0",
  "report --page-file": "{out}/other.html",
  "compare --data": "{missing}",
  "compare --split": "train",
  "compare --images": "1",
  "compare --batch-size": "0",
  "compare --axis": "steps",
  "compare --page-file": "{out}/other.html",
  "sweep --over": "batch_size=8,16",
  "sweep --seeds": "2",
  "sweep --workdir": "{out}/elsewhere",
  "sweep --part": "1/2",
  "sweep --dry-run": "",
  "train --coordinator": "10.0.0.1:7000",
  "train --hosts": "2",
  "train --host": "1",
  "train --heartbeat": "5",
  "train --workdir": "{out}/elsewhere",
  "train --profile": "",
  "classes suggest --weights": "{missing}",
  "classes suggest --images": "0",
  "convert mxnet --pooling": "floor",
  "convert mxnet --average-pool": "counted",
  "convert to-mxnet --synset": "{missing}",
}


def options():
  """`command --option` of all commands, from the signatures of their functions."""
  for name, command in cli.COMMANDS.items():
    function = getattr(importlib.import_module(command.module), command.function)
    for parameter in inspect.signature(function).parameters.values():
      hidden = command.settings and parameter.name == "settings"
      optional = parameter.default is not inspect.Parameter.empty
      if parameter.kind is inspect.Parameter.KEYWORD_ONLY and optional and not hidden:
        yield f"{name} --{parameter.name.replace('_', '-')}"


def test_every_option_is_here():
  listed = set(OPTIONS)
  assert listed == {
    option for option in options() if option.split(" --")[0] not in TESTED_ELSEWHERE
  }
  assert set(BASE) == set(cli.COMMANDS) - set(TESTED_ELSEWHERE)


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_has_an_effect(places, capsys, option):
  name, _, flag = option.partition(" --")
  value = OPTIONS[option].format(**places)
  _, _, context = value.partition(" ")
  rest = " ".join(without(BASE[name].split(), f"--{flag}"))
  before = observe(capsys, places, f"{BASE[name]} {context}")
  after = observe(capsys, places, f"{rest} --{flag} {value}")
  assert before["status"] == 0, before["err"]
  assert "Traceback" not in after["err"]
  assert after["status"] in (0, 1) and before != after


@pytest.mark.slow
@pytest.mark.parametrize("command", BASE)
def test_without_options_two_calls_do_the_same(places, capsys, command):
  """Else noise would pass for the effect of an option."""
  first, second = (observe(capsys, places, BASE[command]) for _ in range(2))
  assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in BASE if "{weights}" in BASE[c]])
def test_a_work_folder_stands_for_the_weights_in_it(places, capsys, command):
  """All is as with the release folder; nothing is written beside `weights`."""
  before = {path.name for path in places["run"].iterdir()}
  with_run = {**places, "weights": places["run"]}
  observed = observe(capsys, with_run, BASE[command])
  assert observed["status"] == 0, observed["err"]
  assert {path.name for path in places["run"].iterdir()} == before


# Whatever is typed.

NUMBERS = (
  "x", "-1", "0", "1.5", "1e400", "nan", "inf", "-inf", "2147483648", "9" * 40,
)  # fmt: skip
PATHS = (
  "{missing}", "{folder}", "{file}", "{pipe}", "{null}", "{full}",
  "{out}/a\nb\x1b[2J\u202e", "{out}/caf\udce9", "{out}/" + "x" * 300, "x" * 5000,
  "{file}/below",
)  # fmt: skip
NOTE = r"([0-9]{2}-[0-9]{2} [0-9:]{8} |  )"  # Of `finetune`, on its way.
# In place of what takes long, which tests of its own cover.
WALKED = {
  **BASE,
  "pack": "pack {photos} {out}/packed --workers 1",
  "plan": "plan --json --config {config}",
}


def walk(command):
  """Absurd command lines of a command, each a list of words."""
  module, function, *_ = cli.COMMANDS[command]
  function = getattr(importlib.import_module(module), function)
  base = WALKED[command].split()
  arguments = list(usage._arguments(function, {"settings"}))
  named = [one for one in arguments if one.label.startswith("--")]
  start = len(command.split())
  yield base[:start]
  yield [*base[:start], "--"]
  yield [*base, "--nonsense"]
  yield [*base, "--nonsense=1", "-x"]
  yield [*base, "more", "and", "more"] if command != "predict" else [*base, "more"]
  yield [*base, "--json", "--json"]
  for option in named:
    yield [*base, option.label]
    if option.kind is bool:
      yield [*base, f"{option.label}=1"]
      continue
    values = ["", "\0", *(PATHS if option.kind in (Path, str) else NUMBERS)]
    rest = without(base, option.label)
    for value in values:
      yield [*rest, option.label, value]
    yield [*rest, option.label, "1", option.label, "1"]
  first_option = next((i for i in range(len(base)) if base[i][:2] == "--"), len(base))
  for at in range(start, first_option):
    for value in ("", "\0", *PATHS):
      yield [*base[:at], value, *base[at + 1 :]]


# What has no effect, or would write over what is read, is refused: one line of why.
REFUSED = {
  "evaluate {weights} {photos} --split train": "split is for photos that im21k pack",
  "calibrate {weights} {photos} --split eval": "split is for photos that im21k pack",
  "recalibrate {weights} {photos} {out}/new --split eval": "split is for photos that",
  "report {run} --data {photos} --split eval": "split is for photos that im21k pack",
  "evaluate {weights} {packed} --labels {list}": "labels are only used for numbered",
  "evaluate {weights} {packed} --trained-on {packed}": "add --hierarchical",
  "predict {calibrated} {photo} --accuracy 0.7": "accuracy is for hedged answers only",
  "predict {calibrated} {photo} --answer hedged --top-k 2": "top_k has no effect on",
  "predict {calibrated} {photo} --accuracy 0.7 --report {out}/a --only objects":
    "hedged answers are calibrated over all classes",
  "predict {calibrated} {photo} --accuracy 0.8 --report {out}/a": "was not calibrated",
  "bench-loader {photos} --crop straight": "crop is for packed photos only",
  "bench-loader {photos} --order global": "order is for packed photos only",
  "bench-loader {photos} --workers 0": "workers is for packed photos only",
  "plan --config demo --sweep --batch 8": "batch is what --sweep varies",
  "plan --config demo --sweep --dtype bfloat16": "dtype is what --sweep varies",
  "plan --config demo --sweep --remat none": "remat is what --sweep varies",
  "plan": "--config is missing; --help describes it",
  "plan --list --gpu t4 --batch 8": "list shows every card: leave out gpu, batch",
  "plan --config demo --sweep --price gtx1650=1": "price has no effect with --sweep",
  "plan --config demo --max-days 3": "max_days is for --gpu all, and must be above 0",
  "plan --config demo --gpu all --max-days 0": "max_days is for --gpu all, and must be",
  "plan --config demo --gpu all --sweep": "--gpu all has no sweep: name one card",
  "plan --config demo --gpu all --dump {out}/d": "--gpu all has no dump: name one card",
  "plan --config demo --price t4": "price is 't4', but must be a card and its dollars",
  "plan --config demo --price t4=nan": "price is 't4=nan', but must be a card and its",
  "plan --config demo --price t4=-1": "price is 't4=-1', but must be a card and its",
  "plan --config demo --price t4=1": "price is for t4, but the plan is for gtx1650",
  "plan --config demo --gpu all --price T4=1 --price tesla-t4=2": "price has t4 twice",
  "plan --config demo --gpu all --price tb4=1": "did you mean 't4'",
  "plan --config demo --link-gbs 0": "link_gbs is 0.0, but must be above 0 and at most",
  "plan --config demo --hosts 0": "hosts is 0, but must be from 1 to 256",
  "plan --config demo --hosts 2 --network-gbs 0": "network_gbs is 0.0, but must be abo",
  "plan --config demo --network-gbs 10": "the network between hosts: give --hosts too",
  "plan --config demo --hosts 2 --sweep": "--sweep is of one host: leave out hosts",
  "plan --config inception_bn_21k --hosts 3": "batch_size 64 is over all hosts, and",
  "plan --config demo --gpu RTX": "no card and no file is named 'RTX'",
  "plan --config demo --reserve-mib 4096": "reserve_mib is 4096, but gtx1650 has 4096",
  "evaluate {weights} {packed} --csv-file {out}/a --class-csv {out}/a": "the same file",
  "evaluate {weights} {packed} --class-csv {weights}/model.json": "would overwrite",
  "evaluate {weights} {packed} --csv-file {packed}/manifest.json": "would overwrite",
  "evaluate {weights} {packed} --crop-fraction 0.001": "crop_fraction is 0.001, but",
  "calibrate {weights} {packed} --plot {weights}/model.json": "would overwrite",
  "calibrate {weights} {packed} --confidence 1": "confidence is 1.0, but must be",
  "calibrate {weights} {packed} --accuracy 0": "accuracy is 0.0, but must be above 0",
  "recalibrate {weights} {packed} {packed}": "which is read: name another folder",
  "recalibrate {weights} {packed} {weights}": "holds the weights that are read",
  "predict {calibrated} {photo} --plot {photo}": "would overwrite",
  "finetune {weights} {photos} {photos}/out": "/photos, which is read: name another",
  "finetune {weights} {packed} {out}/a --eval-fraction 0.1": "is packed already",
  "finetune {weights} {photos} {root}": "holds other files: name another folder",
  "finetune {weights} {packed} {out}/a --steps 9": "the trunk is frozen (9",
  "finetune {weights} {photos} {out}/a --rate 0": "rate is 0.0, but must be above 0",
  "finetune {weights} {photos} {out}/a --eval-fraction 1": "but must be at least 0 and",
  "features {weights} {photos} {out}/f --split eval": "split is for photos that im21k",
  "features {weights} {photos} {out}/f.npz --stage feature": "did you mean 'features'",
  "features {weights} {photos} {out}/f.npy": "features are written as NAME.npz",
  "features {weights} {photos} {photos}/f": "/photos, which is read: name another",
  "features {weights} {packed} {weights}/f.npz": "/weights, which is read: name",
  "probe {features} --train {features}": "leave train out to hold out some",
  "probe {features} --train {photos} --seed 1 --eval-fraction 0.5": "leave one of them",
  "report {run} --page-file {run}/config.json": "would overwrite",
  "export {calibrated} {out}/a --format torch": "has no twin in PyTorch, only",
  "export {weights} {out}/a --format torch --answers": "is not calibrated",
  "export {mxnet} {out}/a --format torch --accuracy 0.9": "add --answers",
  "export {mxnet} {out}/a --format torch --answers --accuracy 0.8": "not calibrated",
  "export {mxnet} {out}/a --format torch --image-size 31": "image_size is 31, but must",
  "export {mxnet} {packed} --format torch": "which exists: name a new folder",
  "export {missing} {out}/a --format torch": "holds no weights",
  "bench-loader {packed} --picture {packed}/manifest.json": "would overwrite",
  "bench-loader {packed} --seconds 1e9": "seconds is 1000000000.0, but must be more",
  "serve {weights} --port 65536": "port is 65536, but must be 0 to 65,535",
  "serve {weights} --port -1": "port is -1, but must be 0 to 65,535",
  "convert to-mxnet {mxnet} {mxnet}/model.json/a/b": "is not a folder",
  "compare {run}": "compare needs 2 to 50 runs, but was given 1",
  "compare {run} {weights} --page-file {run}/metrics.jsonl": "would overwrite",
  "compare {run} {run}": "is given twice: name each run once",
  "compare {run} {photos}": "holds neither a run nor weights: no config.json",
  "compare {run} {weights} --data {photos} --split eval": "split is for photos that",
  "compare {run} {weights} --images 0": "images is 0, but must be at least 1",
  "sweep demo --over seed=1,2": "over varies seed, as --seeds does: leave it out",
  "sweep demo --over batch_size": "over is 'batch_size', but must be KEY=VALUE,VALUE",
  "sweep demo --over batch_size=8,8": "over has batch_size=8 twice: remove one",
  "sweep demo --over batch_size=8,x": "batch_size=x: batch_size is 'x', but must be a",
  "sweep demo --over batch_sise=8": "did you mean 'batch_size'",
  "sweep demo --over batch_size=8 --config.batch_size=8": "remove one",
  "sweep demo --seeds 0": "seeds is 0, but must be at least 1",
  "sweep demo --part 3/2": "part is '3/2', but must be I/N",
  "sweep demo --workdir {run}": "which holds a run itself: name another folder",
}  # fmt: skip


@pytest.mark.slow
def test_what_has_no_effect_or_writes_over_its_input_is_refused(places, capsys):
  places["out"].mkdir()
  before = {p: p.read_bytes() for p in places["root"].rglob("*") if p.is_file()}
  for line, message in REFUSED.items():
    status = cli.main(line.format(**places).split())
    out, err = capsys.readouterr()
    assert (status, out) == (1, ""), line
    assert message in err and err.count("\n") == 1, err
  assert not list(places["out"].iterdir())
  after = {p: p.read_bytes() for p in places["root"].rglob("*") if p.is_file()}
  assert after == before


def without(words, label):
  """A command line without an option and its value."""
  if label not in words:
    return words
  at = words.index(label)
  return [*words[:at], *words[at + 2 :]]


@pytest.mark.slow
@pytest.mark.parametrize("command", WALKED)
def test_whatever_is_typed_ends_with_a_status_and_one_line(places, capfd, command):
  (places["root"] / "file").write_text("text\n")
  os.mkfifo(places["root"] / "pipe")
  (places["root"] / "folder").mkdir()
  for device in ("null", "full"):  # A link, for a broken writer might replace a device.
    (places["root"] / device).symlink_to(f"/dev/{device}")
  names = ("file", "pipe", "folder", "null", "full")
  here = {name: places["root"] / name for name in names}
  for line in walk(command):
    shutil.rmtree(places["out"], ignore_errors=True)
    places["out"].mkdir()
    words = [word.format(**places, **here) for word in line]
    with time_limit(60, words):
      status = cli.main(words)
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if not re.match(NOTE, line)]
    assert len(lines) == (status != 0), (words, err)
    assert status in (0, 1, 2) and (status < 2 or not out), words
    assert "Traceback" not in err and "unexpected" not in err.replace(
      "unexpected argument", ""
    ), (words, err)
    assert "\x1b" not in err + out and "\u202e" not in err + out, words
  assert all(here[name].is_char_device() for name in ("null", "full"))


@pytest.mark.slow
def test_names_that_strangers_gave_are_shown_and_written_as_text(places, capfd):
  out = places["out"]
  names = ["a\x1b[2J\nim21k: all is well.jpg", "caf\udce9 \u202egpj.jpg"]
  shown = [r"a\x1b[2J\nim21k: all is well.jpg", r"caf\xe9 \u202egpj.jpg"]
  folder = out / "=1+1\udce9" / FISH
  folder.mkdir(parents=True)
  for name in names:
    shutil.copy(places["photo"], folder / name)
  (folder / "b\r\x9b.jpg").write_bytes(b"no photo")
  predict = ["predict", str(places["calibrated"]), str(folder.parent)]
  assert cli.main([*predict, "--report", str(out / "page.html")]) == 1
  text, err = capfd.readouterr()
  assert err.startswith("im21k predict: 1 of 3 photos have no answer; ")
  assert r"b\r\x9b.jpg: not an image" in err and err.count("\n") == 1
  assert all(line.isprintable() for line in text.splitlines())
  assert all(f"/{FISH}/{name}\n" in text for name in shown)
  assert r"b\r\x9b.jpg (not an image" in text
  page = (out / "page.html").read_bytes().decode("utf-8")
  assert all(f"<bdi>{name}</bdi>" in page for name in shown)
  assert cli.main([*predict, "--json"]) == 1
  names_in_json = [p["image"] for p in json.loads(capfd.readouterr()[0])["predictions"]]
  assert [name.rpartition("/")[2] for name in sorted(names_in_json)] == [
    names[0], "caf\\xe9 \u202egpj.jpg"
  ]  # fmt: skip
  csv = out / "rows.csv"
  evaluate = ["evaluate", str(places["weights"]), str(folder.parent)]
  assert cli.main([*evaluate, "--csv-file", str(csv)]) == 0
  text, err = capfd.readouterr()
  assert "3 photos: 2 scored, 0 of unknown classes, 1 unreadable or" in text
  assert err == "" and r"=1+1\xe9" in csv.read_bytes().decode("utf-8")


class Hang(BaseException):
  """A command does not end; not an Exception, which the command line catches."""


@contextlib.contextmanager
def time_limit(seconds, words):
  """Fails where a command hangs."""

  def ring(*_):
    raise Hang(f"{words} takes more than {seconds} s")

  before = signal.signal(signal.SIGALRM, ring)
  signal.alarm(seconds)
  try:
    yield
  finally:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def observe(capsys, places, line):
  """What a command line does: status, output, files, and what is recorded of it."""
  shutil.rmtree(places["out"], ignore_errors=True)
  places["out"].mkdir()
  places["calls"].clear()
  files = {p: p.read_bytes() for p in places["root"].rglob("*") if p.is_file()}
  times = {p: p.stat().st_mtime_ns for p in files}
  try:
    status = cli.main([*line.format(**places).split(), *JSON])
  except SystemExit as end:
    status = end.code
  out, err = capsys.readouterr()
  written = sorted(str(p.relative_to(places["out"])) for p in places["out"].rglob("*"))
  changed = {
    str(p): p.read_text()
    for p in (*places["root"].rglob("*"), *places["out"].rglob("*"))
    if p.suffix in (".json", ".html") and files.get(p) != p.read_bytes()
  }
  for path in [p for p in places["root"].rglob("*") if p.is_file() and p not in files]:
    path.unlink()
  for path, data in files.items():
    path.write_bytes(data)
    os.utime(path, ns=(times[path], times[path]))  # Else the photos have changed.
  return {
    "status": status,
    "out": re.sub(r"\d{4}-\d\d-\d\dT[\d:+]+", "DATE", out),
    "err": re.sub(r"^.*(it/s|batches|photos|\?).*$", "", err, flags=re.M),
    "files": written,
    "changed": changed,
    "calls": list(places["calls"]),
  }


JSON = ("--json",)


class Tiny(nn.Module):
  """BatchNorm over the mean colours of four tiles, and a head."""

  num_classes: int = 3
  bn_axis_name: str | None = None
  bn_momentum: float = 0.9

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool):
    b, h, w, c = x.shape
    x = x.reshape(b, 2, h // 2, 2, w // 2, c).mean((2, 4)).reshape(b, 4 * c)
    bn = nn.BatchNorm(
      use_running_average=not train, momentum=self.bn_momentum, name="bn"
    )
    x = bn(x / 64)
    out = {"features": x}
    return nn.Dense(self.num_classes, name="head")(x).astype(jnp.float32), out


@pytest.fixture(scope="module")
def folder(sample_photos, tmp_path_factory):
  """Photos of three classes; the same packed; a list of two; an Inception-BN."""
  root = tmp_path_factory.mktemp("options")
  for synset in CLASSES.synsets:
    (root / "photos" / synset).mkdir(parents=True)
    for photo in sorted((sample_photos / synset).iterdir())[:5]:
      shutil.copy(photo, root / "photos" / synset / photo.name)
  shutil.copy(photo, root / "photo.jpg")
  (root / "three.txt").write_text("\n".join(CLASSES.synsets) + "\n")
  (root / "two.txt").write_text(f"{FISH}\n{MILL}\n")
  options = {"classes": str(root / "three.txt"), "eval_per_class": 2, "workers": 1}
  pack(root / "photos", root / "packed", **options)
  write_mxnet(root)
  return root


@pytest.fixture
def places(folder, tmp_path, monkeypatch):
  """The words in braces of the command lines."""
  root = tmp_path / "root"
  shutil.copytree(folder, root)
  monkeypatch.chdir(tmp_path)
  monkeypatch.setitem(registry._BUILDERS, "tiny", Tiny)
  released = tiny_weights()
  for name in ("weights", "calibrated"):
    released.save(root / name)
  lambdas = {0.7: 0.5, 0.9: 50.0}
  found = calibration.Calibration(1.5, lambdas, 9)
  calibration.save(root / "calibrated" / weights.ARRAYS, found)
  calls = []
  record_slow_parts(monkeypatch, calls, root)
  write_run(root, released)
  write_features(root / "vectors")
  return {
    "root": root, "out": tmp_path / "out", "calls": calls, "missing": root / "missing",
    "packed": root / "packed", "photos": root / "photos", "photo": root / "photo.jpg",
    "weights": root / "weights", "run": root / "run",
    "calibrated": root / "calibrated", "list": root / "two.txt",
    "features": root / "vectors", "config": "demo", "params": root / "in.params",
    "synset": root / "labels.txt", "mxnet": root / "inception",
  }  # fmt: skip


def write_features(folder):
  """Vectors of three classes that nothing tells apart."""
  parts = Parts(folder, {"stage": "features", "shape": [4]}, CLASSES.synsets)
  parts.begin()
  values = np.random.default_rng(0).normal(size=(36, 4)).astype(np.float32)
  keys = [f"{at}.jpg" for at in range(36)]
  rows = Rows(keys, [*CLASSES.synsets] * 12, values, [], 36, keys[-1])
  parts.add([rows], Place(0, 36, keys[-1]))
  parts.finish()


def tiny_weights():
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
  params = {
    "bn": {"scale": np.ones(12, np.float32), "bias": np.zeros(12, np.float32)},
    "head": {"kernel": draw(12, 3), "bias": draw(3)},
  }
  stats = {"bn": {"mean": draw(12), "var": np.ones(12, np.float32)}}
  return weights.Weights(
    model_name="tiny",
    model_fields={"num_classes": 3},
    variables={"params": params, "batch_stats": stats},
    input=weights.Input(size=32, short_side=37),
    classes=CLASSES,
  )


def record_slow_parts(monkeypatch, calls, root):
  """Of what takes long, or differs by the clock, only the arguments count."""

  def record(name, result):
    return lambda *args, **kwargs: calls.append((name, args, kwargs)) or result

  class Loader:
    threads, workers, bad = 1, 0, ()

    def __init__(self, *args, **kwargs):
      calls.append(("loader", args, kwargs))

    def iter_from(self, example):
      return self

    def __iter__(self):
      return self

    def __next__(self):
      return {"image": None}

  monkeypatch.setattr(bench_loader, "TrainLoader", Loader)
  monkeypatch.setattr(
    loader_speed,
    "_measure",
    lambda sizes, seconds: calls.append(seconds) or (2, 1.0, 1.0),
  )
  monkeypatch.setattr(loader_speed, "_stages", lambda *_: {"read": 1.0})
  result = {"step": 1, "finished": False, "weights": None, "train_top_1": None}
  result["eval_top_1"] = None
  monkeypatch.setattr(training.loop, "train", record("train", result))
  monkeypatch.setattr(process, "ask", lambda request, signals: asked(request, calls))
  monkeypatch.setattr(sweeps, "say", lambda line: None)
  nothing = {"top_1": None, "calibrated": False, "page": ""}
  monkeypatch.setattr(finetuning, "_measured", record("measured", nothing))
  monkeypatch.setattr(training.xla, "set_up", lambda devices, **_: None)

  class Compiled:
    def report(self):
      limits = {"fits": True, "limit_mib": 1, "batch": 8, "days": [0, 0]}
      return {key: 0 for key in plan._AT_LARGEST} | limits

    def dump(self, folder):
      folder.mkdir()

  def compare(compile_for, chosen, *rest, adapts):
    calls.append(("compare", [card.name for card in chosen], *rest, adapts))
    return {"gpus": []}

  class Compiler:
    def __init__(self, card, reserve, network):
      self.network = network
      calls.append(("card", card, reserve, network))

    def compile(self, experiment, batch):
      calls.append(("compile", experiment.to_dict(), batch))
      return Compiled()

  monkeypatch.setattr(plan, "Compiler", Compiler)
  monkeypatch.setattr(plan.largest, "find", lambda compile_, own, most: (own, None))
  monkeypatch.setattr(plan.sweeps, "sweep", record("sweep", {"rows": []}))
  monkeypatch.setattr(plan.comparison, "compare", compare)
  monkeypatch.setattr(plan.several, "report", record("hosts", {}))
  # It ends with Ctrl-C; tests/serving starts it.
  monkeypatch.setattr(serve, "missing", lambda: None)
  monkeypatch.setattr(serve, "run", record("serve", {"address": "", "photos": 0}))
  monkeypatch.setattr(mxnet.mxnet_params, "read", lambda path: {})
  monkeypatch.setattr(mxnet.layouts, "variables", lambda *_: {"params": {}})


def asked(request, calls):
  """What a process of a sweep answers; its run is finished at once."""
  calls.append(request)
  if request["do"] == "check":
    answer = {"checked": [{"total": 1, "hashes": {}} for _ in request["configs"]]}
    return process.Outcome(answer, 1.0, 1.0)
  released = Path(request["workdir"]) / "weights"
  released.mkdir(exist_ok=True)
  (released / "model.json").write_text('{"config": {"step": 1}}')
  return process.Outcome({"finished": True}, 1.0, 1.0)


def write_run(root, released):
  """A finished run, as far as `report` reads it."""
  run = root / "run"
  released.save(run / "weights")
  config = {"data": str(root / "packed"), "classes": str(root / "three.txt")}
  (run / "config.json").write_text(json.dumps(config))
  (run / "environment.json").write_text("{}")
  row = {"step": 1, "images": 8, "train_top_1": 0.5, "lr": 0.1, "loss": 1.0}
  (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")


def write_mxnet(root):
  """Label list of 1,000 classes; an Inception-BN of three, all zeros."""
  (root / "in.params").touch()  # What is in it is a stand-in, too.
  ids = synsets.ilsvrc2012().synsets
  (root / "labels.txt").write_text("".join(f"{synset} name\n" for synset in ids))
  fields = {"num_classes": 3, "width": 0.125}
  model = models.create("inception_bn_21k", **fields)
  images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  shapes = jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False), images
  )
  weights.Weights(
    model_name="inception_bn_21k",
    model_fields=fields,
    variables=jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes),
    input=weights.Input(size=32, short_side=37),
    classes=CLASSES,
  ).save(root / "inception")
  found = calibration.Calibration(1.5, {0.7: 0.5, 0.9: 50.0}, 9)
  calibration.save(root / "inception" / weights.ARRAYS, found)


@pytest.mark.slow
@pytest.mark.parametrize(
  "command",
  (
    "bench-loader", "calibrate", "evaluate", "features", "pack", "predict",
    "recalibrate",
  ),
)  # fmt: skip
def test_a_cut_archive_is_said_by_every_command(places, capsys, command):
  path = places["root"] / "cut.tar"
  with tarfile.open(path, "w") as tar:
    tar.add(places["photos"], ".")
  path.write_bytes(path.read_bytes()[: 3 * path.stat().st_size // 5])
  line = {
    "recalibrate": f"recalibrate {places['weights']} {path} {places['out']}/new "
    "--images 12 --batch-size 4",
    "predict": f"predict {places['calibrated']} {path}",
    "features": f"features {places['weights']} {path} {places['out']}/f.npz",
    "bench-loader": f"bench-loader {path} --batch-size 2 --seconds 0.1",
    "pack": f"pack {path} {places['out']} --classes {places['root']}/three.txt",
  }.get(command, f"{command} {places['weights']} {path}")
  status = cli.main(line.split())
  out, err = capsys.readouterr()
  assert "unexpected" not in err and "Traceback" not in err
  if command == "bench-loader":
    assert status == 0  # It measures; what it could not read is a number.
  else:
    assert status == 1 and re.search(r"[1-9][\d,]* bytes?", err), (out, err)
  made = [f"{places['out']}/new", f"{places['weights']}/calibration.json"]
  assert not any(map(os.path.exists, made))  # Nothing is estimated from a part.
