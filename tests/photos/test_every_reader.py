"""Every reader x every kind of photo: each verb sees the same upright pixels."""

import io
import itertools
import os
import re
import struct
import tarfile

import cv2
import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from kinds import KINDS, NAMES, REPAIRED, reference

from im21k import photos
from im21k.dataset import records
from im21k.dataset.manifest import CLASSES as CLASSES_FILE
from im21k.dataset.manifest import Manifest, Shard
from im21k.loading.examples import RandomNumbers
from im21k.loading.scoring import ScoreLoader
from im21k.loading.train import TrainLoader
from im21k.packing.pack import pack
from im21k.photos import crops, images
from im21k.photos.jpeg_crop import Box, Decoder
from im21k.synsets import ClassList

TENCH, FISH = "n01440764", "n01443537"
CLASSES = ClassList("two", (FISH, TENCH))
SIZE, SHORT = 32, 36


def synset_of(index):
  return (TENCH, FISH)[index % 2]


def file_name(index):
  return f"ILSVRC2012_val_{index + 1:08d}.JPEG"


FILES = {
  f"{synset_of(i)}/{file_name(i)}": data for i, data in enumerate(KINDS.values())
}


def in_tar(path, members, mode="w"):
  with tarfile.open(path, mode) as tar:
    for name, data in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(data)
      tar.addfile(info, io.BytesIO(data))
  return path


def class_folders(folder):
  for name, data in FILES.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
  return folder, {}


def labels_file(folder):
  path = folder / "labels.txt"
  path.write_text("".join(f"{synset_of(i)}\n" for i in range(len(FILES))))
  return path


def validation_folder(folder):
  (folder / "val").mkdir()
  for name, data in FILES.items():
    (folder / "val" / name.partition("/")[2]).write_bytes(data)
  return folder / "val", {"labels": labels_file(folder)}


def validation_tar(folder):
  members = {name.partition("/")[2]: data for name, data in FILES.items()}
  path = in_tar(folder / "ILSVRC2012_img_val.tar", members)
  return path, {"labels": labels_file(folder)}


def tar(folder):
  return in_tar(folder / "photos.tar", FILES), {}


def tar_gz(folder):
  return in_tar(folder / "photos.tar.gz", FILES, "w:gz"), {}


def inner_tars(folder):
  for synset in (TENCH, FISH):
    names = (name for name in FILES if name.startswith(synset))
    members = {name.partition("/")[2]: FILES[name] for name in names}
    in_tar(folder / f"{synset}.tar", members)


def folder_of_tars(folder):
  inner_tars(folder)
  return folder, {}


def tar_of_tars(folder):
  inner_tars(folder)
  members = {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}
  return in_tar(folder / "whole.tar", members), {}


def rec(folder):
  with (folder / "photos.rec").open("wb") as file:
    for index, data in enumerate(FILES.values()):
      label = CLASSES.index(synset_of(index))
      record = struct.pack("<IfQQ", 0, label, index + 1, 0) + data
      file.write(struct.pack("<II", 0xCED7230A, len(record)) + record)
      file.write(bytes(-len(record) % 4))
  return folder / "photos.rec", {"classes": CLASSES}


def lst(folder):
  class_folders(folder)
  lines = (
    f"{i}\t{CLASSES.index(synset_of(i))}\t{name}\n" for i, name in enumerate(FILES)
  )
  (folder / "photos.lst").write_text("".join(lines))
  return folder / "photos.lst", {"classes": CLASSES}


def tsv(folder):
  class_folders(folder)
  lines = "".join(f"{name}\t{name[:9]}\n" for name in FILES)
  (folder / "photos.tsv").write_text("\ufeff" + lines, encoding="utf-8")
  return folder / "photos.tsv", {}


def packed(folder):
  source, _ = class_folders(folder / "photos")
  pack(source, folder / "packed", eval_per_class=1, shards=2, workers=1)
  return folder / "packed", {}


def tfds(folder):
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core.dataset_metadata import DatasetMetadata

  class Kinds(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # It has no package of its own.

    @classmethod
    def get_metadata(cls):
      return DatasetMetadata(description="", citation="", tags=[])

    def _info(self):
      return self.dataset_info_from_configs(
        features=tfds.features.FeaturesDict(
          {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=list(CLASSES.synsets)),
            "file_name": tfds.features.Text(),
          }
        )
      )

    def _split_generators(self, _):
      return {"train": self._generate_examples()}

    def _generate_examples(self):
      for index, data in enumerate(FILES.values()):
        path = folder / file_name(index)
        path.write_bytes(data)
        label = synset_of(index)
        yield index, {"image": path, "label": label, "file_name": path.name}

  Kinds(data_dir=folder, file_format="array_record").download_and_prepare()
  return folder / "kinds" / "1.0.0", {}


READERS = (
  class_folders, validation_folder, validation_tar, tar, tar_gz, folder_of_tars,
  tar_of_tars, rec, lst, tsv, packed, tfds,
)  # fmt: skip


def index_of(key):
  """The number of a kind, from the key of its photo."""
  return int(re.search(r"([0-9]+)(\.JPEG)?$", key)[1]) - 1


@pytest.fixture(scope="module", params=READERS, ids=lambda reader: reader.__name__)
def reader(request, tmp_path_factory):
  folder = tmp_path_factory.mktemp(request.param.__name__)
  return request.param, *request.param(folder)


@pytest.fixture(scope="module")
def read(reader):
  """By number of the kind: the photo as `photos.open` gives it."""
  _, where, options = reader
  source = photos.open(where, **options)
  found = list(source)
  assert len(found) == len(FILES) and source.count in (None, len(FILES))
  return {index_of(photo.key): photo for photo in found}


@pytest.fixture(scope="module")
def scored(reader):
  """By number of the kind: the image, label and mask that evaluation gets."""
  _, where, options = reader
  loader = ScoreLoader(
    photos.open(where, **options), CLASSES, batch_size=8, devices=2, image_size=SIZE,
    short_side=SHORT, threads=2,
  )  # fmt: skip
  found = {}
  for batch, items in loader:
    image = batch["image"].reshape(8, SIZE, SIZE, 3)
    label, mask = batch["label"].ravel(), batch["mask"].ravel()
    for at, item in enumerate(items):
      found[index_of(item.key)] = image[at], label[at], mask[at], item
  assert len(found) == len(FILES)
  return found


@pytest.fixture(scope="module")
def repacked(reader, tmp_path_factory):
  """By number of the kind: the record that packing makes."""
  function, where, options = reader
  folder = tmp_path_factory.mktemp("repacked")
  (folder / "two.txt").write_text("\n".join(CLASSES.synsets))
  options = {**options, "classes": str(folder / "two.txt")}
  if function is packed:
    options["source_split"] = "train"
  pack(where, folder / "out", shards=2, workers=1, **options)
  return {index_of(example.key): example for example in of_folder(folder / "out")}


def of_folder(folder):
  manifest = Manifest.load(folder)
  for path in manifest.shard_paths(folder, "train"):
    shard = ArrayRecordReader(path)
    yield from map(records.decode, shard.read_all())
    shard.close()


def difference(a, b):
  assert a.shape == b.shape
  return np.abs(a.astype(int) - b.astype(int))


KIND = pytest.mark.parametrize("kind", range(len(NAMES)), ids=NAMES)


@KIND
def test_photo_comes_with_its_class_and_bytes(reader, read, kind):
  photo = read[kind]
  assert photo.synset == synset_of(kind) and photo.problem is None
  if reader[0] is not packed:
    assert photo.data == KINDS[NAMES[kind]]


def test_photos_come_in_another_order_and_by_their_position(reader, read):
  function, where, options = reader
  source = photos.open(where, **options)
  keys = [photo.key for photo in source]
  some = [5, 0, len(FILES) - 1, 5]
  assert [photo.key for photo in source.pick(some)] == [keys[at] for at in some]
  if function is tar_gz:
    with pytest.raises(ValueError, match="unpack it, or pack it"):
      source.shuffled()
    return
  shuffled = source.shuffled()
  for _ in range(2):
    found = list(shuffled)
    assert sorted(photo.key for photo in found) == sorted(keys)
    for photo in found:
      same = read[index_of(photo.key)]
      assert (photo.data, photo.synset, photo.problem) == (same.data, same.synset, None)
  assert (keys == [photo.key for photo in found]) == (function is packed)
  assert shuffled.count == len(FILES)


@pytest.mark.parametrize("hosts", [1, 2, 3, 5])
def test_hosts_have_each_photo_once_in_all(reader, hosts):
  _, where, options = reader
  source = photos.open(where, **options)
  whole = [(photo.key, photo.synset, photo.data) for photo in source]
  shares = [source.share(host, hosts) for host in range(hosts)]
  parts = [[(photo.key, photo.synset, photo.data) for photo in one] for one in shares]
  assert sorted(itertools.chain(*parts)) == sorted(whole)
  assert all(map(len, parts))
  if source.count is not None:
    assert [part for one in zip(*parts, strict=False) for part in one] == (
      whole[: min(map(len, parts)) * hosts]
    )
    assert [one.count for one in shares] == list(map(len, parts))
    assert [list(map(len, parts))] == [[len(whole[h::hosts]) for h in range(hosts)]]
  else:
    assert all(one.count is None for one in shares)
    assert max(map(len, parts)) - min(map(len, parts)) <= len(source.streams)
  again = [photo.key for photo in shares[-1].pick([1, 0])]
  assert again == [parts[-1][1][0], parts[-1][0][0]]
  if source.root:
    assert [one.key for one in shares[0].entries()] == [key for key, _, _ in parts[0]]


def test_a_share_comes_in_another_order(reader):
  function, where, options = reader
  share = photos.open(where, **options).share(1, 2)
  keys = [photo.key for photo in share]
  if function is tar_gz:
    with pytest.raises(ValueError, match="unpack it, or pack it"):
      share.shuffled()
    return
  found = [photo.key for photo in share.shuffled()]
  assert sorted(found) == sorted(keys) and (found == keys) == (function is packed)


@KIND
def test_evaluation_sees_the_reference(reader, scored, kind):
  image, label, mask, item = scored[kind]
  assert (item.error, mask) == (None, 1)
  assert label == item.label == CLASSES.index(synset_of(kind))
  expected = crops.center_crop(reference(KINDS[NAMES[kind]]), SIZE, SHORT)
  if reader[0] is packed:
    assert difference(image, expected).mean() < REPAIRED
  else:
    np.testing.assert_array_equal(image, expected)


@KIND
def test_packing_keeps_the_reference(reader, repacked, kind):
  if reader[0] is packed and kind not in repacked:
    pytest.skip("this photo was held out")
  example = repacked[kind]
  assert example.label == CLASSES.index(synset_of(kind))
  data = KINDS[NAMES[kind]]
  whole = images.decode(example.jpeg)
  if example.jpeg == data:
    np.testing.assert_array_equal(whole, reference(data))
  else:
    assert difference(whole, reference(data)).mean() < REPAIRED


@KIND
def test_prediction_sees_the_reference(tmp_path, kind):
  data = KINDS[NAMES[kind]]
  (tmp_path / "photo").write_bytes(data)
  np.testing.assert_array_equal(images.read(tmp_path / "photo"), reference(data))


@KIND
def test_any_crop_is_that_of_the_reference(kind, rng):
  data = KINDS[NAMES[kind]]
  whole, decoder = reference(data), Decoder()
  height, width = decoder.open(data)
  assert (height, width) == whole.shape[:2]
  for _ in range(30):
    h, w = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    part = decoder.crop(Box(top, left, h, w), least=1000)
    np.testing.assert_array_equal(part, whole[top : top + h, left : left + w])


@pytest.fixture(scope="module")
def unrepaired(tmp_path_factory):
  """A packed folder whose records hold the files as they are, of every kind."""
  folder = tmp_path_factory.mktemp("unrepaired")
  (folder / CLASSES_FILE).write_text("\n".join(CLASSES.synsets))
  name = records.shard_name("train", 0, 1)
  writer = ArrayRecordWriter(str(folder / name), records.WRITER_OPTIONS)
  for index, (key, data) in enumerate(FILES.items()):
    label = CLASSES.index(synset_of(index))
    writer.write(records.encode(records.Example(key, label, data)))
  writer.close()
  shard = Shard(name, len(FILES), (folder / name).stat().st_size, "")
  Manifest("two", CLASSES.hash, 0, {}, {"train": (shard,)}, 0).save(folder)
  return TrainLoader(
    folder, batch_size=1, image_size=40, short_side=48, mirror=False, order="global"
  )


def test_training_sees_the_reference_in_every_record(unrepaired):
  """Bilinear from the scale that is just large enough, against the mean over areas."""
  seen = set()
  for at in range(len(FILES)):
    example = unrepaired[at]
    data = FILES[example["key"]]
    whole = reference(data)
    (numbers,) = unrepaired._examples.random_numbers(range(at, at + 1))
    crop = crops.StraightCrop(40, 48)
    top, left, h, w = crop.draw(*whole.shape[:2], RandomNumbers(numbers))
    expected = whole[top : top + h, left : left + w]
    resized = cv2.resize(expected, (40, 40), interpolation=cv2.INTER_LINEAR)
    area = crops.resize(expected, 40, 40)
    off = min(difference(example["image"], other).mean() for other in (resized, area))
    assert off < 2, example["key"]
    seen.add(example["key"])
  assert len(seen) == len(FILES)
