"""A packed data set is read back, and its damage is located."""

import dataclasses
import json
import shutil

import pytest
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from im21k import synsets
from im21k.dataset import records
from im21k.dataset.manifest import Manifest
from im21k.packing.pack import pack
from im21k.packing.verify import text, verify
from im21k.photos import images, jpeg_crop


@pytest.fixture
def copied(packed, tmp_path):
  shutil.copytree(packed, tmp_path / "copied")
  return tmp_path / "copied"


def test_a_sound_data_set_is_counted(packed):
  result = verify(packed, workers=1)
  assert result["photos"] == result["decoded"] == 163
  assert (result["classes"], result["largest"]) == (73, 26)
  assert "all sound: 163 photos" in text(result)


def test_a_sample_is_decoded(packed):
  assert 0 < verify(packed, workers=1, decode=0.25)["decoded"] < 60
  assert verify(packed, workers=1, decode=0)["decoded"] == 0


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7])
def test_a_flipped_bit_names_shard_record_and_byte(copied, share):
  shard = Manifest.load(copied).splits["train"][2]
  path = copied / shard.name
  data = bytearray(path.read_bytes())
  data[int(len(data) * share)] ^= 4
  path.write_bytes(data)
  message = rf"{shard.name} is not what was packed.*(record is \d+ of .*at byte|around)"
  with pytest.raises(ValueError, match=message):
    verify(copied, workers=1)


def test_all_damaged_shards_are_named(copied):
  first, second, *_ = Manifest.load(copied).splits["train"]
  for shard in (first, second):
    path = copied / shard.name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
  message = f"2 of .* damaged: .*{first.name} is not .*; .*{second.name} is not "
  with pytest.raises(ValueError, match=message):
    verify(copied, workers=2)


def test_a_shard_of_other_sound_photos_is_found(photos, tmp_path):
  synset = "n01440764"
  for name in ("one", "other"):
    source = photos({synset: 2}, name)
    if name == "other":  # Two photos change places.
      first, second = sorted((source / synset).iterdir())
      one, two = first.read_bytes(), second.read_bytes()
      first.write_bytes(two)
      second.write_bytes(one)
    pack(source, tmp_path / f"{name}-packed", shards=1, workers=1)
  (shard,) = Manifest.load(tmp_path / "one-packed").splits["train"]
  shutil.copy(tmp_path / "other-packed" / shard.name, tmp_path / "one-packed")
  with pytest.raises(
    ValueError, match="each record is sound, but they are not those that were packed"
  ):
    verify(tmp_path / "one-packed", workers=1)


def altered(folder, change):
  """The manifest after a change of its document, whose sums stay right."""
  document = json.loads((folder / "manifest.json").read_text())
  change(document["splits"])
  for split in document["splits"].values():
    for name in ("count", "bytes"):
      split[name] = sum(shard[name] for shard in split["shards"])
  (folder / "manifest.json").write_text(json.dumps(document))


def rewritten(folder, split, index, change):
  """A shard whose records went through `change`, with its right checksum and size."""
  shard = Manifest.load(folder).splits[split][index]
  path = folder / shard.name
  reader = ArrayRecordReader(str(path))
  examples = change([records.decode(r) for r in reader.read_all()])
  reader.close()
  writer, checksum = (
    ArrayRecordWriter(str(path), records.WRITER_OPTIONS),
    records.Checksum(),
  )
  for example in examples:
    writer.write(records.encode(example))
    checksum.add_record(records.encode(example))
  writer.close()

  def change_manifest(splits):
    splits[split]["shards"][index] |= {
      "count": len(examples),
      "bytes": path.stat().st_size,
      "xxh3_128": checksum.hexdigest(),
    }

  altered(folder, change_manifest)


@pytest.mark.parametrize("label", [21_841, 2**31 - 1, 2**32 - 1])
def test_a_label_that_the_class_list_lacks_is_named(copied, label):
  def change(examples):
    examples[3] = dataclasses.replace(examples[3], label=label)
    return examples

  rewritten(copied, "train", 1, change)
  with pytest.raises(
    ValueError, match=rf"train-00001-of-00004\.array_record record 3: label {label} of"
  ):
    verify(copied, workers=1)


def test_a_photo_to_train_on_that_is_held_out_too_is_named(copied):
  path = copied / Manifest.load(copied).splits["train"][0].name
  reader = ArrayRecordReader(str(path))
  leaked = records.decode(reader.read([5])[0])
  reader.close()
  rewritten(copied, "eval", 0, lambda examples: [*examples, leaked])
  with pytest.raises(
    ValueError,
    match=rf"photo '{leaked.key}' is record 5 of train-.* and record \d+ of ev",
  ):
    verify(copied, workers=1)


def test_counts_of_the_manifest_are_not_believed(copied):
  for count in (1, 7, 1000):
    altered(copied, lambda s, n=count: s["train"]["shards"][0].update(count=n))
    with pytest.raises(ValueError, match=rf"records of {count:,}; copy it again"):
      verify(copied, workers=1)


def test_shards_that_the_manifest_does_not_list_are_noted(copied):
  (copied / "train-00007-of-00004.array_record").write_bytes(b"old")
  result = verify(copied, workers=1)
  assert result["strays"] == ["train-00007-of-00004.array_record"]
  assert text(result).splitlines()[1] == (
    "not in the manifest: 1 shard ('train-00007-of-00004.array_record')"
  )


def test_photos_that_training_cannot_crop_are_not_sound(copied, monkeypatch):
  def crop(self, box, least):
    raise images.ImageError("no such crop")

  monkeypatch.setattr(jpeg_crop.Decoder, "crop", crop)
  with pytest.raises(ValueError, match=r"record 0: no such crop"):
    verify(copied, workers=1)


def test_a_data_set_without_photos_is_empty(tmp_path):
  (tmp_path / "classes.txt").write_text("n01440764\n")
  classes = synsets.from_file(tmp_path / "classes.txt")
  Manifest("a", classes.hash, 0, {}, {"train": ()}, 0).save(tmp_path)
  assert verify(tmp_path, workers=1)["photos"] == 0


@pytest.mark.parametrize("split", ["train", "eval"])
def test_a_split_that_the_manifest_has_lost_is_missed(copied, split):
  altered(copied, lambda splits: splits.pop(split))
  with pytest.raises(
    ValueError, match=r"lists \d+ photos, but by report\.json 163 were"
  ):
    verify(copied, workers=1)
