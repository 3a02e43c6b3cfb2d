"""Cards by name and from files."""

import dataclasses
import json
import math

import pytest

from im21k.planning import cards, datasheets, links


def test_a_card_by_name():
  card = cards.get("gtx1650")
  assert card.memory == 4 << 30 and card.capability == (7, 5)
  assert card.flops_per_second("bfloat16") == card.flops_per_second("float32")
  assert cards.get("a100").flops_per_second("bfloat16") == 312e12


@pytest.mark.parametrize("name", cards.GPUS)
def test_peaks_of_plain_float32_follow_from_the_cores(name):
  """Two operations a core and cycle; cards that use TF32 do as much or more."""
  card = cards.GPUS[name]
  plain = 2 * card.multiprocessors * card.cores * card.clock_ghz / 1e3
  if card.capability < (8, 0):
    assert card.float32_tflops == pytest.approx(plain, rel=0.03)
    assert card.bfloat16_tflops == card.float32_tflops
  else:
    ratio = card.float32_tflops / plain
    assert min(abs(ratio - k) / k for k in (1, 2, 7, 8, 15)) < 0.08, ratio
    assert card.bfloat16_tflops == pytest.approx(2 * card.float32_tflops, rel=0.02)


@pytest.mark.parametrize(
  ("name", "card"),
  [
    ("RTX 4090", "rtx4090"),
    ("NVIDIA GeForce RTX 4090", "rtx4090"),
    ("GeForce GTX 1650", "gtx1650"),
    ("gtx 1080 Ti 11 GiB", "gtx1080ti"),
    ("NVIDIA GeForce RTX™ 2080", "rtx2080"),
    ("A10G", "a10g"),
    ("Tesla P100-PCIE-16GB", "p100"),
    ("Tesla P100-SXM2-16GB", "p100-sxm2"),
    ("Tesla V100-SXM2-32GB", "v100-sxm2-32gb"),
    ("NVIDIA A100-SXM4-40GB", "a100"),
    ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
    ("NVIDIA H100 80GB HBM3", "h100"),
    ("NVIDIA H100 PCIe", "h100-pcie"),
    ("NVIDIA L40S", "l40s"),
    ("Tesla K80", "k80"),
    ("GeForce GTX TITAN X", "titanx-maxwell"),
    ("NVIDIA TITAN X (Pascal)", "titanx-pascal"),
    ("RTX 3050 Laptop GPU 4GB", "rtx3050-4gb"),
  ],
)
def test_names_as_people_and_drivers_write_them(name, card):
  assert cards.get(name).name == card
  assert cards.get(name.upper()).name == cards.get(name.lower()).name == card


def test_every_card_goes_by_its_own_name_and_by_its_title():
  for name, (title, *_) in datasheets.ROWS.items():
    assert cards.get(name).name == cards.get(name.upper()).name == name
    assert cards.get(name.replace("-", " ")).name == name
    if "one of its two" not in title:
      assert cards.get(title).name == name


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("A100 40GB", r"does not say which .* a100 \(A100 SXM4, 40 GB\), a100-pcie-40gb"),
    ("H100 80GB", "does not say which card it is: give one of h100 .*, h100-pcie"),
    ("TITAN X", "give one of titanx-maxwell .*, titanx-pascal"),
    ("RTX 3080", "does not say which card it is: give one of rtx3080-10gb"),
    ("RTX 3050 Laptop GPU", "does not say which card it is: give one of rtx3050-4gb"),
    ("RTX 4090 Laptop GPU", "no card .* the nearest: rtx4090"),
    ("Tesla P100-PCIE-12GB", "no card .* the nearest: p100 "),
    ("RTX 4090 48GB", "no card .* the nearest: rtx4090"),
    ("RTX 3090 Ti", "no card .*; did you mean 'rtx3090'"),
    ("A100-SXM4-40GB MIG 1g.5gb", "no card"),
    ("4090", "did you mean 'rtx4090'"),
    ("Radeon VII", "`im21k plan --list` shows the cards"),
    ("NVIDIA", "`im21k plan --list` shows the cards"),
    ("", "no card"),
  ],
)
def test_a_name_that_may_be_another_card_is_refused_with_the_nearest(name, message):
  with pytest.raises(ValueError, match=message):
    cards.get(name)


def test_a_link_is_what_a_ring_can_use_of_it():
  assert cards.get("h100").link_gbs > 300 > cards.get("p100-sxm2").link_gbs > 50
  assert cards.get("rtx4090").link_gbs > 1.9 * cards.get("gtx1650").link_gbs
  # Four cards send one and a half times the gradients, two once, one nothing.
  assert links.reduced_per_second(12, 4) == 8e9
  assert links.reduced_per_second(12, 2) == 12e9
  assert links.reduced_per_second(12, 1) == math.inf


def test_the_description_names_the_fields(tmp_path):
  text = cards.get("rtx3050-4gb").target_config()
  for part in ("core_count: 16", "device_memory_size: 4294967296", "major: 8 minor: 6"):
    assert part in text


def test_a_card_from_a_file(tmp_path):
  path = tmp_path / "card.json"
  card = dataclasses.replace(cards.get("t4"), name="mine", memory_gib=2.5)
  path.write_text(json.dumps(dataclasses.asdict(card)))
  assert cards.get(str(path)) == card


def test_a_file_from_before_links_is_read(tmp_path):
  path = tmp_path / "card.json"
  fields = dataclasses.asdict(cards.get("h100"))
  del fields["link_gbs"]
  path.write_text(json.dumps(fields))
  assert cards.get(str(path)).link_gbs == links.usable("PCIe 3.0 x16")


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"link_gbs": "fast"}, "link_gbs must be a number, but is 'fast'"),
    ({"cores": 63.5}, "cores must be a whole number, but is 63.5"),
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
  for damaged in ("{", "[" * 100_000, '{"name": "a", "name": "b"}'):
    path.write_text(damaged)
    with pytest.raises(ValueError, match="is not JSON"):
      cards.get(str(path))
