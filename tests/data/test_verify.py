"""A packed data set is read back, and what is wrong with it is named."""

import shutil

import pytest

from im21k.data.records import Manifest
from im21k.data.verify import text, verify


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
