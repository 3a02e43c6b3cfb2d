"""Photos to be scored: from everywhere the same, each once, and what is refused."""

import itertools
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from im21k import machine, synsets
from im21k.loading import scoring
from im21k.packing.pack import pack
from im21k.photos import Photo, Source, crops, images, sources
from im21k.synsets import ClassList

GOLDFISH, CAT, DOG = "n01443537", "n02121620", "n02084071"
CLASSES = ClassList("three", (DOG, GOLDFISH, CAT))


def contents(found):
  return {(photo.synset, photo.data) for photo in found}


def loader(found, batch_size=4, devices=1, classes=CLASSES, **options):
  return scoring.ScoreLoader(
    found, classes, batch_size=batch_size, devices=devices, image_size=8, short_side=10,
    **options,
  )  # fmt: skip


@pytest.mark.parametrize(("batch_size", "devices"), [(1, 1), (4, 2), (16, 4), (20, 1)])
def test_every_photo_comes_once_as_its_crop(photos, batch_size, devices):
  root = photos({GOLDFISH: 7, CAT: 9})
  found = sources.open(root)
  batches = list(loader(found, batch_size, devices))
  assert len(batches) == len(loader(found, batch_size, devices))
  seen = []
  for batch, examples in batches:
    assert batch["image"].shape == (devices, batch_size // devices, 8, 8, 3)
    image = batch["image"].reshape(-1, 8, 8, 3)
    mask, label = batch["mask"].ravel(), batch["label"].ravel()
    assert mask.tolist() == [1] * len(examples) + [0] * (batch_size - len(examples))
    assert not image[len(examples) :].any()
    for index, example in enumerate(examples):
      whole = images.decode((root / example.key).read_bytes())
      np.testing.assert_array_equal(image[index], crops.center_crop(whole, 8, 10))
      assert label[index] == example.label == CLASSES.index(example.synset)
      assert example.key.startswith(example.synset) and example.error is None
      seen.append(example.key)
  assert seen == sorted(path.relative_to(root).as_posix() for path in root.glob("*/*"))


def test_bad_photos_and_unknown_classes_are_marked(photos):
  root = photos({GOLDFISH: 2, "n00007846": 1})
  (root / GOLDFISH / "a.jpg").write_bytes(b"no photo")
  (root / GOLDFISH / "b.jpg").symlink_to("nowhere")
  whole = (root / GOLDFISH / f"{GOLDFISH}_0.jpg").read_bytes()
  (root / GOLDFISH / "c.jpg").write_bytes(whole[:-30])
  ((batch, examples),) = loader(sources.open(root), batch_size=6)
  found = [(example.key, example.label, example.error) for example in examples]
  assert found[0] == ("n00007846/n00007846_0.jpg", None, None)
  assert found[1][:2] == (f"{GOLDFISH}/a.jpg", 1)
  assert found[1][2].endswith("it begins with b'no photo'")
  assert "No such file" in found[2][2] and "Premature end" in found[3][2]
  assert batch["mask"].tolist() == [[1, 0, 0, 0, 1, 1]]


def test_packed_photos_are_the_loose_ones(photos, tmp_path):
  root = photos({GOLDFISH: 4, CAT: 5})
  pack(root, tmp_path / "packed", eval_per_class=2, workers=1)
  parts = [
    sources.open(tmp_path / "packed", split=split) for split in ("train", "eval")
  ]
  assert [part.count for part in parts] == [5, 4]
  assert contents(itertools.chain(*parts)) == contents(sources.open(root))


# ILSVRC2012's validation photos.


def test_packaged_labels_are_fifty_of_each_class():
  labels = synsets.validation_labels()
  ids, counts = np.unique(labels, return_counts=True)
  assert tuple(ids) == synsets.ilsvrc2012().synsets and set(counts) == {50}
  # As ILSVRC2012's own archive labels them: a snake, a ski, a Shetland sheepdog.
  assert labels[:3] == ["n01751748", "n09193705", "n02105855"]


@pytest.fixture
def validation(tmp_path, jpeg):
  folder = tmp_path / "val"
  folder.mkdir()
  for number in (1, 3, 50_000):
    (folder / f"ILSVRC2012_val_{number:08}.JPEG").write_bytes(jpeg(number))
  (folder / "notes.txt").write_text("")
  return folder


def test_labels_belong_to_the_numbers_in_the_names(validation, tmp_path, jpeg):
  labels = synsets.validation_labels()
  expected = {(labels[number - 1], jpeg(number)) for number in (1, 3, 50_000)}
  assert contents(sources.open(validation)) == expected
  own = tmp_path / "own.txt"
  own.write_text("\r\n".join([CAT, DOG, GOLDFISH] + [DOG] * 49_996 + [CAT, ""]))
  found = sources.open(validation, labels=own)
  assert [photo.synset for photo in found] == [CAT, GOLDFISH, CAT]


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("490\n361\n171\n", "line 1 is a number.*development kit's own order"),
    (f"{CAT}\n\n{CAT}\n", "line 2: '' is no synset id"),
    (f"{CAT}\ncat\n", "line 2: 'cat' is no synset id"),
    (f"{CAT}\n{CAT}\n", "val_00000003.JPEG: there are labels for photos 1 to 2"),
  ],
)
def test_labels_that_cannot_be_used_say_why(validation, tmp_path, text, message):
  path = tmp_path / "labels.txt"
  path.write_text(text)
  with pytest.raises(ValueError, match=message):
    sources.open(validation, labels=path)


def test_labels_for_other_photos_are_refused(photos, tmp_path):
  with pytest.raises(
    ValueError, match=r"labels are only used for .*ILSVRC2012_val_.* leave labels out"
  ):
    sources.open(photos({CAT: 1}), labels=tmp_path / "labels.txt")


# TFDS.


@pytest.fixture
def prepare(tmp_path, jpeg, monkeypatch):
  """Prepares a data set called `tiny` with TFDS, three JPEGs."""
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core.dataset_metadata import DatasetMetadata

  def make(names, file_format="array_record"):
    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
      VERSION = tfds.core.Version("1.0.0")
      code_path = None  # It has no package of its own.

      @classmethod
      def get_metadata(cls):
        return DatasetMetadata(description="", citation="", tags=[])

      def _info(self):
        features = {
          "image": tfds.features.Image(encoding_format="jpeg"),
          "label": tfds.features.ClassLabel(names=names),
          "file_name": tfds.features.Text(),
        }
        return self.dataset_info_from_configs(
          features=tfds.features.FeaturesDict(features)
        )

      def _split_generators(self, _):
        return {"validation": self._generate_examples()}

      def _generate_examples(self):
        for index in range(3):
          path = tmp_path / f"{index}.jpg"
          path.write_bytes(jpeg(index))
          yield index, {"image": path, "label": index % 2, "file_name": path.name}

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    builder = Tiny(data_dir=tmp_path / "tfds", file_format=file_format)
    builder.download_and_prepare()

  return make


def test_prepared_photos_come_undecoded_and_without_tensorflow(prepare, jpeg):
  prepare([GOLDFISH, CAT])
  found = sources.open("tfds:tiny:validation")
  assert found.count == 3
  assert contents(found) == {(GOLDFISH, jpeg(0)), (CAT, jpeg(1)), (GOLDFISH, jpeg(2))}
  ((batch, examples),) = loader(found)
  assert {example.key for example in examples} == {
    f"{GOLDFISH}/0.jpg",
    f"{CAT}/1.jpg",
    f"{GOLDFISH}/2.jpg",
  }
  assert batch["mask"].sum() == 3
  assert "tensorflow" not in sys.modules


def test_prepared_photos_are_packed_too(prepare, jpeg, tmp_path):
  prepare([GOLDFISH, CAT])
  folder = tmp_path / "tfds" / "tiny" / "1.0.0"
  pack(folder, tmp_path / "out", source_split="validation", workers=1)
  found = sources.open(tmp_path / "out", split="train")
  assert contents(found) == {(GOLDFISH, jpeg(0)), (CAT, jpeg(1)), (GOLDFISH, jpeg(2))}
  assert "tensorflow" not in sys.modules


def test_the_validation_tar_is_packed_with_the_labels_of_its_photos(jpeg, tmp_path):
  path = tmp_path / "ILSVRC2012_img_val.tar"
  labels = synsets.validation_labels()
  with tarfile.open(path, "w") as tar:
    for number in (1, 7, 50_000):
      photo = tmp_path / f"ILSVRC2012_val_{number:08d}.JPEG"
      photo.write_bytes(jpeg(number))
      tar.add(photo, photo.name)
  pack(path, tmp_path / "out", classes="ilsvrc2012", workers=1)
  found = contents(sources.open(tmp_path / "out", split="train"))
  assert found == {(labels[n - 1], jpeg(n)) for n in (1, 7, 50_000)}


def test_prepared_photos_without_synsets_are_refused(prepare):
  prepare(["fish", CAT])
  with pytest.raises(ValueError, match=r"labels are not synset ids, but \['fish'\]"):
    sources.open("tfds:tiny:validation")


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("tfds:tiny", "should be tfds:NAME:SPLIT"),
    ("tfds::validation", "should be tfds:NAME:SPLIT"),
    ("tfds:tiny:validation:x", "should be tfds:NAME:SPLIT"),
    ("tfds:tiny:train", "tfds:tiny:train: TFDS cannot read it"),
    ("tfds:teeny_weeny:train", "tfds:teeny_weeny:train: TFDS cannot read it"),
  ],
)
def test_prepared_data_that_is_not_there(prepare, name, message):
  prepare([GOLDFISH, CAT])
  with pytest.raises(ValueError, match=message) as raised:
    sources.open(name)
  assert "\n" not in str(raised.value)


# What is none of these.


def test_missing_folder_says_what_may_be_given(tmp_path):
  with pytest.raises(
    FileNotFoundError, match=r"nowhere does not exist; photos can be .*tfds:"
  ):
    sources.open(tmp_path / "nowhere")


def test_folder_of_neither_kind_is_refused(tmp_path):
  (tmp_path / "holiday").mkdir()
  with pytest.raises(ValueError, match="contains no photos: neither class folders"):
    sources.open(tmp_path)


def test_batch_must_suit_the_devices(photos):
  found = sources.open(photos({CAT: 1}))
  with pytest.raises(ValueError, match="batch_size 6 is not divisible by the 4 dev"):
    loader(found, batch_size=6, devices=4)


def test_a_crop_must_fit_the_photo(photos):
  source = sources.open(photos({CAT: 1}))
  with pytest.raises(ValueError, match="a crop of 8 needs a photo"):
    scoring.ScoreLoader(
      source, CLASSES, batch_size=4, devices=1, image_size=8, short_side=7
    )


# Sources that are read from their beginning to their end, and what they may hold.


def tar_of(root, path):
  with tarfile.open(path, "w") as tar:
    for file in sorted(root.glob("*/*")):
      tar.add(file, str(file.relative_to(root)))
  return path


def test_an_archive_gives_the_batches_of_the_folder(photos, tmp_path):
  root = photos({GOLDFISH: 7, CAT: 6})
  archive = loader(sources.open(tar_of(root, tmp_path / "a.tar")))
  folder = loader(sources.open(root))
  assert (folder.total, archive.total) == (4, None)
  with pytest.raises(TypeError, match="not known before all are read"):
    len(archive)
  pairs = list(zip(archive, folder, strict=True))
  assert len(pairs) == 4
  for (batch, items), (other, same) in pairs:
    assert items == same
    for name, array in batch.items():
      np.testing.assert_array_equal(array, other[name])


def test_only_some_photos_are_in_memory_at_a_time(jpeg):
  alive, most = 0, 0

  class Counted(Photo):
    def __init__(self, index):
      nonlocal alive, most
      super().__init__(f"{CAT}/{index}", CAT, jpeg(index))
      alive += 1
      most = max(most, alive)

    def __del__(self):
      nonlocal alive
      alive -= 1

  class Many:
    count = None

    def photos(self):
      return map(Counted, range(300))

  few = scoring.ScoreLoader(
    Source((Many(),)), CLASSES, batch_size=4, devices=1, image_size=8, short_side=10,
    threads=2,
  )  # fmt: skip
  assert sum(len(items) for _, items in few) == 300
  assert most <= 8


@pytest.mark.parametrize("hosts", [1, 2, 3, 4])
def test_hosts_make_equally_many_batches_of_each_photo_once(photos, hosts):
  """Nine photos in batches of two: the last hosts have fewer."""
  source = sources.open(photos({GOLDFISH: 4, CAT: 5}))
  batches = scoring.batches_of_each(source, 2, hosts)
  keys, masks = [], 0
  for host in range(hosts):
    part = loader(source.share(host, hosts), 2, 1, batches=batches)
    assert len(part) == batches
    found = list(part)
    assert len(found) == batches
    for batch, items in found:
      assert batch["image"].shape == (1, 2, 8, 8, 3)
      assert batch["mask"].sum() == len(items)
      masks += batch["mask"].sum()
    keys += [item.key for _, items in found for item in items]
  assert masks == 9 and sorted(keys) == [photo.key for photo in source]


def test_more_photos_than_were_counted_are_an_error(photos):
  with pytest.raises(ValueError, match="more photos than the 4 that were counted"):
    list(loader(sources.open(photos({CAT: 5})), 2, batches=2))


def test_batches_of_archives_are_not_known(photos, tmp_path):
  source = sources.open(tar_of(photos({CAT: 2}), tmp_path / "a.tar"))
  assert scoring.batches_of_each(source, 2, 2) is None


def test_a_photo_without_a_class_is_reported_and_not_guessed(tmp_path, jpeg):
  for name in ("a.jpg", f"{CAT}_1.jpg", "n00007846_1.jpg"):
    (tmp_path / name).write_bytes(jpeg())
  source = sources.open(tmp_path)
  ((batch, items),) = loader(source)
  assert [(item.label, item.error) for item in items] == [
    (None, "nothing says its class"),
    (None, None),
    (2, None),
  ]
  assert batch["mask"].tolist() == [[0, 1, 1, 0]]


def test_a_damaged_archive_is_reported_after_what_could_be_read(photos, tmp_path):
  path = tar_of(photos({CAT: 5}), tmp_path / "a.tar")
  path.write_bytes(path.read_bytes()[: 2 * path.stat().st_size // 5])
  items = [item for _, items in loader(sources.open(path)) for item in items]
  *good, bad = items
  assert good and all(item.error is None for item in good)
  assert bad.key.startswith("a.tar at byte") and "ends early" in bad.error


def test_threads_follow_the_cores_of_this_process_and_end_with_the_iteration(
  photos, monkeypatch
):
  def decoding():
    return {t for t in threading.enumerate() if t.name.startswith("decode")}

  others = decoding()  # Of tests before, which may be ending yet.
  asked = []

  class Pool(ThreadPoolExecutor):
    def __init__(self, threads, name):
      asked.append(threads)
      super().__init__(threads, name)

  monkeypatch.setattr(scoring.futures, "ThreadPoolExecutor", Pool)
  monkeypatch.setattr(machine, "cores", lambda: 3)
  batches = iter(loader(sources.open(photos({CAT: 40}))))
  next(batches)
  threads = decoding() - others
  assert 1 <= len(threads) <= asked[0] == 6
  batches.close()
  for thread in threads:
    thread.join(timeout=60)
  assert not any(thread.is_alive() for thread in threads)
