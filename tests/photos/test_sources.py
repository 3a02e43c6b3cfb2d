"""`open` recognizes whatever is there, and says what is wrong with what it is not."""

import dataclasses
import io
import itertools
import subprocess
import sys
import tarfile

import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from im21k import photos
from im21k.dataset import records
from im21k.dataset.manifest import CLASSES as CLASSES_FILE
from im21k.dataset.manifest import Manifest, Shard
from im21k.packing.pack import pack
from im21k.photos import sources
from im21k.synsets import ClassList

TENCH, FISH, DOG = "n01440764", "n01443537", "n02084071"
CLASSES = ClassList("two", (FISH, TENCH))


def tar(path, members, mode="w", format=tarfile.GNU_FORMAT):
  with tarfile.open(path, mode, format=format) as file:
    for name, data in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(data)
      file.addfile(info, io.BytesIO(data))
  return path


def keys(source):
  return [photo.key for photo in source]


def test_the_name_of_a_tar_means_nothing(tmp_path):
  path = tar(tmp_path / "trainval.tar", {f"{DOG}/00000001.jpg": b"1"})
  (photo,) = photos.open(path)
  assert (photo.synset, photo.key) == (DOG, f"{DOG}/00000001.jpg")


def test_in_a_tar_as_in_a_folder(tmp_path):
  members = {f"{TENCH}/{a}/{i}.jpg": b"%d" % i for a in "ab" for i in range(5)}
  members[f"{FISH}/{TENCH}_0.JPEG"] = b"x"
  for name, data in members.items():
    path = tmp_path / "folder" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
  from_folder = list(photos.open(tmp_path / "folder"))
  from_tar = list(photos.open(tar(tmp_path / "D.tar", members)))
  assert [(p.key, p.synset, p.data) for p in from_folder] == [
    (p.key, p.synset, p.data) for p in from_tar
  ]
  assert len({p.key for p in from_tar}) == 11


def test_the_synset_in_a_name_of_the_validation_photos(tmp_path):
  names = {f"ILSVRC2012_val_0000000{i}_{TENCH}.JPEG": b"x" for i in (1, 2)}
  path = tar(tmp_path / "val_images.tar.gz", {**names, "other.jpg": b"y"}, "w:gz")
  assert [photo.synset for photo in photos.open(path)] == [TENCH, TENCH, ""]


def test_photos_without_a_class_are_packed_by_nobody(tmp_path, jpeg):
  path = tar(tmp_path / "x.tar", {f"{TENCH}/a.jpg": jpeg(), "b.jpg": jpeg(1)})
  result = pack(path, tmp_path / "out", workers=1)
  assert (result["train"], result["rejected"]) == (1, 1)
  text = (tmp_path / "out" / "rejected.tsv").read_text()
  assert "b.jpg\tunreadable\tnothing says its class" in text
  (tmp_path / "flat").mkdir()
  (tmp_path / "flat" / "b.jpg").write_bytes(jpeg())
  with pytest.raises(ValueError, match=r"flat/b\.jpg: nothing says its class.*\.tsv"):
    pack(tmp_path / "flat", tmp_path / "other", workers=1)


@pytest.mark.parametrize("name", ["a.jpg", "a"])
def test_one_photo(tmp_path, jpeg, name):
  (tmp_path / name).write_bytes(jpeg())
  (photo,) = source = photos.open(tmp_path / name)
  assert (photo.key, photo.synset, photo.data) == (name, "", jpeg())
  assert source.count == 1


def test_all_splits_of_packed_photos_or_one(packed):
  counts = Manifest.load(packed)
  assert photos.open(packed).count == counts.count("train") + counts.count("eval")
  assert photos.open(packed, split="eval").count == counts.count("eval")
  with pytest.raises(ValueError, match="has no 'test' photos, only train, eval"):
    photos.open(packed, split="test")


def test_bad_records_of_packed_photos_are_photos_with_a_problem(tmp_path):
  name = records.shard_name("train", 0, 1)
  writer = ArrayRecordWriter(str(tmp_path / name), records.WRITER_OPTIONS)
  good = records.encode(records.Example("a", 1, b"x"))
  for record in (good, b"junk", records.encode(records.Example("b", 2, b"x")), good):
    writer.write(record)
  writer.close()
  (tmp_path / CLASSES_FILE).write_text("\n".join(CLASSES.synsets))
  shard = Shard(name, 4, (tmp_path / name).stat().st_size, "")
  Manifest("two", CLASSES.hash, 0, {}, {"train": (shard,)}, 0).save(tmp_path)
  found = list(photos.open(tmp_path))
  assert [photo.synset for photo in found] == [TENCH, "", "", TENCH]
  assert "not a record of im21k" in found[1].problem[1]
  assert "label 2 of 2 classes" in found[2].problem[1]


def test_a_damaged_record_takes_no_other_with_it(tmp_path, packed):
  path = sorted(packed.glob("train-*"))[0]
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 0xFF
  (tmp_path / path.name).write_bytes(data)
  count = next(
    s.count for s in Manifest.load(packed).splits["train"] if s.name == path.name
  )
  classes = Manifest.load(packed).classes(packed).synsets
  shard = sources.packed.Shard(tmp_path / path.name, len(data), count, classes)
  found = list(shard.photos())
  assert len(found) == count
  assert sum(photo.problem is not None for photo in found) == 1
  (bad,) = (photo for photo in found if photo.problem)
  assert bad.key.startswith(f"{path.name}/") and bad.problem[0] == "unreadable"


@pytest.mark.parametrize("hosts", [2, 3, 7])
def test_problems_are_those_of_one_host_in_all(tmp_path, packed, hosts):
  """A shard that is no shard, one with a damaged record, and sound ones."""
  shards = photos.open(packed).streams
  broken, hurt, sound = (tmp_path / shards[i].path.name for i in range(3))
  broken.write_bytes(b"no shard")
  data = bytearray(shards[1].path.read_bytes())
  data[len(data) // 2] ^= 0xFF
  hurt.write_bytes(data)
  sound.write_bytes(shards[2].path.read_bytes())
  made = [
    dataclasses.replace(shard, path=tmp_path / shard.path.name) for shard in shards[:3]
  ]
  source = photos.Source(tuple(made))
  whole = [(photo.key, photo.problem) for photo in source]
  assert sum(problem is not None for _, problem in whole) == 2
  parts = [
    [(photo.key, photo.problem) for photo in source.share(host, hosts)]
    for host in range(hosts)
  ]
  assert sorted(itertools.chain(*parts), key=str) == sorted(whole, key=str)
  assert parts[0][0][0] == broken.name


def test_files_that_cannot_be_read_are_those_of_one_host(tmp_path):
  for index in range(7):
    path = tmp_path / TENCH / f"{index}.jpg"
    path.parent.mkdir(exist_ok=True)
    path.symlink_to("nowhere")
  source = photos.open(tmp_path)
  found = [[p.key for p in source.share(h, 3) if p.problem] for h in range(3)]
  assert sorted(itertools.chain(*found)) == keys(source) and len(found[0]) == 3


def test_a_damaged_tar_is_that_of_one_host(tmp_path, jpeg):
  path = tar(tmp_path / "a.tar", {f"{TENCH}/{i}.jpg": jpeg(i) for i in range(7)})
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  source = photos.open(path)
  problems = [[p.loss for p in source.share(h, 2) if p.problem] for h in range(2)]
  assert [p.loss for p in source if p.problem] == [*problems[0], *problems[1]]
  assert len(list(source)) == sum(len(list(source.share(h, 2))) for h in range(2))


def test_hosts_are_numbered_from_0(tmp_path):
  with pytest.raises(ValueError, match="host is 2, but must be one of 0 to 1"):
    photos.Source(()).share(2, 2)


@pytest.mark.parametrize("kind", ["packed", "class folders", "list", "one photo"])
def test_labels_and_root_are_refused_where_they_would_be_ignored(
  kind, packed, tmp_path, sample_photos
):
  (tmp_path / "a.tsv").write_text("")
  (tmp_path / "a.jpg").write_bytes(b"")
  where = {
    "packed": packed,
    "class folders": sample_photos,
    "list": tmp_path / "a.tsv",
    "one photo": tmp_path / "a.jpg",
  }[kind]
  with pytest.raises(
    ValueError, match=f"{where} is not such a place: leave labels out"
  ):
    photos.open(where, labels=tmp_path / "labels.txt")
  if kind != "list":
    with pytest.raises(ValueError, match=f"and {where} is neither: leave root out"):
      photos.open(where, root=tmp_path)


def test_what_is_not_there_or_something_else(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; photos can be"):
    photos.open(tmp_path / "nowhere")
  (tmp_path / "notes.txt").write_text("no photos")
  with pytest.raises(NotADirectoryError, match=r"notes\.txt is none of what photos"):
    photos.open(tmp_path / "notes.txt")


def test_bytes_are_read_when_they_are_asked_for_and_once(tmp_path):
  path = tmp_path / TENCH / "a.jpg"
  path.parent.mkdir()
  path.write_bytes(b"one")
  (photo,) = photos.open(tmp_path)
  path.write_bytes(b"two")
  again = photo.unread()
  assert photo.data == b"two"
  path.unlink()
  assert photo.data == b"two" and photo.problem is None
  assert again.problem == ("unreadable", "No such file or directory")


def test_the_room_is_light_to_import():
  code = (
    "import im21k.photos, sys;"
    "heavy = {'jax', 'grain', 'tensorflow_datasets', 'array_record', 'cv2'};"
    "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
  )
  run = [sys.executable, "-c", code]
  done = subprocess.run(run, capture_output=True, text=True, check=True)
  assert done.stdout == "[]\n"
