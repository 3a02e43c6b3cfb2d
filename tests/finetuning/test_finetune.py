"""From weights and a folder of photos to weights, by one command."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import im21k
from im21k import cli, weights
from im21k.finetuning import begin
from im21k.finetuning import finetune as command
from im21k.finetuning.finetune import finetune
from im21k.packing.pack import pack
from im21k.pages.report import report


def digests(folder):
  return {p.name: p.read_bytes() for p in (folder / "weights").glob("*.safetensors")}


def test_a_few_photos_fit_a_head(folder, released, photos, tmp_path, capsys):
  result = finetune(folder, photos, tmp_path / "out")
  assert (result["trunk"], result["classes"]) == ("frozen", 3)
  assert (result["train"], result["eval"], result["rejected"]) == (24, 6, 0)
  assert result["top_1"] == 1 and result["top_1_low"] < 1 == result["top_1_high"]
  assert not result["calibrated"]
  assert (tmp_path / "out" / "report.html").is_file()
  model = im21k.load(result["weights"])
  assert model.classes.synsets == ("Café", "my dog", "red car")
  for name in ("bn", "layer"):
    for key, array in released.variables["params"][name].items():
      np.testing.assert_array_equal(model.variables["params"][name][key], array)
  images = model.prepare(sorted((photos / "red car").iterdir()))
  assert (np.asarray(model.logits(images)).argmax(1) == 2).all()
  said = capsys.readouterr().err
  assert (
    "packed 24 train and 6 held-out photos into" in said
    and "trunk: frozen (24 photos, fewer than 20,000)" in said
  )
  shown = command.text(result)
  assert "3 classes, trained on 24 photos, 6 held out, 0 rejected" in shown
  assert "100.0% (95 % interval 61.0–100.0)" in shown


@pytest.mark.slow
def test_all_parameters_are_trained_from_the_fitted_head(folder, photos, tmp_path):
  out = tmp_path / "out"
  result = finetune(folder, photos, out, trunk="train", steps=20, rate=0.01)
  assert result["top_1"] == 1 and result["trunk"] == "train"
  first, last = (weights.load(out / name).variables for name in ("head", "weights"))
  moved = last["params"]["layer"]["kernel"] - first["params"]["layer"]["kernel"]
  assert np.abs(moved).max() > 0
  rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
  assert rows[0]["eval_top_1"] == 1, "it starts from a head that is right already"
  assert (out / "learning_curve.png").is_file()
  config = json.loads((out / "config.json").read_text())
  assert config["init"]["head"] == "keep" and config["total"] == {"steps": 20}


def test_started_again_it_changes_nothing_and_refuses_other_settings(
  folder, photos, tmp_path, monkeypatch
):
  out = tmp_path / "out"
  result = finetune(folder, photos, out)
  before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
  shutil.rmtree(photos)  # What is done needs them no more.
  photos.mkdir()
  assert finetune(folder, photos, out) == result
  assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
  with pytest.raises(ValueError, match="another fine-tuning: seed was 0, is 1: name"):
    finetune(folder, photos, out, seed=1)


def test_photos_that_have_changed_since_are_no_result_of_before(
  folder, photos, tmp_path, jpeg
):
  finetune(folder, photos, tmp_path / "out")
  (photos / "neu").mkdir()
  for index in range(3):
    (photos / "neu" / f"{index}.jpg").write_bytes(jpeg(index))
  with pytest.raises(ValueError, match=r"mine has changed since .*: name another"):
    finetune(folder, photos, tmp_path / "out")


def test_packed_photos_that_are_others_now_are_refused(folder, photos, tmp_path):
  packed = tmp_path / "packed"
  pack(photos, packed, eval_per_class=2, workers=1)
  result = finetune(folder, packed, tmp_path / "out")
  assert finetune(folder, packed, tmp_path / "out") == result
  shutil.rmtree(packed)
  pack(photos, packed, eval_per_class=3, workers=1)
  with pytest.raises(ValueError, match="packed has changed since"):
    finetune(folder, packed, tmp_path / "out")


def test_the_same_places_may_be_named_from_elsewhere(
  folder, photos, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  first = finetune(Path("old"), Path("mine"), Path("out"))
  assert first["page"] == "out/report.html"
  (tmp_path / "away").mkdir()
  monkeypatch.chdir(tmp_path / "away")
  again = finetune(Path("../old"), Path("../mine"), Path("../out"))
  assert again == {
    **first, "weights": "../out/weights", "page": "../out/report.html"
  }  # fmt: skip
  assert report(Path("../out"))["top_1"] == first["top_1"]


@pytest.mark.parametrize("stage", ["pack", "fitted", "evaluate", "report"])
def test_ended_at_any_stage_it_goes_on_to_the_same_bytes(
  folder, photos, tmp_path, monkeypatch, stage
):
  whole = finetune(folder, photos, tmp_path / "whole")
  where = {"fitted": begin.head, "pack": begin.data_of}.get(stage, command)

  def end(*_, **__):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(where, stage, end)
    with pytest.raises(KeyboardInterrupt):
      finetune(folder, photos, tmp_path / "out")
  again = finetune(folder, photos, tmp_path / "out")
  assert digests(tmp_path / "out") == digests(tmp_path / "whole")
  same = ("top_1", "train", "fit", "trunk")
  assert {k: again[k] for k in same} == {k: whole[k] for k in same}


def test_a_stopped_training_says_so_and_is_resumed(
  folder, photos, tmp_path, monkeypatch, capsys
):
  given = [str(folder), str(photos), str(tmp_path / "out"), "--trunk=train"]
  with monkeypatch.context() as patch:
    stopped = {"finished": False, "stopped_by": "SIGTERM"}
    patch.setattr(command.loop, "train", lambda *_: stopped)
    assert cli.main(["finetune", *given, "--steps=3"]) == 128 + 15
  said = capsys.readouterr()
  assert said.out == "stopped: the same command resumes\n"
  assert "stopped by SIGTERM: the same command resumes" in said.err
  assert cli.main(["finetune", *given, "--steps=3"]) == 0


def test_packed_photos_keep_their_split(folder, photos, tmp_path):
  pack(photos, tmp_path / "packed", eval_per_class=2, workers=1)
  result = finetune(folder, tmp_path / "packed", tmp_path / "out")
  assert (result["train"], result["eval"]) == (24, 6)
  assert not (tmp_path / "out" / "packed").exists()
  with pytest.raises(ValueError, match="eval_fraction is for photos that are packed"):
    finetune(folder, tmp_path / "packed", tmp_path / "o", eval_fraction=0.1)
  with pytest.raises(ValueError, match="classes is for photos that are packed here"):
    finetune(folder, tmp_path / "packed", tmp_path / "o", classes="imagenet21k")
  assert not (tmp_path / "o").exists()


def test_without_held_out_photos_nothing_is_measured(folder, photos, tmp_path):
  result = finetune(folder, photos, tmp_path / "out", eval_fraction=0)
  assert (result["eval"], result["top_1"], result["calibrated"]) == (0, None, False)
  assert "not measured, for no photo is held out" in command.text(result)
  page = (tmp_path / "out" / "report.html").read_text()
  assert "30 train photos" in page and "the head was fitted to its features" in page


def test_enough_held_out_photos_calibrate(folder, photos, tmp_path, monkeypatch):
  monkeypatch.setattr(command, "_CALIBRATED", 6)
  for index in range(2, 6):  # Some of which are wrong.
    shutil.copy(photos / "Café" / "0.jpg", photos / "my dog" / f"green{index}.jpg")
  result = finetune(folder, photos, tmp_path / "out")
  assert result["calibrated"] and result["top_1"] < 1
  assert (tmp_path / "out" / "weights" / "calibration.json").is_file()


def test_photos_that_are_all_right_calibrate_nothing(
  folder, photos, tmp_path, monkeypatch
):
  """The best temperature would be 0."""
  monkeypatch.setattr(command, "_CALIBRATED", 6)
  result = finetune(folder, photos, tmp_path / "out")
  assert result["top_1"] == 1 and not result["calibrated"]
  assert "of which some are wrong" in command.text(result)


def test_synset_folders_become_just_these_classes(folder, jpeg, tmp_path):
  for synset in ("n02084071", "n02121620"):
    (tmp_path / "two" / synset).mkdir(parents=True)
    for index in range(4):
      (tmp_path / "two" / synset / f"{index}.jpg").write_bytes(jpeg(index))
  result = finetune(folder, tmp_path / "two", tmp_path / "out")
  assert result["classes"] == 2
  named = weights.load(tmp_path / "out" / "weights").classes.names
  assert named[0].startswith("dog")


def test_rejected_photos_are_counted(folder, photos, tmp_path):
  (photos / "my dog" / "0.jpg").write_bytes(b"no photo")
  result = finetune(folder, photos, tmp_path / "out")
  assert result["rejected"] == 1 and result["train"] + result["eval"] == 29
  assert "1 rejected" in command.text(result)


def test_classes_without_photos_are_counted_and_named(folder, photos, tmp_path, capsys):
  listed = tmp_path / "list.csv"
  rows = ["id,name", "Café,", "my dog,", "red car,", "unicorn,", "yeti,"]
  listed.write_text("\n".join(rows))
  result = finetune(folder, photos, tmp_path / "out", classes=str(listed))
  assert (result["classes"], result["untrained"]) == (5, 2)
  assert "2 classes without a photo to train on: unicorn, yeti" in (
    capsys.readouterr().err
  )
  assert "2 classes without a photo to train on: never" in command.text(result)


def test_packed_photos_that_cannot_be_decoded_are_no_success(
  folder, photos, tmp_path, monkeypatch
):
  fitted = begin.head.fitted

  def one_bad(*args, **options):
    made = fitted(*args, **options)
    return dataclasses.replace(made, config={"head": {**made.config["head"], "bad": 1}})

  def end(*_, **__):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(begin.head, "fitted", one_bad)
    patch.setattr(command, "evaluate", end)
    with pytest.raises(KeyboardInterrupt):
      finetune(folder, photos, tmp_path / "out")
  result = finetune(folder, photos, tmp_path / "out")  # It is not forgotten.
  assert result["fit"]["bad"] == 1 and result["fit"]["photos"] == 24
  assert result["failed"] == "1 packed photo cannot be decoded"


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"eval_fraction": 1.0}, "eval_fraction is 1.0, but must be at least 0 and below"),
    ({"eval_fraction": float("nan")}, "eval_fraction is nan"),
    ({"steps": 0}, "steps is 0, but must be at least 1"),
    ({"batch_size": -1}, "batch_size is -1, but must be at least 1"),
    ({"rate": 0.0}, "rate is 0.0, but must be above 0"),
    ({"rate": float("inf")}, "rate is inf"),
    ({"devices": 0}, "devices is 0, but must be at least 1"),
  ],
)
def test_options_out_of_range_are_refused(folder, photos, tmp_path, options, message):
  with pytest.raises(ValueError, match=message):
    finetune(folder, photos, tmp_path / "out", **options)
  assert not (tmp_path / "out").exists()


def test_places_that_do_not_fit_are_refused(folder, photos, tmp_path):
  with pytest.raises(ValueError, match="which is read: name another place"):
    finetune(folder, photos, photos / "out")
  shutil.copytree(folder, photos / "w")
  with pytest.raises(ValueError, match="whose folders are classes: move it"):
    finetune(photos / "w", photos, tmp_path / "out")
  shutil.rmtree(photos / "w")
  (tmp_path / "full").mkdir()
  (tmp_path / "full" / "diary.txt").write_text("mine")
  with pytest.raises(ValueError, match="holds other files: name another folder"):
    finetune(folder, photos, tmp_path / "full")
  with pytest.raises(FileNotFoundError, match="holds no weights"):
    finetune(photos, photos, tmp_path / "out")
  shutil.rmtree(photos / "my dog")
  shutil.rmtree(photos / "Café")
  with pytest.raises(ValueError, match="1 class has photos, but a head needs two"):
    finetune(folder, photos, tmp_path / "out")


def test_folders_of_splits_are_no_classes(folder, photos, tmp_path):
  for split in ("train", "val"):
    shutil.copytree(photos, tmp_path / "splits" / split)
  with pytest.raises(ValueError, match="have the names of splits, not of classes"):
    finetune(folder, tmp_path / "splits", tmp_path / "out")


def test_the_command_line(folder, photos, tmp_path, capsys):
  line = ["finetune", str(folder), str(photos), str(tmp_path / "out"), "--json"]
  assert cli.main(line) == 0
  assert json.loads(capsys.readouterr().out)["top_1"] == 1
