"""Runs side by side: the keys that differ, curves, and answers on the same photos."""

import json
import math
import shutil

import numpy as np
import pytest

from im21k import cli, synsets
from im21k.comparing import curves
from im21k.comparing.compare import compare, text
from im21k.evaluation import inputs, outputs
from im21k.evaluation.evaluate import evaluate
from im21k.training.config import Config

from .conftest import DOCUMENT
from .test_paired import exact

FISH, MILL, HAMMER = "n02512053", "n04587559", "n03481172"
CLASSES = synsets.ClassList("three", (FISH, MILL, HAMMER))
HASHES = {"classes": "c", "data": "d"}


@pytest.fixture
def run(tmp_path, linear_weights):
  """`run(name, draw, classes, hashes, **settings)`: a work folder; draw None: begun."""

  def make(name, draw=None, classes=CLASSES, hashes=HASHES, **settings):
    folder = tmp_path / name
    folder.mkdir()
    config = Config.from_dict({**DOCUMENT, "data": str(tmp_path / "gone")}, settings)
    document = {**config.resolved().to_dict(), "hashes": hashes, "history": []}
    (folder / "config.json").write_text(json.dumps(document))
    rows = [
      {"step": 1, "images": 8, "loss": 2.0, "train_top_1": 0.5, "images_per_s": 8.0},
      {"step": 2, "images": 16, "eval_top_1": 0.25, "eval_loss": 3.0},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(lines)
    if draw is not None:
      rng = np.random.default_rng(draw)
      kernel = rng.normal(size=(48, len(classes))).astype(np.float32) / 99
      released = linear_weights(
        kernel, np.zeros(len(classes), np.float32), classes,
        config={**document, "step": 4},
      )  # fmt: skip
      released.save(folder / "weights")
    return folder

  return make


@pytest.fixture
def many(photos):
  """Photos of three classes in folders."""
  return photos({FISH: 14, MILL: 13, HAMMER: 13})


def right(folder, data, classes=CLASSES):
  """By key, whether the most likely class of each photo is right, computed apart."""
  from im21k import weights

  source = inputs.open_shuffled(data, None, classes=classes)
  computed = outputs.compute(weights.load(folder), source, most=999, batch_size=8)
  keys = [photo.key for photo in source]
  found = computed.logits.argmax(1) == computed.labels
  return {keys[at]: bool(r) for at, r in zip(computed.positions, found, strict=True)}


@pytest.mark.parametrize(
  ("setting", "value", "shown"),
  [
    ("optimizer.weight_decay", 0.1, ["1e-05", "0.1"]),
    ("image_size", 128, ["224", "128"]),
    ("total.epochs", 3, ["steps=4", "epochs=3"]),
    ("model.remat", "norm", ["block", "norm"]),
    ("seed", 7, ["3", "7"]),
  ],
)
def test_runs_that_differ_in_one_key_say_which(run, setting, value, shown):
  result = compare(run("a"), run("b", **{setting: value}))
  (row,) = result["settings"]
  assert setting.startswith(row["key"])
  if setting != "model.remat":
    assert row["values"] == shown
  assert result["sentence"] == f"the settings differ in {row['key']}"
  assert f"2 runs: {result['sentence']}" in text(result)
  assert "scores not compared: no run has weights yet" in text(result)


def test_runs_that_differ_in_nothing_say_so(run):
  a, b = run("a"), run("b")
  result = compare(a, b)
  assert result["settings"] == [] and result["environment"] == []
  assert "2 runs: the settings differ in nothing" in text(result)
  # The same photos elsewhere are no other setting; others at the same place are.
  document = json.loads((b / "config.json").read_text())
  (b / "config.json").write_text(json.dumps({**document, "data": "/elsewhere"}))
  (row,) = compare(a, b)["settings"]
  assert row["key"] == "data" and row["same_content"]
  assert "differ in nothing (data: the same content at" in compare(a, b)["sentence"]
  document["hashes"] = {**HASHES, "data": "other"}
  (b / "config.json").write_text(json.dumps(document))
  result = compare(a, b)
  assert result["sentence"] == "the settings differ in data"
  assert "(hash other)" in result["settings"][0]["values"][1]


def test_keys_of_other_variants_and_of_older_versions(run):
  a = run("a")
  cosine = {"name": "cosine", "peak": 0.1, "warmup": {"steps": 1}}
  b = run("b", **{"loss.name": "smoothed"})
  document = json.loads((b / "config.json").read_text())
  (b / "config.json").write_text(json.dumps({**document, "schedule": cosine}))
  rows = {row["key"]: row["values"] for row in compare(a, b)["settings"]}
  assert rows["schedule.rates"] == ["0.1,0.01", "-"]
  assert rows["schedule.peak"] == ["-", "0.1"] and rows["loss.beta"] == ["-", "30"]
  # An older run lacks a key: it has the default. One of another program has its own.
  del document["sync_bn"]
  (b / "config.json").write_text(json.dumps(document))
  assert {r["key"] for r in compare(a, b)["settings"]} == {
    "loss.name", "loss.beta", "loss.smoothing",
  }  # fmt: skip
  (b / "config.json").write_text(json.dumps({**document, "strange": {"x": 1}}))
  assert "strange.x" in {row["key"] for row in compare(a, b)["settings"]}


def test_a_section_that_one_run_lacks_is_shown_by_its_keys(run):
  a = run("a")
  growing = {"image_sizes": [16], "until": {"steps": [4]}}
  b = run("b", phases=growing)
  rows = {row["key"]: row["values"] for row in compare(a, b)["settings"]}
  assert rows == {
    "phases.image_sizes": ["-", "16"],
    "phases.batch_sizes": ["-", "none"],
    "phases.until": ["-", "steps=4"],
  }


def test_the_paired_test_is_that_of_the_photos(run, many):
  folders = [run(name, seed) for name, seed in (("a", 0), ("b", 1), ("c", 2))]
  result = compare(*folders, data=many, batch_size=8)
  scores = result["scores"]
  assert (scores["used"], scores["left"], scores["first"]) == (40, 0, "a")
  apart = [right(folder, many) for folder in folders]
  for row, folder, one in zip(scores["rows"], folders, apart, strict=True):
    measured = evaluate(folder, many, batch_size=8)["rows"][0]
    assert row["top_1"] == sum(one.values()) / 40
    for name in ("top_1", "top_1_low", "top_1_high", "top_5", "top_5_low"):
      assert row[name] == pytest.approx(measured[name], abs=1e-12)
    assert row["step"] == 4
  ps = []
  for test, one in zip(scores["tests"], apart[1:], strict=True):
    b = sum(apart[0][key] and not one[key] for key in one)
    c = sum(one[key] and not apart[0][key] for key in one)
    assert b + c > 3 and (test["only_first"], test["only_this"]) == (b, c)
    assert test["p"] == pytest.approx(exact(b, c), rel=1e-9)
    ps.append(test["p"])
  small, large = sorted(range(2), key=lambda at: ps[at])
  holm = [test["p_holm"] for test in scores["tests"]]
  assert holm[small] == pytest.approx(min(1, 2 * ps[small]))
  assert holm[large] == pytest.approx(max(holm[small], ps[large]))
  shown = text(result)
  assert "top-1 against a on the same 40 photos (McNemar, exact, p corrected for 2" in (
    shown
  )
  assert "uncorrected)" in shown and "answers among all 3 classes" in shown
  two = compare(*folders[:2], data=many, batch_size=8)
  assert "corrected" not in text(two)
  assert two["scores"]["tests"][0]["p_holm"] == ps[0]


def test_a_part_of_the_photos_is_the_same_for_all(run, many):
  result = compare(run("a", 0), run("b", 0), data=many, images=10, batch_size=4)
  assert result["scores"]["used"] == result["scores"]["photos"] == 10
  (test,) = result["scores"]["tests"]
  assert (test["only_first"], test["only_this"], test["p"]) == (0, 0, 1.0)


def test_other_class_lists_are_compared_on_what_they_share(run, many, photos):
  other = synsets.ClassList("two", (MILL, HAMMER, "n00000001"))
  a, b = run("a", 0), run("b", 1, classes=other)
  result = compare(a, b, data=many, batch_size=8)
  scores = result["scores"]
  assert (scores["used"], scores["left"], scores["classes"]) == (26, 14, 2)
  assert "the 2 classes that all runs have; 14 of other classes left out" in text(
    result
  )
  # A net that can only answer one of two is right as often as its logits say.
  logits = outputs_among(a, many, [1, 2])
  assert scores["rows"][0]["top_1"] == pytest.approx(logits)
  c = run("c", 1, classes=synsets.ClassList("none", ("n00000001", "n00000002")))
  with pytest.raises(ValueError, match="the runs have no class in common"):
    compare(a, c, data=many, batch_size=8)


def outputs_among(folder, data, allowed):
  """Top-1 among some of the classes, on photos of these."""
  from im21k import weights

  source = inputs.open_shuffled(data, None, classes=CLASSES)
  computed = outputs.compute(weights.load(folder), source, most=999, batch_size=8)
  some = np.isin(computed.labels, allowed)
  best = np.array(allowed)[computed.logits[some][:, allowed].argmax(1)]
  return (best == computed.labels[some]).mean()


def test_photos_of_unknown_classes_and_bad_ones_are_counted(run, many):
  (many / "n09999999").mkdir()
  shutil.copy(next((many / FISH).iterdir()), many / "n09999999" / "x.jpg")
  (many / FISH / "bad.jpg").write_bytes(b"no photo")
  a, b = run("a", 0), run("b", 1)
  result = compare(a, b, data=many, batch_size=8)
  scores = result["scores"]
  assert (scores["photos"], scores["used"], len(scores["bad"])) == (42, 41, 1)
  assert scores["rows"][0]["top_1"] == evaluate(a, many)["rows"][0]["top_1"]
  assert "bad.jpg (not an image" in text(result)


def test_by_default_the_photos_are_those_of_the_runs(run, packed, monkeypatch):
  from im21k.dataset.manifest import Manifest

  digest = Manifest.load(packed).digest
  classes = synsets.imagenet21k()
  same = {"hashes": {**HASHES, "data": digest}, "data": str(packed)}
  a, b = (run(name, seed, classes, **same) for name, seed in (("a", 0), ("b", 1)))
  result = compare(a, b)
  assert result["scores"]["split"] == "eval" and result["scores"]["photos"] == 24
  assert "24 eval photos of" in text(result)
  train = compare(a, b, split="train", images=30)["scores"]
  assert (train["split"], train["photos"]) == ("train", 30)
  # Otherwise nothing is measured, and the reason said.
  c = run("c", 1, classes, {**HASHES, "data": "other"}, data=str(packed))
  assert "were trained on different photos" in compare(a, c)["no_scores"]
  gone = run("d", 1, hashes=same["hashes"])
  other = run("e", 1, hashes=same["hashes"])
  assert "are not there any more: name some" in compare(gone, other)["no_scores"]
  # Photos of their own that both were evaluated on come first.
  hashes = {**HASHES, "data": "x", "eval_set": "val", "eval_data.val": digest}
  own = {"hashes": hashes, "eval_data": {"val": str(packed)}}
  g, h = (run(name, at, classes, **own) for at, name in enumerate("gh"))
  assert compare(g, h)["scores"]["data"] == str(packed)
  begun = run("f", **same)
  assert compare(a, begun)["no_scores"] == "only a has weights yet"
  with pytest.raises(ValueError, match="only a has weights yet: leave data out"):
    compare(a, begun, data=packed)


def test_weights_without_a_run_are_compared_too(run, many):
  a, b = run("a", 0), run("b", 1)
  result = compare(a, b / "weights", data=many, batch_size=8)
  assert [one["name"] for one in result["runs"]] == ["a", "weights"]
  assert result["summaries"][1]["steps"] is None and result["at_shared"] is None
  assert result["scores"]["tests"][0]["p"] < 1


def test_an_unfinished_run_is_scored_by_the_weights_it_has(run, many):
  a, b = run("a", 0), run("b", 1)
  (b / "weights").rename(b / "latest")
  document = json.loads((b / "latest" / "model.json").read_text())
  document["config"]["step"] = 2
  (b / "latest" / "model.json").write_text(json.dumps(document))
  result = compare(a, b, data=many, batch_size=8)
  assert [row["step"] for row in result["scores"]["rows"]] == [4, 2]
  assert result["runs"][1]["weights"] == str(b / "latest")


def test_curves_over_each_axis(run):
  a, b = run("a"), run("b")
  with (b / "metrics.jsonl").open("a") as file:
    for step in (3, 4):
      row = {"step": step, "images": 8 * step, "loss": 1.0, "images_per_s": 4.0}
      file.write(json.dumps(row | {"train_top_1": 0.75}) + "\n")
    row = {"step": 4, "images": 32, "eval_top_1": 0.5, "train_secs": 7.2}
    file.write(json.dumps(row) + "\n")
  result = compare(a, b)
  assert result["curves"]["eval_top_1"] == {
    "a": [(16, 0.25)],
    "b": [(16, 0.25), (32, 0.5)],
  }
  assert "lr" not in result["curves"]
  assert compare(a, b, axis="steps")["curves"]["loss"]["b"] == [(1, 2), (3, 1), (4, 1)]
  hours = compare(a, b, axis="hours")["curves"]["train_top_1"]["b"]
  # 8 images at 8/s; 16 more, of which the second row knows, at 4/s; 8 at 4/s.
  assert [3600 * x for x, _ in hours] == pytest.approx([1, 5, 7])
  assert result["summaries"][1]["hours"] * 3600 == pytest.approx(7.2)
  assert result["at_shared"] == {
    "x": 16, "measure": "eval_top_1", "values": {"a": 0.25, "b": 0.25}
  }  # fmt: skip
  assert "held-out top-1 at 16 images, which all have reached: a 25.00 %, b" in (
    text(result)
  )
  with (b / "metrics.jsonl").open("a") as file:
    file.write('{"step": 4, "images": 32, "eval_val_top_1": 0.5}\n')
  assert compare(a, b)["curves"]["eval_val_top_1"]["b"] == [(32, 0.5)]
  nan = [{"step": 1, "images": 8, "loss": math.nan}, {"step": 2, "images": 16}]
  assert curves.points(nan, "loss", "images") == []


def test_names_are_told_apart_and_refusals_are_one_line(run, tmp_path):
  a = run("a")
  (tmp_path / "other").mkdir()
  shutil.copytree(a, tmp_path / "other" / "a")
  result = compare(a, tmp_path / "other" / "a")
  names = [one["name"] for one in result["runs"]]
  assert names == [str(a), str(tmp_path / "other" / "a")]
  for runs, message in (
    ([a], "compare needs 2 to 50 runs, but was given 1"),
    ([a, a.parent / "x" / ".." / "a"], "is given twice"),
    ([a, tmp_path], "holds neither a run nor weights"),
  ):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
      compare(*runs)
    assert "\n" not in str(caught.value)
  with pytest.raises(ValueError, match="images is 0"):
    compare(a, tmp_path / "other" / "a", images=0)


def test_changes_on_the_way_are_said(run):
  a, b = run("a"), run("b")
  document = json.loads((b / "config.json").read_text())
  document["history"] = [[400, "workers", 2, 0]]
  (b / "config.json").write_text(json.dumps(document))
  (b / "environment.json").write_text('{"devices": "4 x gpu"}')
  result = compare(a, b)
  assert "b: at step 400: workers was 2, is 0" in text(result)
  assert result["environment"] == [{"key": "devices", "values": ["-", "4 x gpu"]}]


def test_the_json_is_whole(run, capsys):
  assert cli.main(["compare", str(run("a")), str(run("b")), "--json"]) == 0
  found = json.loads(capsys.readouterr().out)
  assert found["curves"]["loss"]["a"] == [[8, 2]] and found["scores"] is None
