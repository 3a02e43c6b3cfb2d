"""One table over all cards: few programs, speeds and costs by card."""

import dataclasses

import pytest

from im21k.planning import cards, comparison
from im21k.planning.compiled import Compiled

ALL = tuple(cards.GPUS.values())
RESERVE = 512 << 20


@pytest.fixture
def compare(compiled):
  """`compare` with the program by hand; what it compiles for is `compare.asked`."""
  asked = []
  long = compiled.experiment.changed({"total": {"steps": 10**9}})
  compiled = dataclasses.replace(compiled, experiment=long)

  def call(chosen=ALL, dollars=None, max_days=None, needed=12_000, broken=()):
    memory = {**compiled.memory, "peak_memory_in_bytes": needed}
    program = dataclasses.replace(compiled, memory=memory)
    asked.clear()

    def compile_for(card) -> Compiled:
      asked.append(card.name)
      if card.name in broken:
        raise ValueError(f"no program for {card.name}")
      return program.on(card, card.memory - RESERVE)

    return comparison.compare(compile_for, chosen, RESERVE, dollars or {}, max_days)

  call.asked = asked
  return call


def test_cards_that_differ_in_speed_only_share_a_program(compare):
  result = compare()
  later = {card.capability[0] for card in ALL if card.capability >= (8, 0)}
  assert len(compare.asked) == 1 + len(later)
  rows = {row["gpu"]: row for row in result["gpus"]}
  assert set(rows) == set(cards.GPUS) - {"k80"}
  assert "3.7" in result["not_compiled"]["k80"]
  assert rows["gtx980"]["compiled_for"] == rows["v100"]["compiled_for"]
  assert rows["a100"]["compiled_for"] != rows["v100"]["compiled_for"]


def test_each_row_is_what_the_card_alone_has(compare, compiled):
  long = compiled.experiment.changed({"total": {"steps": 10**9}})
  compiled = dataclasses.replace(compiled, experiment=long)
  for row in compare()["gpus"]:
    card = cards.get(row["gpu"])
    alone = dataclasses.replace(compiled, card=card, limit=card.memory - RESERVE)
    report = alone.report()
    for key in ("images_per_s", "days", "needed_mib", "limit_mib", "fits"):
      assert row[key] == report[key], (card.name, key)


def test_the_fastest_is_first_and_what_does_not_fit_last_without_a_speed(compare):
  result = compare(needed=20 << 30)
  fits = [row["fits"] for row in result["gpus"]]
  assert fits == sorted(fits, reverse=True) and {True, False} == set(fits)
  speeds = [row["images_per_s_peak"] for row in result["gpus"] if row["fits"]]
  assert speeds == sorted(speeds, reverse=True)
  assert all(row["days"] is None for row in result["gpus"] if not row["fits"])
  assert fits.count(True) == sum(c.memory_gib >= 24 for c in ALL)


def test_a_card_close_to_the_need_has_a_program_of_its_own(compare):
  t4 = cards.get("t4")
  compare(needed=int((t4.memory - RESERVE) * 0.97))
  assert "t4" in compare.asked and "gtx1650" not in compare.asked
  compare(needed=int((t4.memory - RESERVE) * 0.8))
  assert "t4" not in compare.asked


def test_a_program_made_for_the_memory_is_shared_by_cards_with_as_much(compiled):
  asked = []

  def compile_for(card):
    asked.append(card)
    limit = card.memory - RESERVE
    needed = int(min(0.99 * limit, 20 << 30))  # as remat fit does
    memory = {**compiled.memory, "peak_memory_in_bytes": needed}
    return dataclasses.replace(compiled, memory=memory).on(card, limit)

  result = comparison.compare(compile_for, ALL, RESERVE, {}, None, adapts=True)
  assert all(row["fits"] for row in result["gpus"])
  made = [(card.capability[0] if card.capability >= (8, 0) else 0, card.memory_gib)
          for card in asked]  # fmt: skip
  assert len(made) == len(set(made))
  small = {row["compiled_for"] for row in result["gpus"] if row["limit_mib"] == 3584}
  assert len(small) == 2  # 4 GiB, before Ampere and since


def test_slower_cards_are_left_out_and_counted(compare):
  every = compare()["gpus"]
  limit = sorted(row["days"][1] for row in every)[10]
  result = compare(max_days=limit)
  assert all(row["days"][1] <= limit for row in result["gpus"])
  assert result["slower"] == len(every) - len(result["gpus"]) > 0
  assert f"left out as too slow: {result['slower']} cards" in comparison.text(result)


def test_costs_of_the_cards_that_have_a_price(compare):
  result = compare(dollars={"t4": 0.35})
  rows = {row["gpu"]: row for row in result["gpus"]}
  assert rows["l4"]["dollars"] is None
  days = rows["t4"]["days"]
  assert rows["t4"]["dollars"] == pytest.approx(
    [0.35 * 4 * 24 * d for d in days], abs=0.01
  )
  lines = {
    line.split()[0]: line for line in comparison.text(result).splitlines() if line
  }
  assert "$" in lines["t4"] and "$" not in lines["l4"] and "cost" in lines["card"]


def test_a_group_without_a_program_leaves_the_others(compare):
  largest = "b200"
  result = compare(broken={largest})
  assert result["not_compiled"][largest] == "no program for b200"
  assert f"no program for {largest}: no program" in comparison.text(result)
  with pytest.raises(ValueError, match="compute capability 3"):
    compare(chosen=[cards.get("k80")])


def test_the_table(compare):
  text = comparison.text(compare(needed=20 << 30))
  assert text.startswith("4 of each, 16 images each, float32, for 1,000,000,000 steps")
  lines = {line.split()[0]: line for line in text.splitlines() if line}
  assert "DOES NOT FIT" in lines["gtx1650"] and "DOES NOT" not in lines["h100"]
  assert "no program for k80: " in text
