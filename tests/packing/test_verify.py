"""A packed data set is read back, and its damage is located."""

import shutil

import pytest

from im21k.dataset.manifest import Manifest
from im21k.packing.pack import pack
from im21k.packing.verify import text, verify


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
