"""Data sets that every version so far has packed are read, verified and trained on.

`formats/*.tar.xz` hold four photos each, packed by the version whose checksum of a
shard was the one in the name: the SHA-256 of the file (until 24 November 2026), the
XXH3 of the file, that of its records, and that of their digests (today's).
"""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from im21k import photos
from im21k.dataset.manifest import Manifest
from im21k.loading.train import TrainLoader
from im21k.packing.verify import verify

SAMPLES = sorted((Path(__file__).parent / "formats").glob("*.tar.xz"))
PHOTOS = {
  "n01440764/0.jpg": "10976a465cbfaf1c",
  "n01443537/1.jpg": "84e5defd7bab2b44",
  "n01440764/2.jpg": "1f8cc03e04a458f6",
  "n01443537/3.jpg": "4fe8d7687b2f4390",
}


@pytest.fixture(params=SAMPLES, ids=lambda path: path.name.partition(".")[0])
def sample(request, tmp_path):
  """A data set as a version has packed it."""
  with tarfile.open(request.param) as tar:
    tar.extractall(tmp_path, filter="data")
  return tmp_path


def test_there_is_a_sample_of_each_kind():
  assert len(SAMPLES) == 4


def test_all_photos_are_read(sample):
  found = {p.key: hashlib.sha256(p.data).hexdigest()[:16] for p in photos.open(sample)}
  assert found == PHOTOS
  assert {p.key.partition("/")[0] == p.synset for p in photos.open(sample)} == {True}
  assert photos.open(sample, split="eval").count == 2


def test_it_is_sound(sample):
  assert verify(sample, workers=1)["photos"] == 4


def test_it_can_be_trained_on(sample):
  loader = TrainLoader(sample, batch_size=2, image_size=16, workers=0)
  assert sorted(loader.batch(0)["label"].ravel().tolist()) == [0, 1]


def test_damage_is_found_whatever_the_checksum(sample):
  """A sound record of another photo, which no checksum of ArrayRecord's own knows."""
  document = json.loads((sample / "manifest.json").read_text())
  for shard in document["splits"]["train"]["shards"]:
    name = "sha256" if "sha256" in shard else "xxh3_128"
    shard[name] = shard[name][::-1]
  (sample / "manifest.json").write_text(json.dumps(document))
  with pytest.raises(
    ValueError, match=r"train-00000.* is not what was packed: each rec"
  ):
    verify(sample, workers=1)


def test_a_later_version_is_refused_with_what_to_do(sample):
  document = json.loads((sample / "manifest.json").read_text())
  (sample / "manifest.json").write_text(json.dumps({**document, "format_version": 2}))
  with pytest.raises(
    ValueError, match=r"format_version is 2, .* reads 1: update im21k"
  ):
    Manifest.load(sample)
