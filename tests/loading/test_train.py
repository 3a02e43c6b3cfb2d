"""Batches hold each example as often as they should, the same in every run."""

import collections
import functools
import itertools
import multiprocessing
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from im21k import synsets
from im21k.dataset import records
from im21k.dataset.manifest import Manifest, Shard
from im21k.dataset.records import Example
from im21k.loading import order as orders
from im21k.loading import shards
from im21k.loading import train as module
from im21k.loading.train import TrainLoader
from im21k.packing.pack import pack
from im21k.photos import images
from im21k.synsets import ClassList, ClassListMismatch

SIZE = 16
TRAIN, EVAL = 31, 9


def write(folder, examples, split="train"):
  """A data set of one shard with these examples, whatever they hold."""
  folder.mkdir()
  path = folder / records.shard_name(split, 0, 1)
  writer = ArrayRecordWriter(str(path), records.WRITER_OPTIONS)
  for example in examples:
    writer.write(records.encode(example))
  writer.close()
  (folder / "classes.txt").write_text("n01440764\nn01443537\n")
  classes = synsets.from_file(folder / "classes.txt")
  shard = Shard(path.name, len(examples), path.stat().st_size, "")
  Manifest("classes", classes.hash, 0, {}, {split: (shard,)}, 0).save(folder)
  return folder


@pytest.fixture(scope="module")
def small(jpeg, tmp_path_factory):
  """Forty tiny photos of three classes, packed, three of each held out."""
  folder = tmp_path_factory.mktemp("small")
  for i in range(TRAIN + EVAL):
    synset = ("n01440764", "n01443537", "n01484850")[i % 3]
    (folder / "photos" / synset).mkdir(parents=True, exist_ok=True)
    (folder / "photos" / synset / f"{i}.jpg").write_bytes(jpeg(i))
  pack(folder / "photos", folder / "packed", eval_per_class=3, shards=4, workers=1)
  return folder / "packed"


def train(folder, **options):
  return TrainLoader(folder, **{"batch_size": 8, "image_size": SIZE, **options})


def keys(loader, start, stop):
  return [loader[i]["key"] for i in range(start, stop)]


def flat(batches):
  """Images and labels of one host's batches in the order of the stream."""
  listed = list(batches)
  return tuple(
    np.concatenate([joined([batch], name) for batch in listed])
    for name in ("image", "label")
  )


def joined(parts, name):
  """A batch in the order of the stream, from those of all hosts."""
  arrays = [part[name] for part in parts]
  hosts, (devices, each) = len(arrays), arrays[0].shape[:2]
  dealt = (
    arrays[i % hosts][i // hosts % devices, i // hosts // devices]
    for i in range(hosts * devices * each)
  )
  return np.stack(list(dealt))


def test_each_epoch_holds_every_example_once(small):
  loader = train(small)
  n = loader.count
  assert n == TRAIN
  first = sorted(keys(loader, 0, n))
  assert len(set(first)) == n
  assert sorted(keys(loader, n, 2 * n)) == first
  assert sorted(keys(loader, 7 * n, 8 * n)) == first


def test_each_epoch_has_another_order_and_so_has_each_seed(small):
  loader, other = train(small), train(small, seed=1)
  n = loader.count
  orders = [keys(loader, 0, n), keys(loader, n, 2 * n), keys(other, 0, n)]
  orders.append(keys(other, n, 2 * n))
  for a, b in itertools.combinations(orders, 2):
    assert sum(x == y for x, y in zip(a, b, strict=True)) < n / 5


def test_the_order_of_a_seed_is_this(packed):
  """A golden order: a run that began with another one is not resumed exactly.

  Update it if the order or the sample photos changed, and say so to users.
  """
  names = [key.split("/")[1] for key in keys(train(packed, seed=7), 0, 6)]
  assert names == [
    "explore_world_animals_kangaroo.jpg",
    "categorization_solar7.jpg",
    "explore_world_animals_hedgehog.jpg",
    "categorization_measuringTape3.jpg",
    "categorization_windmill2.jpg",
    "categorization_fish3.jpg",
  ]


def test_a_batch_is_laid_out_for_the_devices(small):
  batch = next(train(small, devices=4).iter_from(0))
  assert set(batch) == {"image", "label"}
  assert (batch["image"].shape, batch["image"].dtype) == (
    (4, 2, SIZE, SIZE, 3),
    np.uint8,
  )
  assert (batch["label"].shape, batch["label"].dtype) == ((4, 2), np.int32)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("crop", ["straight", "inception"])
def test_batches_are_the_examples_one_by_one(small, threads, crop):
  loader = train(small, devices=2, crop=crop, threads=threads)
  pixels, labels = flat(itertools.islice(loader.iter_from(0), 20))
  assert len(labels) == 160 > 5 * loader.count, "epochs follow each other"
  for i in np.random.default_rng(0).permutation(160):
    example = loader[int(i)]
    np.testing.assert_array_equal(pixels[i], example["image"])
    assert labels[i] == example["label"]


def test_an_example_is_cut_from_the_photo_that_its_key_names(packed, sample_photos):
  side = 250
  loader = train(packed, image_size=side, short_side=256, mirror=False)
  for i in range(4):
    example = loader[i]
    synset = example["key"].split("/")[0]
    assert synsets.imagenet21k().synsets[example["label"]] == synset
    photo = images.decode((sample_photos / example["key"]).read_bytes())
    side = round(min(photo.shape[:2]) * 250 / 256)
    squares = (
      cv2.resize(photo[top : top + side, left : left + side], (250, 250))
      for top in range(photo.shape[0] - side + 1)
      for left in range(photo.shape[1] - side + 1)
    )
    assert any((square == example["image"]).all() for square in squares)


@settings(max_examples=10)
@given(
  start=st.integers(0, 300),
  per_device=st.integers(1, 5),
  devices=st.integers(1, 4),
  threads=st.integers(1, 4),
)
def test_batches_go_on_from_any_example(small, start, per_device, devices, threads):
  loader = train(
    small, batch_size=per_device * devices, devices=devices, threads=threads
  )
  batches = loader.iter_from(start)
  assert batches.position == start
  pixels, labels = flat(itertools.islice(batches, 2))
  assert batches.position == start + 2 * per_device * devices
  for offset, (image, label) in enumerate(zip(pixels, labels, strict=True)):
    example = loader[start + offset]
    np.testing.assert_array_equal(image, example["image"])
    assert label == example["label"]


def test_a_run_goes_on_with_another_batch_size_and_other_devices(small):
  whole, _ = flat(itertools.islice(train(small).iter_from(0), 4))
  first = train(small, batch_size=12, devices=4).iter_from(0)
  begun, _ = flat([next(first)])
  then = train(small, batch_size=10, devices=2, threads=1).iter_from(first.position)
  rest, _ = flat(itertools.islice(then, 2))
  np.testing.assert_array_equal(np.concatenate([begun, rest]), whole)


def test_the_stream_has_no_end(small):
  example = train(small)[10**9]
  np.testing.assert_array_equal(
    next(train(small).iter_from(10**9))["image"][0, 0], example["image"]
  )


def test_crop_and_mirror_are_drawn_anew_and_apart_from_each_other(tmp_path):
  """One photo whose red rises to the right and green downwards."""
  ramp = np.zeros((64, 64, 3), np.uint8)
  ramp[..., 0] = np.arange(64) * 3
  ramp[..., 1] = np.arange(64)[:, None] * 3
  jpeg = images.simplejpeg.encode_jpeg(ramp, quality=100, colorsubsampling="444")
  folder = write(tmp_path / "one", [Example("n01440764/a.jpg", 0, jpeg)])
  loader = train(folder, image_size=32, short_side=64)
  parts = np.stack([loader[i]["image"] for i in range(800)]).astype(float)
  mirrored = parts[:, :, 0, 0].mean(1) > parts[:, :, -1, 0].mean(1)
  right = parts[..., 0].mean((1, 2)) > 31.5 * 3
  low = parts[..., 1].mean((1, 2)) > 31.5 * 3
  assert 340 < mirrored.sum() < 460
  for a, b in itertools.combinations((mirrored, right, low), 2):
    both = np.histogram2d(a, b, bins=2)[0]
    assert both.min() > 150, both


def test_mirror_can_be_left_out(small):
  plain, mirrored = train(small, mirror=False), train(small)
  flips = 0
  for i in range(60):
    image, other = plain[i]["image"], mirrored[i]["image"]
    flips += (image[:, ::-1] == other).all()
    assert (image == other).all() or (image[:, ::-1] == other).all()
  assert 18 < flips < 42


def mirrored_at(folder, positions, **options):
  """Key of each example, and whether it is the mirror image of the plain one."""
  plain = train(folder, mirror=False, **options)
  other = train(folder, mirror="alternating", **options)
  found = []
  for i in positions:
    image, turned = plain[i]["image"], other[i]["image"]
    same, flipped = (image == turned).all(), (image[:, ::-1] == turned).all()
    assert same != flipped, "the crop stays as it is"
    assert plain[i]["key"] == other[i]["key"], "the order stays as it is"
    found.append((other[i]["key"], bool(flipped)))
  return found


@pytest.mark.parametrize("order", ["blockwise", "global"])
@pytest.mark.parametrize("crop", ["straight", "inception"])
def test_an_alternating_mirror_turns_in_every_pass_what_it_did_not_before(
  small, order, crop
):
  """The pass of an example is how often its photo came before."""
  seen = {}
  for key, flipped in mirrored_at(small, range(4 * TRAIN), order=order, crop=crop):
    seen.setdefault(key, []).append(flipped)
  assert len(seen) == TRAIN
  for turns in seen.values():
    assert turns == [turns[0], not turns[0]] * 2
  assert 8 < sum(turns[0] for turns in seen.values()) < 24


def test_an_alternating_mirror_goes_by_key_and_seed(small):
  first, again, other = (
    dict(mirrored_at(small, range(TRAIN), order=order, seed=seed))
    for order, seed in (("blockwise", 0), ("global", 0), ("global", 1))
  )
  assert first == again
  assert first.keys() == other.keys() and first != other


def test_alternating_batches_are_the_same_from_anywhere(small):
  options = {"mirror": "alternating", "threads": 1}
  whole, _ = flat(itertools.islice(train(small, **options).iter_from(24), 4))
  spread = train(small, **{**options, "devices": 4, "workers": 2, "batch_size": 16})
  again, _ = flat(itertools.islice(spread.iter_from(24), 2))
  np.testing.assert_array_equal(whole, again)
  loader = train(small, **options)
  for i, image in enumerate(whole, 24):
    np.testing.assert_array_equal(image, loader[i]["image"])


def test_a_photo_in_place_of_a_bad_one_is_mirrored_as_itself(tmp_path, jpeg):
  examples = [Example(f"n01440764/{i}.jpg", 0, jpeg(i)) for i in range(9)]
  for record in (2, 3, 6):
    examples[record] = Example(f"n01440764/bad{record}.jpg", 0, b"I am a text.")
  folder = write(tmp_path / "bad", examples)
  turns = {}
  found = mirrored_at(folder, range(18), max_bad_share=1.0)
  for i, (key, flipped) in enumerate(found):
    turns.setdefault((key, i // 9), set()).add(flipped)
  assert all(len(each) == 1 for each in turns.values()), "in a pass all alike"
  assert len(found) == 18 and len(turns) == 12
  for key in {key for key, _ in turns}:
    assert turns[key, 0] != turns[key, 1]


def test_the_short_side_is_by_default_that_of_the_original_recipe(small):
  by_default, stated = train(small), train(small, short_side=18)
  np.testing.assert_array_equal(by_default[3]["image"], stated[3]["image"])


@given(batch_size=st.integers(1, 100), devices=st.integers(2, 9))
def test_a_batch_that_devices_cannot_share_is_refused_with_one_that_they_can(
  small, batch_size, devices
):
  if batch_size % devices == 0:
    batch_size += 1
  message = f"batch_size {batch_size} is not divisible by the {devices} devices: use "
  with pytest.raises(ValueError, match=message) as error:
    train(small, batch_size=batch_size, devices=devices)
  better = int(re.findall(r"use (\d+) for example", str(error.value))[0])
  assert better > 0 and better % devices == 0
  assert abs(better - batch_size) < devices


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"batch_size": 0}, "batch_size 0"),
    ({"batch_size": -4, "devices": 2}, "batch_size -4"),
    ({"devices": 0}, "devices is 0, but must be at least 1"),
    ({"devices": -1}, "devices is -1, but must be at least 1"),
    ({"short_side": SIZE - 1}, "a crop of 16 needs a photo .*, not 15"),
    ({"image_size": 0}, "at least 1 pixel"),
  ],
)
def test_a_wrong_argument_is_refused_at_once(small, options, message):
  with pytest.raises(ValueError, match=message):
    train(small, **options)


def test_an_unknown_crop_is_refused_with_the_known_ones(small):
  with pytest.raises(ValueError, match=r"crop is 'center', .* straight, inception"):
    train(small, crop="center")


def test_a_shard_cut_short_is_named(small, tmp_path):
  shutil.copytree(small, tmp_path / "copy")
  path = tmp_path / "copy" / Manifest.load(small).splits["train"][1].name
  os.truncate(path, 100)
  with pytest.raises(ValueError, match=f"shard {path} has 100 bytes"):
    train(tmp_path / "copy")


def test_another_class_list_is_refused_with_both_names(small):
  train(small, classes=synsets.imagenet21k())
  other = ClassList("mine", synsets.imagenet21k().synsets[:-1])
  with pytest.raises(ClassListMismatch, match=r"'imagenet21k'.*'mine'"):
    train(small, classes=other)


def test_a_folder_where_nothing_is_packed_is_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match="holds no packed photos"):
    train(tmp_path)


def test_a_photo_that_does_not_decode_stops_the_stream_by_name(tmp_path, jpeg):
  examples = [Example(f"n01440764/{i}.jpg", 0, jpeg(i)) for i in range(6)]
  examples[4] = Example("n01440764/bad.jpg", 0, b"I am a text.")
  batches = train(write(tmp_path / "bad", examples), batch_size=1).iter_from(0)
  with pytest.raises(images.ImageError, match=r"photo n01440764/bad\.jpg"):
    for _ in range(7):
      next(batches)


@pytest.mark.parametrize("order", ["blockwise", "global"])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_bad_photo_is_replaced_by_the_one_behind_it(
  tmp_path, jpeg, caplog, order, threads
):
  examples = [Example(f"n01440764/{i}.jpg", i % 2, jpeg(i)) for i in range(9)]
  bad = {4: b"I am a text.", 8: jpeg(8)[:30], 5: b""}
  for record, data in bad.items():
    examples[record] = Example(f"n01440764/bad{record}.jpg", 0, data)
  folder = write(tmp_path / "bad", examples)
  options = {"max_bad_share": 0.5, "order": order, "threads": threads, "batch_size": 3}
  loader = train(folder, **options)
  used = sorted(keys(loader, 0, 9))
  # Record 4 and 5 are replaced by 6, and the last by the first.
  assert used == sorted(f"n01440764/{i}.jpg" for i in [0, 0, 1, 2, 3, 6, 6, 6, 7])
  assert "photo n01440764/bad4.jpg" in caplog.text
  batches = loader.iter_from(0)
  pixels, labels = flat(itertools.islice(batches, 6))
  assert batches.bad == {4, 5, 8}
  for i in range(18):
    np.testing.assert_array_equal(pixels[i], loader[i]["image"])
    assert labels[i] == loader[i]["label"]
  strict = train(folder, **{**options, "max_bad_share": 0.3}).iter_from(0)
  with pytest.raises(images.ImageError, match="3 of 9 photos cannot be used"):
    for _ in range(3):
      next(strict)


def test_a_flipped_bit_in_a_shard_costs_its_record_alone(tmp_path, jpeg):
  examples = [Example(f"n01440764/{i}.jpg", 0, jpeg(i)) for i in range(9)]
  folder = write(tmp_path / "bad", examples)
  path = folder / Manifest.load(folder).splits["train"][0].name
  data = bytearray(path.read_bytes())
  data[data.index(examples[3].jpeg) + 200] ^= 4
  path.write_bytes(data)
  used = sorted(keys(train(folder, max_bad_share=1.0), 0, 9))
  assert used == sorted(f"n01440764/{i}.jpg" for i in [0, 1, 2, 4, 4, 5, 6, 7, 8])
  with pytest.raises(images.ImageError, match=f"record 3 of {path}: .*mismatch"):
    for _ in zip(range(9), train(folder, batch_size=1).iter_from(0), strict=False):
      pass


def test_a_data_set_without_a_sound_photo_is_an_error(tmp_path):
  bad = [Example(f"n01440764/{i}.jpg", 0, b"no photo") for i in range(3)]
  loader = train(write(tmp_path / "bad", bad), max_bad_share=1.0)
  with pytest.raises(
    images.ImageError, match="none of the 100 records from there on can be used"
  ):
    loader[0]


@pytest.fixture
def large(small, monkeypatch):
  """The same photos as if they were far more than the window."""
  blockwise = functools.partial(orders.Blockwise, block_bytes=3000)
  monkeypatch.setattr(module, "Blockwise", blockwise)
  assert train(small)._examples._order.has_lanes
  return small


def of_hosts(folder, hosts, first, batches=1, **options):
  """Images and labels of batches of so many hosts, joined."""
  loaders = [train(folder, host=host, hosts=hosts, **options) for host in range(hosts)]
  made = []
  for index in range(batches):
    parts = [one.batch(first + index * options["batch_size"]) for one in loaders]
    made.append((joined(parts, "image"), joined(parts, "label")))
  return [np.concatenate(arrays) for arrays in zip(*made, strict=True)]


@pytest.mark.parametrize("name", ["global", "blockwise"])
@pytest.mark.parametrize(("hosts", "devices"), [(1, 4), (2, 3), (3, 2), (4, 1)])
def test_batches_of_hosts_are_those_of_one(large, hosts, devices, name):
  options = {"batch_size": 24, "order": name, "crop": "inception"}
  one, labels = of_hosts(large, 1, 24, 4, **options)
  found, theirs = of_hosts(large, hosts, 24, 4, devices=devices, **options)
  assert found.tobytes() == one.tobytes() and theirs.tobytes() == labels.tobytes()
  loader = train(large, **options)
  for i in (0, 17, 95):
    np.testing.assert_array_equal(one[i], loader[24 + i]["image"])


def test_hosts_iterate_over_their_parts(small):
  for host in range(2):
    loader = train(small, host=host, hosts=2)
    batches = loader.iter_from(16)
    for first in (16, 24, 32):
      np.testing.assert_array_equal(
        next(batches)["image"], loader.batch(first)["image"]
      )
    assert batches.position == 40
    batches.close()


@pytest.mark.parametrize("lanes", [12, 24])
def test_hosts_may_change_in_the_middle_of_a_pass(large, lanes):
  """31 photos in batches of 12: passes end within batches."""
  options = {"batch_size": 12, "lanes": lanes}
  one, _ = of_hosts(large, 1, 0, 11, **options)
  parts = [(4, 1), (3, 2), (1, 3), (2, 1), (4, 2), (3, 2)]
  found, first = [], 0
  for hosts, batches in parts:
    found.append(of_hosts(large, hosts, first, batches, **options)[0])
    first += batches * 12
  np.testing.assert_array_equal(np.concatenate(found), one)
  names = keys(train(large, **options), 0, 4 * TRAIN)
  for start in range(0, 4 * TRAIN, TRAIN):
    assert len(set(names[start : start + TRAIN])) == TRAIN


@pytest.mark.parametrize(("hosts", "devices"), [(1, 4), (2, 2), (4, 1)])
def test_the_same_examples_are_together_on_a_device_of_any_host(small, hosts, devices):
  plain = train(small, batch_size=12)
  whole = [plain[24 + i]["image"] for i in range(12)]
  for host in range(hosts):
    loader = train(small, host=host, hosts=hosts, devices=devices, batch_size=12)
    for device, found in enumerate(loader.batch(24)["image"]):
      np.testing.assert_array_equal(found, whole[host + hosts * device :: 4])


def test_with_one_lane_devices_have_neighbours(small):
  """As before there were lanes."""
  loader = train(small, devices=4, lanes=1)
  batch = loader.batch(16)
  for i in range(8):
    example = loader[16 + i]
    np.testing.assert_array_equal(batch["image"][i // 2, i % 2], example["image"])
    assert batch["label"][i // 2, i % 2] == example["label"]


@pytest.mark.parametrize("hosts", [1, 2, 3])
def test_a_host_reads_ahead_what_it_needs_and_no_more(large, monkeypatch, hosts):
  passes, ahead, used = 40, collections.Counter(), collections.Counter()

  def count(counter, function):
    def counted(records, record):
      counter[record] += 1
      return function(records, record)

    return counted

  read, example = shards.Records.read, shards.Records.example
  monkeypatch.setattr(shards.Records, "read", count(ahead, read))
  monkeypatch.setattr(shards.Records, "example", count(used, example))
  for host in range(hosts):
    loader = train(large, lanes=6, host=host, hosts=hosts, batch_size=6)
    for first in range(0, passes * TRAIN, 6):
      loader.batch(first)
    loader._examples._ahead._thread.shutdown()
  assert passes * TRAIN <= sum(used.values()) < passes * TRAIN + 6
  assert set(ahead) == set(used) == set(range(TRAIN))
  assert sum(ahead.values()) <= 1.05 * sum(used.values())


def test_a_number_of_hosts_that_does_not_divide_the_lanes_is_refused(large):
  message = (
    "lanes is 24, which 5 hosts cannot divide among them: use 1, 2, 3, 4, 6, 8, 12 or "
    "24 hosts; or, in a new run, set lanes to a multiple of 5, 25 for example"
  )
  with pytest.raises(ValueError, match=message):
    train(large, batch_size=10, hosts=5)
  train(large, batch_size=10, hosts=5, lanes=25)
  train(large, batch_size=10, hosts=5, order="global")


def test_a_small_data_set_is_shared_by_any_number_of_hosts(small):
  one, _ = of_hosts(small, 1, 10, 4, batch_size=10)
  found, _ = of_hosts(small, 5, 10, 4, batch_size=10)
  np.testing.assert_array_equal(found, one)


def test_one_lane_is_for_one_host(small):
  with pytest.raises(ValueError, match=r"lanes is 1, which 2 hosts .*: use 1 host; or"):
    train(small, hosts=2, lanes=1)


def test_hosts_begin_where_all_have_the_same_number_of_examples(small):
  with pytest.raises(ValueError, match="example 9 of the stream is not divisible by 2"):
    train(small, hosts=2).iter_from(9)


def test_worker_processes_give_the_same_batches(small):
  whole, _ = flat(itertools.islice(train(small).iter_from(4), 6))
  batches = train(small, workers=2).iter_from(4)
  again, _ = flat(itertools.islice(batches, 6))
  np.testing.assert_array_equal(whole, again)


@pytest.mark.slow
def test_a_program_that_ends_leaves_no_worker_and_says_nothing(small):
  script = f"""
from im21k.loading.train import TrainLoader
if __name__ == "__main__":
  batches = TrainLoader({str(small)!r}, batch_size=8, image_size=16, workers=2
    ).iter_from(0)
  next(batches)
"""
  path = small / "script.py"
  path.write_text(script)
  done = subprocess.run([sys.executable, path], capture_output=True, text=True)
  path.unlink()
  assert (done.returncode, done.stdout) == (0, "")
  # XLA may say that it finds no driver.
  assert not re.search("Error|Exception|leaked", done.stderr), done.stderr


def test_a_closed_iterator_ends(small):
  batches = train(small).iter_from(0)
  next(batches)
  batches.close()
  batches.close()
  assert list(batches) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_is_an_error_and_no_hang(small, how):
  batches = train(small, workers=2).iter_from(0)
  next(batches)
  worker = multiprocessing.active_children()[0]
  os.kill(worker.pid, how)
  with pytest.raises(RuntimeError, match=f"terminated unexpectedly.*code -{how}\\b"):
    for _ in range(100):
      next(batches)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_workers_end_when_their_process_is_killed(small, tmp_path):
  script = tmp_path / "script.py"
  script.write_text(f"""
import multiprocessing, pathlib, time
from im21k.loading.train import TrainLoader
if __name__ == "__main__":
  batches = TrainLoader(
    pathlib.Path({str(small)!r}), batch_size=8, image_size=16, workers=2).iter_from(0)
  next(batches), next(batches)
  print(*[child.pid for child in multiprocessing.active_children()], flush=True)
  time.sleep(100)
""")
  with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE) as process:
    workers = [
      pathlib.Path("/proc", pid) for pid in process.stdout.readline().decode().split()
    ]
    assert len(workers) == 2 and all(path.exists() for path in workers)
    process.kill()
  for _ in range(100):
    if not any(path.exists() for path in workers):
      return
    time.sleep(0.1)
  pytest.fail(f"still there: {workers}")


def test_batches_come_to_the_devices_ahead_of_time(small):
  jax = pytest.importorskip("jax")
  mesh = jax.sharding.Mesh(jax.devices()[:2], ("batch",))
  place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
  plain = train(small, devices=2).iter_from(3)
  placed = train(small, devices=2).iter_from(3, place)
  for _ in range(5):
    batch, other = next(plain), next(placed)
    assert other["image"].sharding == place
    assert set(batch) == set(other)
    for key in batch:
      np.testing.assert_array_equal(batch[key], other[key])
  assert plain.position == placed.position == 43


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"order": "random"}, "order is 'random', but must be one of blockwise, global"),
    ({"host": 2, "hosts": 2}, "host is 2, but must be one of 0 to 1"),
    ({"host": -1}, "host is -1"),
    (
      {"hosts": 3},
      "batch_size 8 is not divisible by the 3 hosts with 1 device each: use 6",
    ),
  ],
)
def test_a_wrong_choice_is_refused(small, options, message):
  with pytest.raises(ValueError, match=message):
    train(small, **options)


def test_shards_without_photos_do_no_harm(photos, tmp_path):
  source = photos({"n01440764": 2})
  for i in range(8):
    (source / "n01440764" / f"bad{i}.jpg").touch()
  pack(source, tmp_path / "out", shards=10, workers=1)
  shards = Manifest.load(tmp_path / "out").splits["train"]
  assert sorted(shard.count for shard in shards) == [0] * 8 + [1, 1]
  loader = train(tmp_path / "out", batch_size=2)
  assert len(set(keys(loader, 0, 2))) == 2
  assert next(loader.iter_from(0))["image"].shape == (1, 2, SIZE, SIZE, 3)


def test_an_iterator_that_is_dropped_leaves_no_work_behind(small):
  script = f"""
import pathlib
from im21k.loading.train import TrainLoader
batches = TrainLoader(
  pathlib.Path({str(small)!r}), batch_size=8, image_size=16).iter_from(0)
next(batches)
print("done")
"""
  done = subprocess.run(
    [sys.executable, "-W", "error", "-c", script],
    capture_output=True, text=True, check=True, timeout=60,
  )  # fmt: skip
  # Where the compiler of `im21k plan` is installed, it logs that there is no driver.
  noise = re.compile(".*(absl::InitializeLog|Could not find cuda drivers).*\n")
  assert (done.stdout, noise.sub("", done.stderr)) == ("done\n", "")


def test_loading_imports_no_tensorflow():
  """Grain itself brings JAX and orbax in (0.2.18: 2.9 s of the 3.5)."""
  script = """
import sys
import im21k.loading.train
heavy = {"tensorflow", "tensorflow_datasets", "flax", "optax", "ml_collections"}
print(*heavy & set(sys.modules))
"""
  done = subprocess.run(
    [sys.executable, "-c", script], capture_output=True, text=True, check=True
  )
  assert done.stdout == "\n"
