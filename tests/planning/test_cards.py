"""Cards by name and from files."""

import dataclasses
import json

import pytest

from im21k.planning import cards


def test_a_card_by_name():
  card = cards.get("gtx1650")
  assert card.memory == 4 << 30 and card.capability == (7, 5)
  assert card.flops_per_second("bfloat16") == card.flops_per_second("float32")
  assert cards.get("a100").flops_per_second("bfloat16") == 312e12


@pytest.mark.parametrize("name", cards.GPUS)
def test_peaks_of_plain_float32_follow_from_the_cores(name):
  """Two operations a core and cycle; cards that use TF32 do more."""
  card = cards.GPUS[name]
  plain = 2 * card.multiprocessors * card.cores * card.clock_ghz / 1e3
  if card.capability < (8, 0) or name.startswith("rtx"):
    assert card.float32_tflops == pytest.approx(plain, rel=0.03)
  else:
    assert card.float32_tflops > 1.5 * plain
  assert card.bfloat16_tflops >= card.float32_tflops


def test_the_description_names_the_fields(tmp_path):
  text = cards.get("rtx3050-4gb").target_config()
  for part in ("core_count: 16", "device_memory_size: 4294967296", "major: 8 minor: 6"):
    assert part in text


def test_a_card_from_a_file(tmp_path):
  path = tmp_path / "card.json"
  card = dataclasses.replace(cards.get("t4"), name="mine", memory_gib=2.5)
  path.write_text(json.dumps(dataclasses.asdict(card)))
  assert cards.get(str(path)) == card


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"memory_gib": "4"}, "memory_gib must be a number, but is '4'"),
    ({"clock_ghz": 0}, "clock_ghz must be above 0 and below 10.9, but is 0"),
    ({"capability": [8]}, r"capability must be \[major, minor\]"),
    ({"cores_": 1}, "unknown: cores_"),
    ({"cores": None}, "missing: cores; unknown: none"),
  ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, change, message):
  fields = {**dataclasses.asdict(cards.get("t4")), **change}
  path = tmp_path / "card.json"
  path.write_text(json.dumps({k: v for k, v in fields.items() if v is not None}))
  with pytest.raises(ValueError, match=message):
    cards.get(str(path))


def test_no_card_and_no_json(tmp_path):
  with pytest.raises(ValueError, match="'gtx1560'; did you mean 'gtx1650'"):
    cards.get("gtx1560")
  path = tmp_path / "card.json"
  path.write_text("{")
  with pytest.raises(ValueError, match="is not JSON"):
    cards.get(str(path))
