"""Rare pictures: each verb sees the same pixels, or gives the same reason."""

import json
import warnings

import coarse
import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from kinds import KINDS, REPAIRED
from rare_kinds import RARE, REFUSED

from im21k import photos, weights
from im21k.dataset import records
from im21k.dataset.manifest import CLASSES as CLASSES_FILE
from im21k.dataset.manifest import Manifest, Shard
from im21k.inference import classify, places
from im21k.loading.scoring import ScoreLoader
from im21k.loading.train import TrainLoader
from im21k.packing import repair
from im21k.packing.pack import pack
from im21k.packing.verify import verify
from im21k.photos import images
from im21k.photos.jpeg_crop import Box, Decoder
from im21k.synsets import ClassList

TENCH, FISH = "n01440764", "n01443537"
CLASSES = ClassList("two", (FISH, TENCH))
SOUND = {"a": KINDS["sampling 420"], "z": KINDS["progressive"]}


def difference(a, b):
  assert a.shape == b.shape
  return np.abs(a.astype(int) - b.astype(int))


@pytest.fixture(scope="module")
def decoder():
  return Decoder()


def has_crops_of(decoder, data, whole, rng):
  height, width = decoder.open(data)
  assert (height, width) == whole.shape[:2]
  for _ in range(8):
    h, w = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    part = decoder.crop(Box(top, left, h, w), least=10**5)
    np.testing.assert_array_equal(part, whole[top : top + h, left : left + w])


@pytest.mark.parametrize("name", RARE)
def test_a_rare_kind_is_the_same_for_prediction_training_and_packing(
  name, decoder, rng
):
  data, expected = RARE[name]
  np.testing.assert_array_equal(images.decode(data), expected)
  has_crops_of(decoder, data, expected, rng)
  packed, kinds = repair.prepare(data, repair.Rules())
  images.check_jpeg(packed)
  decoder.check(packed)
  whole = images.decode(packed)
  if repair.KEEP in {repair.RULES[kind] for kind in kinds} or not kinds:
    assert packed == data
  if "unusual header" in kinds:
    np.testing.assert_array_equal(whole, expected)
  # One value for each block, at random, has harder edges than a photo.
  assert difference(whole, expected).mean() < 3 * REPAIRED
  has_crops_of(decoder, packed, whole, rng)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_kind_has_the_same_reason_for_all(name, decoder):
  data, kind, words = REFUSED[name]
  with pytest.raises(images.ImageError, match=words) as predicted:
    images.decode(data)
  with pytest.raises(repair.Rejected) as rejected:
    repair.prepare(data, repair.Rules())
  assert predicted.value.kind == rejected.value.kind == kind
  assert str(predicted.value) == str(rejected.value)
  assert repair.RULES[kind] == repair.REJECT
  for check in (images.check_jpeg, decoder.check):
    with pytest.raises(images.ImageError):
      check(data)


SAMPLINGS = [
  bytes((luma, chroma, 0x11))
  for luma in (h << 4 | v for h in (1, 2, 3, 4) for v in (1, 2, 3, 4))
  for chroma in (h << 4 | v for h in (1, 2, 3, 4) for v in (1, 2, 3, 4))
]


def has_whole_ratios(factors):
  ways = [[f >> 4 for f in factors], [f & 15 for f in factors]]
  return all(max(way) % f == 0 for way in ways for f in way)


def test_every_sampling_is_decoded_alike_or_refused_by_name(decoder, rng):
  for factors in SAMPLINGS:
    blocks = sum((f >> 4) * (f & 15) for f in factors)
    data = coarse.jpeg(19, 37, factors, together=blocks <= 10)
    if not has_whole_ratios(factors):
      for verb in (
        images.decode, decoder.open, lambda d: repair.prepare(d, repair.Rules()),
      ):  # fmt: skip
        with pytest.raises(ValueError, match="no whole ratios") as error:
          verb(data)
        assert error.value.kind == "unsupported"
      continue
    whole = images.decode(data)
    has_crops_of(decoder, data, whole, rng)
    packed, _ = repair.prepare(data, repair.Rules())
    decoder.check(packed)
    assert difference(images.decode(packed), whole).mean() < 3 * REPAIRED, factors


@pytest.mark.parametrize("raised", [
  TypeError("x"), IndexError(), AssertionError(), RecursionError(), KeyError("y"),
  StopIteration(), UserWarning("a warning"), MemoryError(), Exception("any"),
], ids=repr)  # fmt: skip
def test_whatever_pillow_raises_is_an_image_error(monkeypatch, raised):
  def fail(*_, **__):
    raise raised

  monkeypatch.setattr(images.pillow.Image, "open", fail)
  with pytest.raises(images.ImageError, match=type(raised).__name__ + "|memory"):
    images.decode(KINDS["PNG"])


def test_an_interrupt_is_not_taken_for_damage(monkeypatch):
  def fail(*_, **__):
    raise KeyboardInterrupt

  monkeypatch.setattr(images.pillow.Image, "open", fail)
  with pytest.raises(KeyboardInterrupt):
    images.decode(KINDS["PNG"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Two sound photos, and all that are refused, in one class."""
  folder = tmp_path_factory.mktemp("refused")
  (folder / TENCH).mkdir()
  bad = {f"bad{at:02d}": data for at, (data, *_) in enumerate(REFUSED.values())}
  for name, data in {**SOUND, **bad}.items():
    (folder / TENCH / f"{name}.JPEG").write_bytes(data)
  return folder


@pytest.fixture(autouse=True)
def quiet():
  with warnings.catch_warnings():
    # 2026-11: Pillow warns of more than 89 million pixels before they are refused.
    warnings.simplefilter("ignore")
    yield


def test_packing_counts_each_and_goes_on(folder, tmp_path):
  pack(folder, tmp_path / "packed", shards=1, workers=1)
  report = json.loads((tmp_path / "packed" / "report.json").read_text())
  assert (report["packed"], report["rejected"]) == (2, len(REFUSED))
  rows = (tmp_path / "packed" / "rejected.tsv").read_text().splitlines()[1:]
  for row, (_, kind, _) in zip(sorted(rows), REFUSED.values(), strict=True):
    assert row.split("\t")[1] == kind
  assert verify(tmp_path / "packed")["decoded"] == 2


def test_evaluation_and_prediction_have_a_row_for_each(folder):
  loader = ScoreLoader(
    photos.open(folder), CLASSES, batch_size=4, devices=1, image_size=32, short_side=36,
    threads=2,
  )  # fmt: skip
  items = [item for _, some in loader for item in some]
  assert sum(item.error is None for item in items) == 2
  assert len(items) == 2 + len(REFUSED)
  prepared = weights.Input(size=32, short_side=36)
  seen = [
    classify.see(photo, prepared) for photo in places.Places([folder], CLASSES).photos()
  ]
  assert sum(photo.square is not None for photo in seen) == 2
  assert sum(bool(photo.reason) for photo in seen) == len(REFUSED) == len(seen) - 2


def test_training_replaces_each_and_counts_it(tmp_path):
  (tmp_path / CLASSES_FILE).write_text("\n".join(CLASSES.synsets))
  name = records.shard_name("train", 0, 1)
  writer = ArrayRecordWriter(str(tmp_path / name), records.WRITER_OPTIONS)
  # What is damaged only among its pixels is not found where a crop ends above it.
  refused = [data for data, kind, words in REFUSED.values() if words != "Corrupt"]
  files = [data for data in refused for data in (data, SOUND["a"])]
  for at, data in enumerate(files):
    writer.write(records.encode(records.Example(f"{at}", 0, data)))
  writer.close()
  shard = Shard(name, len(files), (tmp_path / name).stat().st_size, "")
  Manifest("two", CLASSES.hash, 0, {}, {"train": (shard,)}, 0).save(tmp_path)
  loader = TrainLoader(
    tmp_path, batch_size=len(files), image_size=32, short_side=36, devices=1,
    max_bad_share=1.0,
  )  # fmt: skip
  batch = loader.batch(0)
  assert sorted(batch["bad"].ravel()[batch["bad"].ravel() >= 0]) == [
    *range(0, len(files), 2)
  ]


def test_the_largest_photo_of_imagenet_passes_with_all_its_scans():
  usual = coarse.jpeg(8, 8, b"\x22\x11\x11", coding=0xC2, more_scans=9)
  images.check_header(large := _sized(usual, 8192, 8192))
  assert images.jpeg_header.read(large).blocks == [2**20, 2**18, 2**18]


def _sized(jpeg, height, width):
  from rare_kinds import with_size

  return with_size(jpeg, height, width, 0xC2)


def test_packed_shards_hold_only_what_training_decodes(folder, tmp_path):
  pack(folder, tmp_path / "packed", shards=1, workers=1)
  manifest = Manifest.load(tmp_path / "packed")
  (path,) = manifest.shard_paths(tmp_path / "packed", "train")
  reader = ArrayRecordReader(path)
  jpegs = {records.decode(record).jpeg for record in reader.read_all()}
  reader.close()
  assert jpegs == set(SOUND.values())
