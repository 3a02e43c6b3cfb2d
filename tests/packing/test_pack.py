"""Packing: the same bytes again, every sound photo once, nothing left behind."""

import hashlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xxhash
from array_record.python.array_record_module import ArrayRecordReader

from im21k import synsets
from im21k.dataset import records
from im21k.dataset.manifest import Manifest
from im21k.packing.pack import pack
from im21k.photos import folders, images

STATE = ".packing"
# `im21k.packing.pack` is the function; its module has the same name.
packing = sys.modules["im21k.packing.pack"]

FISH, SHARK, RAY, HEN = "n01440764", "n01484850", "n01496331", "n01514859"


def contents(folder: Path) -> dict[str, str]:
  """SHA-256 of every file in a folder."""
  return {
    path.name: hashlib.sha256(path.read_bytes()).hexdigest()
    for path in folder.iterdir()
    if path.name != STATE
  }


def rows(folder: Path) -> list[list[str]]:
  """The rows of rejected.tsv."""
  header, *lines = (folder / "rejected.tsv").read_text("utf-8").split("\n")[:-1]
  assert header == "key\tkind\treason"
  return [line.split("\t") for line in lines]


def test_bytes_are_the_same_again_and_with_other_workers(
  packed, sample_photos, tmp_path
):
  for name, workers in (("again", 1), ("four", 4)):
    again = tmp_path / name
    pack(sample_photos, again, eval_per_class=1, shards=4, workers=workers)
    assert contents(again) == contents(packed), f"{workers} workers"


def test_bytes_do_not_depend_on_the_order_on_the_disk(
  packed, sample_photos, tmp_path, monkeypatch
):
  files = [p.relative_to(sample_photos) for p in sample_photos.glob("*/*")]
  random.Random(0).shuffle(files)
  for file in files:
    (tmp_path / "copy" / file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sample_photos / file, tmp_path / "copy" / file)
  backwards = SimpleNamespace(
    scandir=lambda path: list(os.scandir(path))[::-1], path=os.path
  )
  monkeypatch.setattr(folders, "os", backwards)
  pack(tmp_path / "copy", tmp_path / "packed", eval_per_class=1, shards=4, workers=1)
  assert contents(tmp_path / "packed") == contents(packed)


def test_another_seed_gives_another_order_and_another_split(
  packed, sample_photos, tmp_path, keys
):
  pack(sample_photos, tmp_path, eval_per_class=1, shards=4, workers=1, seed=1)
  order, other = keys(packed, "train"), keys(tmp_path, "train")
  assert order != other
  assert set(order) != set(other)
  assert Manifest.load(tmp_path).seed == 1


def test_photos_are_shuffled_across_classes(packed, keys):
  order = keys(packed, "train")
  places = [sorted(order).index(key) for key in order]
  assert abs(np.corrcoef(places, range(len(places)))[0, 1]) < 0.2
  in_a_row = sum(a[:9] == b[:9] for a, b in itertools.pairwise(order))
  assert in_a_row < len(order) / 8


def test_every_record_leads_back_to_its_file(packed, sample_photos, read):
  classes = synsets.imagenet21k()
  examples = read(packed, "train") + read(packed, "eval")
  for example in examples:
    assert example.jpeg == (sample_photos / example.key).read_bytes()
    assert classes.synsets[example.label] == example.key.split("/")[0]
  files = [p.relative_to(sample_photos).as_posix() for p in sample_photos.glob("*/*")]
  assert sorted(example.key for example in examples) == sorted(files)


def test_the_manifest_describes_the_shards(packed, read):
  document = json.loads((packed / "manifest.json").read_text())
  assert document["format_version"] == records.FORMAT_VERSION
  assert document["class_list"] == "imagenet21k"
  assert document["class_list_hash"] == synsets.imagenet21k().hash
  assert document["seed"] == 0
  assert document["options"]["eval_per_class"] == 1
  assert document["rejected"] == 0
  assert len(document["splits"]["train"]["shards"]) == 4
  for split, entry in document["splits"].items():
    assert entry["count"] == len(read(packed, split))
    assert entry["count"] == sum(shard["count"] for shard in entry["shards"])
    assert entry["bytes"] == sum(shard["bytes"] for shard in entry["shards"])
    for shard in entry["shards"]:
      assert shard["bytes"] == (packed / shard["name"]).stat().st_size
      reader = ArrayRecordReader(str(packed / shard["name"]))
      content = b""
      for record in reader.read_all():
        jpeg = records.decode(record).jpeg
        content += record[: len(record) - len(jpeg)] + xxhash.xxh3_128_digest(jpeg)
      assert shard["xxh3_128"] == xxhash.xxh3_128_hexdigest(content)
      assert shard["count"] == reader.num_records()
      assert "group_size:1,transpose:false" in reader.writer_options_string()
      assert "uncompressed" in reader.writer_options_string()
      reader.close()


def test_the_result_agrees_with_the_manifest(photos, tmp_path):
  source = photos({FISH: 5, SHARK: 3})
  (source / SHARK / "text.jpg").write_text("I am a text.")
  result = pack(source, tmp_path / "out", eval_per_class=1, shards=3, workers=1)
  manifest = Manifest.load(tmp_path / "out")
  shards = [shard for split in manifest.splits.values() for shard in split]
  assert result == {
    "train": manifest.count("train"),
    "eval": manifest.count("eval"),
    "rejected": 1,
    "classes": 2,
    "bytes": sum(shard.bytes for shard in shards),
    "shards": len(shards),
    "manifest": str(tmp_path / "out" / "manifest.json"),
    "hint": result["hint"],
  }
  assert "--classes ilsvrc2012" in result["hint"]
  assert result["train"] + result["eval"] == 8
  text = packing.text(result)
  assert "held-out photos of 2 classes" in text and "1 rejected" in text


def test_a_folder_holds_these_files_and_no_others(photos, tmp_path):
  pack(photos({FISH: 6}), tmp_path / "out", eval_per_class=2, shards=2, workers=2)
  assert sorted(os.listdir(tmp_path / "out")) == [
    "classes.txt",
    "eval-00000-of-00002.array_record",
    "eval-00001-of-00002.array_record",
    "manifest.json",
    "rejected.tsv",
    "report.json",
    "report.txt",
    "train-00000-of-00002.array_record",
    "train-00001-of-00002.array_record",
  ]


def test_broken_photos_are_left_out_and_listed(photos, jpeg, picture, tmp_path):
  source = photos({FISH: 3, SHARK: 2})
  (source / FISH / "text.jpg").write_text("I am a text.")
  (source / FISH / "empty.jpg").touch()
  (source / FISH / "half.jpg").write_bytes(jpeg(height=200, width=300)[:-100])
  picture().save(source / FISH / "png.jpg", "PNG")
  (source / FISH / "dangling.jpg").symlink_to("nowhere")
  (source / FISH / "loop.jpg").symlink_to("loop.jpg")
  (source / FISH / "folder.jpg").symlink_to(source / SHARK)
  result = pack(source, tmp_path / "out", shards=2, workers=1)
  assert (result["train"], result["rejected"]) == (6, 6)
  assert Manifest.load(tmp_path / "out").rejected == 6
  assert rows(tmp_path / "out") == [
    [f"{FISH}/dangling.jpg", "unreadable", "No such file or directory"],
    [f"{FISH}/empty.jpg", "empty", "no bytes"],
    [f"{FISH}/folder.jpg", "unreadable", "Is a directory"],
    [f"{FISH}/half.jpg", "truncated", "Premature end of JPEG file"],
    [f"{FISH}/loop.jpg", "unreadable", "Too many levels of symbolic links"],
    [
      f"{FISH}/text.jpg",
      "not an image",
      "not an image of a common format; it begins with b'I am a text.'",
    ],
  ]


@pytest.mark.parametrize(("check", "rejected"), [("decode", 1), ("header", 0)])
def test_check_header_does_not_look_inside_photos(
  photos, jpeg, tmp_path, check, rejected
):
  source = photos({FISH: 1})
  whole = bytearray(jpeg(height=200, width=300))
  whole[len(whole) // 2 : len(whole) // 2 + 100] = b"\xff\xd5" * 50
  (source / FISH / "damaged.jpg").write_bytes(whole)
  result = pack(source, tmp_path / "out", check=check, workers=1)
  assert (result["train"], result["rejected"]) == (2 - rejected, rejected)


NASTY = ["a\tb", "line\nend", "re\rturn", "caf\udce9", "ünï", "'\"", " ", "-", "a\\tb"]


def test_any_file_name_is_packed_and_leads_back(photos, jpeg, tmp_path, read):
  source = photos({FISH: 1})
  for seed, name in enumerate(NASTY):
    (source / FISH / name).write_bytes(jpeg(seed))
  pack(source, tmp_path / "out", shards=2, workers=2)
  examples = read(tmp_path / "out", "train")
  assert len(examples) == len(NASTY) + 1
  for example in examples:
    assert (source / example.key).read_bytes() == example.jpeg


def test_a_rejected_photo_takes_one_line_whatever_its_name(photos, tmp_path):
  source = photos({FISH: 1})
  for name in NASTY:
    (source / FISH / name).touch()
  result = pack(source, tmp_path / "out", workers=1)
  assert result["rejected"] == len(NASTY)
  escaped = ["a\\tb", "line\\nend", "re\\rturn", "caf\\xe9", *NASTY[4:]]
  listed = rows(tmp_path / "out")
  assert sorted(listed) == sorted(
    [f"{FISH}/{name}", "empty", "no bytes"] for name in escaped
  )


def test_held_out_photos_that_are_all_broken_leave_no_split(photos, tmp_path, keys):
  source = photos({FISH: 40})
  pack(source, tmp_path / "first", eval_per_class=1, workers=1, shards=2)
  (held,) = keys(tmp_path / "first", "eval")
  (source / held).write_text("I am a text.")
  out = tmp_path / "out"
  result = pack(source, out, eval_per_class=1, workers=1, shards=2)
  assert (result["train"], result["eval"], result["shards"]) == (39, 0, 2)
  assert list(Manifest.load(out).splits) == ["train"]
  assert not list(out.glob("eval-*"))
  shards = Manifest.load(out).splits["train"]
  assert result["bytes"] == sum(shard.bytes for shard in shards)


class _Boom(Exception):
  pass


def test_after_a_failure_half_way_nothing_half_is_left(
  packed, sample_photos, tmp_path, monkeypatch
):
  seen = 0

  def fails_at_last(*args, **options):
    nonlocal seen
    seen += 1
    if seen == 100:
      raise _Boom

  with monkeypatch.context() as patch:
    patch.setattr(images, "check_pixels", fails_at_last)
    with pytest.raises(_Boom):
      pack(sample_photos, tmp_path, eval_per_class=1, shards=4, workers=1)
  left = contents(tmp_path)
  assert 0 < len(left) < 4
  assert left.items() <= contents(packed).items(), "whole shards only"
  pack(sample_photos, tmp_path, eval_per_class=1, shards=4, workers=1)
  assert contents(tmp_path) == contents(packed)


def test_after_a_kill_packing_again_clears_up(packed, sample_photos, tmp_path):
  script = f"""
import os, pathlib, signal, sys
from im21k.photos import images
from im21k.packing.pack import pack
seen = []
def kills(*args, **options):
  seen.append(1)
  if len(seen) == 100:
    os.kill(os.getpid(), signal.SIGKILL)
images.check_pixels = kills
pack(pathlib.Path({str(sample_photos)!r}), pathlib.Path({str(tmp_path)!r}),
     eval_per_class=1, shards=4, workers=1)
"""
  killed = subprocess.run([sys.executable, "-c", script], check=False)
  assert killed.returncode == -signal.SIGKILL
  assert any(n.startswith(".writing-") for n in os.listdir(tmp_path / STATE))
  left = set(os.listdir(tmp_path))
  assert not any(name.startswith(".writing-") for name in left)
  assert "manifest.json" not in left
  pack(sample_photos, tmp_path, eval_per_class=1, shards=4, workers=1)
  assert contents(tmp_path) == contents(packed)


def test_a_full_disk_is_an_os_error_and_leaves_nothing(sample_photos, tmp_path):
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, limits[1]))
  try:
    with pytest.raises(OSError, match="File too large"):
      pack(sample_photos, tmp_path, shards=1, workers=1)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert os.listdir(tmp_path) == [STATE]


def test_a_packed_data_set_is_never_overwritten(packed, sample_photos):
  before = contents(packed)
  with pytest.raises(
    FileExistsError, match=f"{packed} holds a packed data set already"
  ):
    pack(sample_photos, packed, workers=1)
  assert contents(packed) == before


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"check": "no"}, "check is 'no', but must be 'decode' or 'header'"),
    ({"eval_fraction": 1.01}, "but must be at least 0 and at most 1"),
    ({"eval_fraction": -0.1}, "but must be at least 0 and at most 1"),
    ({"eval_fraction": float("nan")}, "but must be at least 0 and at most 1"),
    ({"eval_per_class": -1}, "eval_per_class is -1, but must be at least 0"),
    ({"eval_fraction": 0.1, "eval_per_class": 1}, "not both"),
    ({"eval_min_class_size": 3}, "has no effect without eval_per_class"),
    (
      {"eval_per_class": 1, "eval_min_class_size": 0},
      "eval_min_class_size is 0, but must be at least 1",
    ),
    ({"shards": 0}, "shards is 0, but must be at least 1"),
    ({"workers": 0}, "workers is 0, but must be at least 1"),
    ({"classes": "imagenet21"}, "'imagenet21' is neither .* Did you mean"),
  ],
)
def test_an_argument_out_of_range_is_named(photos, tmp_path, options, message):
  with pytest.raises(ValueError, match=message):
    pack(photos({FISH: 1}), tmp_path / "out", **options)
  assert not (tmp_path / "out").exists()


def test_photos_that_are_all_broken_are_an_error_that_leads_to_the_list(tmp_path):
  for i in range(3):
    path = tmp_path / "photos" / FISH / f"{i}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("I am a text.")
  out = tmp_path / "out"
  message = f"none of the 3 files to train on .* see {out / 'rejected.tsv'}"
  with pytest.raises(ValueError, match=message):
    pack(tmp_path / "photos", out, workers=1)
  assert sorted(os.listdir(out)) == ["rejected.tsv", "report.json", "report.txt"]
  assert len(rows(out)) == 3


def test_memory_hardly_grows_with_the_number_of_photos(jpeg, tmp_path):
  """Bytes a photo between 1,000 and 4,000; benchmarks/pack_memory.py takes 100,000."""
  data = jpeg(height=8, width=8, mode="L", optimize=True)
  # To read the graph of the 21,841 would take more than the photos.
  (tmp_path / "one.txt").write_text(FISH)
  counts = (250, 1000, 4000)
  for count in counts:
    source = tmp_path / str(count)
    for i in range(count):
      photo = source / FISH / str(i // 250) / f"{i}.jpg"
      if i % 250:
        os.link(photo.with_name(f"{i - 1}.jpg"), photo)
      else:
        photo.parent.mkdir(parents=True)
        photo.write_bytes(data)
  script = f"""
import pathlib, tracemalloc
from im21k.packing.pack import pack
folder = pathlib.Path({str(tmp_path)!r})
for count in {counts}:
  tracemalloc.start()
  pack(folder / str(count), folder / f"out{{count}}", classes=str(folder / "one.txt"),
       shards=count // 250, workers=1)
  print(tracemalloc.get_traced_memory()[1])
  tracemalloc.stop()
"""
  # A process of its own: here other tests' garbage would be counted in.
  done = subprocess.run(
    [sys.executable, "-c", script], capture_output=True, text=True, check=True
  )
  peaks = [int(line) for line in done.stdout.split()]
  # Key, label and place are about 50 bytes; a photo and its key would be 200.
  assert (peaks[2] - peaks[1]) / 3000 < 120, peaks


def test_packing_loads_no_framework():
  script = """
import sys
import im21k.packing.pack
heavy = {"jax", "flax", "grain", "orbax", "tensorflow", "matplotlib"}
print(*heavy & set(sys.modules))
"""
  done = subprocess.run(
    [sys.executable, "-c", script], capture_output=True, text=True, check=True
  )
  assert done.stdout == "\n"


def test_packed_photos_are_packed_again_with_all_their_splits(photos, tmp_path):
  pack(photos({FISH: 4, SHARK: 4}), tmp_path / "first", eval_per_class=1, workers=1)
  again = pack(tmp_path / "first", tmp_path / "again", workers=1)
  assert (again["train"], again["eval"]) == (8, 0)
  options = {"source_split": "train", "workers": 1}
  assert pack(tmp_path / "first", tmp_path / "train", **options)["train"] == 6
