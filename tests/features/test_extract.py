"""`im21k features`: each photo once; the same bytes however often it was ended."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest

from im21k import weights
from im21k.features import extraction, npz
from im21k.features.extract import features, text
from im21k.features.part_files import Parts
from im21k.packing.pack import pack
from im21k.photos import images

COUNTS = {"n01443537": 7, "n02121620": 5, "n03481172": 6}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
  """Two batches of four in a part."""
  monkeypatch.setattr(extraction, "_PHOTOS", 8)


def digest(path):
  files = [path] if path.is_file() else sorted(path.iterdir())
  return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("name", ["f.npz", "folder"])
def test_rows_are_those_of_the_photos(saved, photos, tmp_path, tiles_of, name):
  folder = photos(COUNTS)
  result = features(saved, folder, tmp_path / name, batch_size=4)
  assert result["counts"] == {"photos": 18, "rows": 18, "bad": 0}
  assert result["shape"] == [18, 48] and "failed" not in result
  found = npz.read(tmp_path / name)
  assert len(found.keys) == len({*found.keys}) == 18
  for key, label, row in zip(found.keys, found.labels, found.values, strict=True):
    tiles = tiles_of(images.read(folder / key))
    np.testing.assert_allclose(row, tiles, rtol=1e-4, atol=1e-3)
    assert found.classes[label] == key.split("/")[0]
    assert weights.load(saved).classes.synsets[label] == key.split("/")[0]
  assert text(result).startswith("18 photos: 18 with features, 0 that cannot be decod")
  left = {path.name for path in tmp_path.iterdir()}
  assert left == {"weights", "photos", name}


def test_classes_that_the_weights_lack_get_labels_behind_theirs(
  saved, photos, tmp_path
):
  folder = photos({"n01443537": 1, "n99999998": 2})
  features(saved, folder, tmp_path / "f.npz")
  found = npz.read(tmp_path / "f.npz")
  assert found.labels.tolist()[1:] == [21841] * 2
  assert found.classes[-1] == "n99999998" and len(found.classes) == 21842


def as_classes(folder, path):
  return folder


def as_photos(folder, path):
  path.mkdir()
  for photo in sorted(folder.rglob("*.jpg")):
    shutil.copy(photo, path / f"photo {photo.name[1:]}")
  return path


def as_tar(folder, path):
  with tarfile.open(path := path.with_suffix(".tar"), "w") as file:
    file.add(folder, ".")
  return path


def as_packed(folder, path):
  (folder / "n01443537" / "bad.jpg").unlink()
  pack(folder, path, eval_per_class=1, shards=2, workers=1)
  return path


class Killed(BaseException):
  """The process ends here."""


@pytest.mark.parametrize("make", [as_classes, as_photos, as_tar, as_packed])
@pytest.mark.parametrize("name", ["f.npz", "folder"])
def test_ended_anywhere_and_resumed_it_ends_in_the_same_bytes(
  saved, photos, tmp_path, monkeypatch, make, name
):
  folder = photos(COUNTS)
  (folder / "n01443537" / "bad.jpg").write_bytes(b"no photo")
  place = make(folder, tmp_path / "place")
  bad = int(make is not as_packed)
  options = {"batch_size": 4, "devices": 2}
  whole = features(saved, place, tmp_path / name, **options)
  expected = digest(tmp_path / name)
  (shutil.rmtree if name == "folder" else os.unlink)(tmp_path / name)
  add = Parts.add
  written = []

  def once(parts, *rest):
    if written and written[-1] == 1:
      written.append(0)
      raise Killed
    add(parts, *rest)
    written.append(1)

  with monkeypatch.context() as patch:
    patch.setattr(Parts, "add", once)
    for _ in range(3):  # One part is written each time.
      try:
        features(saved, place, tmp_path / name, **options)
      except Killed:
        continue
  again = features(saved, place, tmp_path / name, **options)
  assert digest(tmp_path / name) == expected and written.count(1) == 3
  assert again == whole == features(saved, place, tmp_path / name, **options)
  assert whole["counts"] == {"photos": 18 + bad, "rows": 18, "bad": bad}
  assert bool(bad) == ("failed" in whole)


def test_other_options_or_photos_do_not_continue_what_was_begun(
  saved, photos, tmp_path, monkeypatch
):
  folder, out = photos(COUNTS), tmp_path / "folder"

  def killed(parts, *rest):
    raise Killed

  with monkeypatch.context() as patch, pytest.raises(Killed):
    patch.setattr(Parts, "finish", killed)
    features(saved, folder, out, batch_size=4)
  with pytest.raises(ValueError, match="with stage 'features', not 'logits': ask for"):
    features(saved, folder, out, batch_size=4, stage="logits")
  with pytest.raises(ValueError, match="with batch_size 4, not 8: ask for the same"):
    features(saved, folder, out, batch_size=8)
  shutil.move(folder / "n03481172", folder / "n03481173")
  with pytest.raises(ValueError, match="the photos have changed since"):
    features(saved, folder, out, batch_size=4)


def test_the_same_photos_may_be_named_from_elsewhere(saved, photos, tmp_path):
  folder = photos(COUNTS)
  first = features(saved, folder, tmp_path / "f.npz")
  again = features(saved, folder / ".." / folder.name, tmp_path / "f.npz")
  assert again == first


def test_photos_without_pixels_are_listed_and_make_it_fail(saved, photos, tmp_path):
  folder = photos(COUNTS)
  (folder / "n01443537" / "bad.jpg").write_bytes(b"no photo")
  (folder / "n02121620" / "half.jpg").write_bytes(b"\xff\xd8\xff no photo")
  result = features(saved, folder, tmp_path / "f.npz")
  assert [row["photo"] for row in result["bad"]] == [
    "n01443537/bad.jpg", "n02121620/half.jpg"
  ]  # fmt: skip
  assert result["failed"].startswith(
    "2 of 20 photos have no features; n01443537/bad.jpg: not an image of a common"
  )
  assert "left out: n01443537/bad.jpg (not an image" in text(result)
  assert npz.read(tmp_path / "f.npz").about["bad"] == result["bad"]


@pytest.mark.parametrize("name", ["f.npz", "folder"])
def test_without_any_row_nothing_is_left(saved, tmp_path, name):
  (tmp_path / "photos").mkdir()
  for at in range(3):
    (tmp_path / "photos" / f"{at}.jpg").write_bytes(b"no photo")
  with pytest.raises(ValueError, match=r"none of 3 photos can be decoded; 0\.jpg: not"):
    features(saved, tmp_path / "photos", tmp_path / name)
  assert {path.name for path in tmp_path.iterdir()} == {"weights", "photos"}


def test_files_of_others_are_not_written_over(saved, photos, tmp_path):
  folder = photos({"n01443537": 1})
  (tmp_path / "own.npz").write_bytes(b"mine")
  with pytest.raises(ValueError, match=r"own\.npz is not a whole file of `im21k feat"):
    features(saved, folder, tmp_path / "own.npz")
  assert (tmp_path / "own.npz").read_bytes() == b"mine"


CODE = """
import sys
from im21k import cli
from im21k.features import extraction
extraction._PHOTOS = 64
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_killed_is_resumed(
  tiny_weights, sample_photos, tmp_path, number
):
  tiny_weights.save(tmp_path / "weights")
  weights_dir, whole, folder = (tmp_path / name for name in ("weights", "a", "b"))
  line = [sys.executable, "-c", CODE, "features", str(weights_dir), str(sample_photos)]
  line += ["--batch-size", "8"]
  subprocess.run([*line, str(whole)], check=True, capture_output=True)
  with subprocess.Popen([*line, str(folder)], stderr=subprocess.PIPE) as process:
    while process.poll() is None and not (folder / "part-00000.json").exists():
      time.sleep(0.01)
    process.send_signal(number)
  subprocess.run([*line, str(folder)], check=True, capture_output=True)
  assert digest(folder) == digest(whole)


def test_photos_of_own_classes_have_labels_whatever_the_weights_know(
  saved, photos, tmp_path
):
  folder = photos(COUNTS)
  for old, new in zip(COUNTS, ("my dog", "cats", "été"), strict=True):
    (folder / old).rename(folder / new)
  features(saved, folder, tmp_path / "f.npz", batch_size=4)
  found = npz.read(tmp_path / "f.npz")
  assert {
    str(name): int((found.classes[found.labels] == name).sum())
    for name in ("my dog", "cats", "été")
  } == {"my dog": 7, "cats": 5, "été": 6}


@pytest.mark.parametrize("name", ["f.npz", "folder"])
def test_photos_that_have_changed_are_no_result_of_before(
  released, photos, jpeg, tmp_path, name
):
  root = photos(COUNTS)
  released.save(tmp_path / "w")
  features(tmp_path / "w", root, tmp_path / name)
  assert features(tmp_path / "w", root, tmp_path / name)["counts"]["photos"] == 18
  (root / "n01443537" / "more.jpg").write_bytes(jpeg(3))
  with pytest.raises(ValueError, match="the photos have changed since"):
    features(tmp_path / "w", root, tmp_path / name)
