"""Records of shards: what the manifest and the labels say is checked, not believed."""

import json
import os
import pickle
import sys

import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from im21k import photos, synsets
from im21k.dataset import records
from im21k.dataset.manifest import Manifest, Shard
from im21k.loading.scoring import ScoreLoader
from im21k.loading.shards import Records
from im21k.loading.train import TrainLoader
from im21k.photos.images import ImageError


def write(folder, labels, jpeg, count=None):
  """A data set of two classes in one shard, with these labels."""
  path = folder / records.shard_name("train", 0, 1)
  writer = ArrayRecordWriter(str(path), records.WRITER_OPTIONS)
  for index, label in enumerate(labels):
    writer.write(records.encode(records.Example(f"{index}.jpg", label, jpeg)))
  writer.close()
  (folder / "classes.txt").write_text("n01440764\nn01443537\n")
  classes = synsets.from_file(folder / "classes.txt")
  count = len(labels) if count is None else count
  shard = Shard(path.name, count, path.stat().st_size, "")
  Manifest("classes", classes.hash, 0, {}, {"train": (shard,)}, 0).save(folder)
  return path


def loader(folder, **changes):
  return TrainLoader(folder, batch_size=4, image_size=16, workers=0, **changes)


@pytest.mark.parametrize("label", [2, 21_841, 2**31 - 1, 2**32 - 1])
def test_a_label_outside_the_class_list_never_reaches_the_loss(tmp_path, jpeg, label):
  path = write(tmp_path, [0, 1, label, 1], jpeg())
  message = rf"record 2 of {path} has label {label} of 2 classes.*or pack again"
  with pytest.raises(ValueError, match=message) as error:
    loader(tmp_path).batch(0)
  assert not isinstance(error.value, ImageError), "it is not replaced"
  with pytest.raises(ValueError, match=message):
    batches = loader(tmp_path).iter_from(0)
    try:
      next(batches)
    finally:
      batches.close()


def test_in_evaluation_such_a_photo_is_a_row_with_mask_0(tmp_path, jpeg):
  write(tmp_path, [0, 1, 2**32 - 1, 1], jpeg())
  classes = synsets.from_file(tmp_path / "classes.txt")
  source = photos.open(tmp_path)
  batches = ScoreLoader(
    source, classes, batch_size=4, devices=1, image_size=16, short_side=16
  )
  ((batch, items),) = batches
  assert batch["mask"].tolist() == [[1, 1, 0, 1]]
  assert batch["label"].max() < 2
  assert items[2].error == "label 4294967295 of 2 classes"


@pytest.mark.parametrize("count", [1, 3, 7])
def test_the_records_of_a_shard_are_those_that_its_manifest_says(tmp_path, jpeg, count):
  path = write(tmp_path, [0, 1, 0, 1], jpeg(), count)
  message = f"shard {path} has 4 records, but its manifest says {count}: copy it"
  with pytest.raises(ValueError, match=message):
    loader(tmp_path)
  with pytest.raises(ValueError, match=message):
    list(photos.open(tmp_path))


def test_a_count_that_no_file_could_have_takes_no_memory(tmp_path, jpeg):
  write(tmp_path, [0, 1], jpeg(), 10**9)
  with pytest.raises(
    ValueError, match=r"shards\[0\]\.count is 1000000000, but must be"
  ):
    loader(tmp_path)


def test_a_data_set_without_photos_cannot_be_trained_on(tmp_path, jpeg):
  write(tmp_path, [], jpeg())
  with pytest.raises(ValueError, match="holds no photos to train on"):
    loader(tmp_path)


def test_a_shard_without_an_index_is_named(tmp_path, jpeg):
  path = write(tmp_path, [0, 1, 0, 1], jpeg())
  path.write_bytes(bytes(path.stat().st_size))
  with pytest.raises(ValueError, match=f"shard {path}: its index cannot be read"):
    loader(tmp_path)
  (photo,) = photos.open(tmp_path)
  assert photo.problem[0] == "damaged archive"
  assert photo.loss == (path.name, path.stat().st_size)
  (picked,) = photos.open(tmp_path).pick([1])
  assert "its index cannot be read" in picked.problem[1]


def test_records_go_to_worker_processes(tmp_path, jpeg):
  path = write(tmp_path, [0, 1], jpeg())
  shard = json.loads((tmp_path / "manifest.json").read_text())
  (entry,) = shard["splits"]["train"]["shards"]
  there = pickle.loads(pickle.dumps(Records([(str(path), Shard(**entry))], 2)))
  assert len(there) == 2 and there.example(1).label == 1
  assert records.decode(there.read(0)).key == "0.jpg"


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are not listed")
@pytest.mark.parametrize("hosts", [1, 2])
def test_what_other_hosts_need_is_not_read_ahead(tmp_path, jpeg, monkeypatch, hosts):
  path = write(tmp_path, [0, 1, 0, 1], jpeg())
  (tmp_path / "link").symlink_to(tmp_path)
  advice = []

  def note(descriptor, *given):
    advice.append((os.readlink(f"/proc/self/fd/{descriptor}"), *given))

  monkeypatch.setattr(os, "posix_fadvise", note)
  one = loader(tmp_path / "link", host=hosts - 1, hosts=hosts)
  one = pickle.loads(pickle.dumps(one))  # As worker processes have it.
  for first in (0, 4, 0):
    one.batch(first)
  once = (str(path.resolve()), 0, 0, os.POSIX_FADV_RANDOM)
  assert advice == [once] * (hosts - 1)
