"""Released weights: what is loaded is what was saved, or an error that says why."""

import dataclasses
import json
import os
import struct
import subprocess

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from im21k import files, synsets, weights
from im21k.synsets import ClassList, ClassListMismatch
from im21k.weights import release


def assert_same_trees(found, expected):
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert one.tobytes() == other.tobytes()


# What is saved.


def test_loading_gives_back_all_that_was_saved(tiny_weights, tmp_path):
  tiny_weights.save(tmp_path / "new" / "folder")
  found = weights.load(tmp_path / "new" / "folder")
  assert set(found.variables) == {"params", "batch_stats"}
  assert_same_trees(found.variables, tiny_weights.variables)
  for field in dataclasses.fields(weights.Weights):
    if field.name != "variables":
      assert getattr(found, field.name) == getattr(tiny_weights, field.name)
  assert found.classes.name == "imagenet21k"
  assert found.model == tiny_weights.model


def test_channelwise_normalisation_comes_back_as_tuples(small, tmp_path):
  prepared = weights.Input(32, 37, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))
  dataclasses.replace(small, input=prepared).save(tmp_path)
  assert weights.load(tmp_path).input == prepared
  assert hash(weights.load(tmp_path).input) == hash(prepared)


def test_arrays_keep_their_bits_whatever_their_type_and_layout(small, tmp_path):
  rng = np.random.default_rng(1)
  kernel = np.asfortranarray(rng.normal(size=(48, 3)).astype(np.float16))
  bias = np.array([1e300, -0.0, 5e-324])
  variables = {"params": {"head": {"kernel": kernel, "bias": bias}}}
  dataclasses.replace(small, variables=variables).save(tmp_path)
  assert_same_trees(weights.load(tmp_path).variables, variables)


def test_arrays_without_axes_keep_their_shape(small, tmp_path):
  variables = {"params": {"temperature": np.float32(2)}}
  dataclasses.replace(small, variables=variables).save(tmp_path)
  (found,) = load_file(tmp_path / "weights.safetensors").values()
  assert found.shape == ()


def test_folder_holds_four_files_and_no_pickle(small, saved):
  names = ["README.md", "classes.txt", "model.json", "weights.safetensors"]
  assert sorted(os.listdir(saved)) == names
  data = (saved / "weights.safetensors").read_bytes()
  (length,) = struct.unpack("<Q", data[:8])
  header = json.loads(data[8 : 8 + length])
  assert set(header) == {"params/head/kernel", "params/head/bias"}
  assert (saved / "classes.txt").read_text().split() == list(small.classes.synsets)


def test_everyone_may_read_what_everyone_may_read(small, tmp_path):
  before = os.umask(0o022)
  try:
    small.save(tmp_path)
  finally:
    os.umask(before)
  modes = {
    name: (tmp_path / name).stat().st_mode & 0o777 for name in os.listdir(tmp_path)
  }
  assert set(modes.values()) == {0o644}, modes


def test_saving_clears_away_what_a_killed_run_left(small, saved):
  (saved / f"{files.TEMPORARY}1-weights.safetensors").write_bytes(b"half")
  small.save(saved)
  assert len(os.listdir(saved)) == 4


# Killed while saving over older weights.


def save_killed(monkeypatch, new, folder, before_file):
  """Saves `new`, stopping just before the file of this number gets its name."""
  replace, names = os.replace, []

  def stop(source, target):
    if len(names) == before_file:
      raise KeyboardInterrupt
    names.append(target)
    replace(source, target)

  with monkeypatch.context() as patch:
    patch.setattr(files.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
      new.save(folder)


@pytest.mark.parametrize("before_file", [0, 1, 2])
@pytest.mark.parametrize("change", ["arrays", "classes", "scores"])
def test_killed_save_never_mixes_old_and_new(
  monkeypatch, small, saved, before_file, change
):
  kernel = np.ones((48, 3), np.float32)
  new = {
    "arrays": {
      "variables": {"params": {"head": {"kernel": kernel, "bias": kernel[0]}}}
    },
    "classes": {"classes": ClassList("turned", small.classes.synsets[::-1])},
    "scores": {"scores": {"eval_top_1": 1.0}},
  }[change]
  save_killed(monkeypatch, dataclasses.replace(small, **new), saved, before_file)
  changed_from = {"arrays": 1, "classes": 2, "scores": 3}[change]
  if before_file < changed_from:
    found = weights.load(saved)
    assert_same_trees(found.variables, small.variables)
    assert (found.classes, found.scores) == (small.classes, small.scores)
  else:
    with pytest.raises(ValueError, match=r"checksum differs|was made with class list"):
      weights.load(saved)


def test_killed_first_save_leaves_no_weights(monkeypatch, small, tmp_path):
  save_killed(monkeypatch, small, tmp_path, before_file=2)
  with pytest.raises(FileNotFoundError, match=r"model\.json does not exist"):
    weights.load(tmp_path)


def test_save_over_older_weights_replaces_them(small, saved):
  dataclasses.replace(small, scores={"eval_top_1": 1.0}).save(saved)
  assert weights.load(saved).scores == {"eval_top_1": 1.0}


@pytest.mark.parametrize("already", [1, 2, 3, 4])
def test_weights_that_a_run_writes_meanwhile_are_old_or_new_or_one_line(
  monkeypatch, small, saved, already
):
  """A run has written so many of its four files when they are read one by one."""
  new = dataclasses.replace(
    small, variables=jax.tree.map(np.ones_like, small.variables), scores={"x": 1.0}
  )
  read = release.documents.read

  def meanwhile(path):
    document = read(path)
    if already < 4:
      save_killed(monkeypatch, new, saved, before_file=already)
    else:
      new.save(saved)
    return document

  with monkeypatch.context() as patch:
    patch.setattr(release.documents, "read", meanwhile)
    with pytest.raises(
      ValueError, match=r"safetensors .*its checksum differs"
    ) as caught:
      weights.load(saved)
  assert "\n" not in str(caught.value)
  if already == 4:
    assert weights.load(saved).scores == {"x": 1.0}


# What cannot be loaded.


def test_missing_folder_says_who_makes_one(tmp_path):
  with pytest.raises(
    FileNotFoundError, match=r"nowhere holds no weights \(a run writes"
  ):
    weights.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json", "classes.txt"])
def test_missing_file_is_named(saved, name):
  (saved / name).unlink()
  with pytest.raises(FileNotFoundError, match=f"{name} does not exist"):
    weights.load(saved)


def test_five_arrays_that_do_not_fit_are_listed_at_once(tiny_weights, tmp_path, resign):
  tiny_weights.save(tmp_path)
  arrays = load_file(tmp_path / "weights.safetensors")
  del arrays["params/conv1/bn/scale"], arrays["batch_stats/conv1/bn/var"]
  arrays["params/conv9/kernel"] = np.zeros(3, np.float32)
  arrays["params/head/bias"] = np.zeros(1000, np.float32)
  arrays["params/head/kernel"] = arrays["params/head/kernel"].T.copy()
  resign(tmp_path, arrays)
  with pytest.raises(ValueError) as caught:
    weights.load(tmp_path)
  assert str(caught.value) == (
    f"{tmp_path / 'weights.safetensors'} does not fit the model: "
    "batch_stats/conv1/bn/var is missing; params/conv1/bn/scale is missing; "
    "params/conv9/kernel is unknown; "
    "params/head/bias is (1000,), not (21841,); "
    "params/head/kernel is (21841, 136), not (136, 21841)"
    ": copy the folder again, or export again"
  )
  arrays["params/conv9/bias"] = np.zeros(3, np.float32)
  resign(tmp_path, arrays)
  with pytest.raises(
    ValueError, match=r"head/bias is .*, not .*; … \(6 in all\): copy"
  ):
    weights.load(tmp_path)


def test_another_class_list_is_refused_with_both_names(small, saved):
  others = ("n01440764", "n01443537", "n01491361")
  (saved / "classes.txt").write_text("\n".join(others))
  with pytest.raises(ClassListMismatch) as caught:
    weights.load(saved)
  message = str(caught.value)
  assert "model.json was made with class list 'three'" in message
  assert small.classes.hash in message
  assert f"'classes' (hash {ClassList('classes', others).hash}" in message


def test_class_list_of_another_name_and_equal_synsets_keeps_the_name(small, tmp_path):
  full = dataclasses.replace(
    small, classes=ClassList("my-three", small.classes.synsets)
  )
  full.save(tmp_path)
  assert weights.load(tmp_path).classes.name == "my-three"


def test_ids_that_are_none_in_the_class_list_are_named(saved):
  (saved / "classes.txt").write_text("n01440764\ngoldfish\nn01484850\n")
  with pytest.raises(ValueError, match=r"classes\.txt, line 2: 'goldfish'"):
    weights.load(saved)


# Which im21k made them.


@pytest.fixture
def checkout(tmp_path):
  """A git checkout with one commit: its folder and the commit."""
  folder = tmp_path / "checkout"
  folder.mkdir()
  git = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b"]
  subprocess.run([*git, "init", "-q"], check=True)
  subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
  head = subprocess.run(
    [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
  )
  return folder, head.stdout.strip()


@pytest.mark.parametrize(
  ("place", "is_im21k"),
  [
    ("im21k/weights/release.py", True),
    (".venv/lib/im21k/weights/release.py", False),
  ],
)
def test_commit_is_that_of_im21ks_own_checkout(
  monkeypatch, checkout, small, tmp_path, place, is_im21k
):
  folder, commit = checkout
  (folder / place).parent.mkdir(parents=True)
  monkeypatch.setattr(release, "__file__", str(folder / place))
  small.save(tmp_path / "weights")
  document = json.loads((tmp_path / "weights" / "model.json").read_text())
  assert document["commit"] == (commit if is_im21k else None)


def test_commit_is_none_without_git(monkeypatch, small, tmp_path):
  monkeypatch.setenv("PATH", "")
  small.save(tmp_path)
  assert json.loads((tmp_path / "model.json").read_text())["commit"] is None


def test_names_of_the_classes_come_with_the_weights(saved):
  assert weights.load(saved).classes.names[0] == synsets.load().name("n01440764")
