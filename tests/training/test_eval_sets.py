"""`eval_data`: which photos are evaluated, under which keys, and what is refused."""

import json
import re

import pytest

from im21k.dataset.manifest import Manifest
from im21k.packing.pack import pack
from im21k.training import log, loop
from im21k.training.setup import prepare
from im21k.training.workdir import Workdir

GOLDFISH, CAT, TEDDY = "n01443537", "n02121620", "n04399382"


@pytest.fixture
def packed_of(photos, tmp_path):
  """`packed_of(name, counts, **options)`: packed photos of these classes."""

  def make(name, counts, **options):
    folder = photos(counts, f"photos of {name}")
    pack(folder, tmp_path / name, workers=1, shards=1, **options)
    return str(tmp_path / name)

  return make


@pytest.fixture
def brief(config, packed_of):
  """A run of two steps on photos none of which are held out."""
  data = packed_of("train", {GOLDFISH: 9, CAT: 8})
  return config.changed({"data": data, "total.steps": 2, "eval_every.steps": 2})


def sets(config):
  return [
    (one.name, one.split, one.count, one.prefix, one.is_main)
    for one in prepare(config).eval_sets
  ]


def test_without_held_out_photos_of_its_own_val_is_what_best_goes_by(brief, packed_of):
  v2, val = packed_of("v2", {CAT: 1}), packed_of("val", {CAT: 2})
  both = brief.changed({"eval_data": {"a": v2, "val": val}})
  assert sets(both) == [
    ("val", "train", 2, "eval_", True), ("a", "train", 1, "eval_a_", False)
  ]  # fmt: skip
  assert sets(brief.changed({"eval_data": v2})) == [("val", "train", 1, "eval_", True)]
  assert sets(brief) == []
  with pytest.raises(ValueError, match="the sets a, b, and data holds no photos out"):
    prepare(brief.changed({"eval_data": {"a": v2, "b": val}}))


def test_the_split_that_data_holds_out_comes_first(config, packed_of):
  photos = packed_of("v2", {CAT: 9, GOLDFISH: 5}, eval_per_class=2)
  found = prepare(config.changed({"eval_data.v2": photos})).eval_sets
  assert [(one.name, one.prefix, one.count) for one in found] == [
    ("", "eval_", 24), ("v2", "eval_v2_", 4)
  ]  # fmt: skip
  assert found[0].scorer._step is found[1].scorer._step, "it would be compiled twice"


@pytest.mark.parametrize("other", ["no folder", "trained on", "classes"])
def test_photos_that_cannot_be_meant_are_refused(brief, packed_of, tmp_path, other):
  message = {
    "no folder": r"eval_data\.val: .*none/manifest\.json does not exist",
    "trained on": r"eval_data\.val is .*whose train photos are those that are trained",
    "classes": r"eval_data\.val is .*none of whose classes \(.*\) is one of the 21,841",
  }[other]
  if other == "classes":
    (tmp_path / "own.txt").write_text("n00000001\nn00000002\n")
    folder = packed_of("own", {"n00000001": 3}, classes=str(tmp_path / "own.txt"))
  else:
    folder = brief.data if other == "trained on" else str(tmp_path / "none")
  with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
    prepare(brief.changed({"eval_data": folder}))
  assert "\n" not in str(caught.value)


def test_rows_checkpoints_and_weights_have_the_scores_of_all_sets(
  brief, packed_of, tmp_path, capsys
):
  """Photos of a class that the model lacks are counted, and said."""
  (tmp_path / "list").write_text("\n".join([GOLDFISH, TEDDY]))
  classes = {"classes": str(tmp_path / "list")}
  val = packed_of("val", {GOLDFISH: 3, TEDDY: 2}, **classes)
  v2 = packed_of("v2", {CAT: 5})
  result = loop.train(
    brief.changed({"eval_data": {"val": val, "v2": v2}}), tmp_path / "run"
  )
  rows = log.read_rows(tmp_path / "run" / "metrics.jsonl")
  evals = [row for row in rows if "eval_top_1" in row]
  assert [row["step"] for row in evals] == [0, 2]
  for row in evals:
    counts = [row[f"eval_{name}"] for name in ("count", "unknown", "v2_count")]
    assert counts == [5, 2, 5] and row["eval_set"] == "val"
    assert row["eval_v2_top_5"] >= row["eval_v2_top_1"] >= 0 < row["eval_v2_loss"]
  assert result["eval_top_1"] == evals[-1]["eval_top_1"]
  assert result["eval_v2_top_1"] == evals[-1]["eval_v2_top_1"]
  released = json.loads((tmp_path / "run" / "weights" / "model.json").read_text())
  assert released["scores"]["eval_v2_top_1"] == evals[-1]["eval_v2_top_1"]
  assert released["config"]["eval_data"] == {"val": val, "v2": v2}
  said = capsys.readouterr().err
  assert "eval_data val: 5 photos, which best goes by: split train of" in said
  assert re.search("evaluated val at .* 5 photos, 2 of unknown classes +in 0:", said)
  assert re.search("evaluated v2 at step 2/2 .* 5 photos +in", said)


def test_photos_all_of_other_classes_are_refused_before_training(
  brief, packed_of, tmp_path
):
  """Where the lists share a class, but none of the photos is of it."""
  (tmp_path / "list").write_text("\n".join([GOLDFISH, TEDDY]))
  val = packed_of("val", {TEDDY: 2}, classes=str(tmp_path / "list"))
  with pytest.raises(
    ValueError, match=r"val: none of 2 photos is of a class that the model has: .*\.val"
  ):
    loop.train(brief.changed({"eval_data": val}), tmp_path / "run")


def test_on_resume_sets_may_come_and_go_but_not_change(brief, packed_of, tmp_path):
  val, other = packed_of("val", {CAT: 2}), packed_of("other", {CAT: 3})
  moved = packed_of("moved", {CAT: 2})
  assert (
    Manifest.load(tmp_path / "val").digest == Manifest.load(tmp_path / "moved").digest
  )

  def resumed(sets):
    config = brief.changed({"eval_data": sets}) if sets else brief
    folder = Workdir(tmp_path / "run", prepare(config))
    folder.begin(len(folder.history), {})
    return [key for _, key, *_ in folder.history]

  assert resumed({}) == []
  assert resumed({"val": val}) == ["eval_data"]
  assert resumed({"val": moved, "v2": other}) == ["eval_data"] * 2
  with pytest.raises(
    ValueError, match=r"eval_data was v2=.*other with hash .*, is v2="
  ):
    resumed({"val": val, "v2": val})
  with pytest.raises(ValueError, match="best goes by val, is such that it goes by v2"):
    resumed({"v2": other})
  assert resumed({}) == ["eval_data"] * 3, "none is evaluated any more"
  with pytest.raises(ValueError, match=r"eval_data was val=other photos with hash"):
    resumed({"val": other})
