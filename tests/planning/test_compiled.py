"""The report of a compiled step: ranges, days and cores of one program."""

import dataclasses

import pytest

from im21k.planning import compiled as compiled_step
from im21k.planning import measured, traffic, wording
from im21k.planning.compiled import LOST, SHARED
from im21k.planning.peak import peak


def test_the_range_is_what_cards_reach_of_the_peaks(compiled):
  alone = compiled.experiment.changed({"devices": 1})
  report = dataclasses.replace(compiled, experiment=alone).report()
  low, high = report["images_per_s"]
  shares = measured.share()
  peak = report["images_per_s_peak"]
  assert (low, high) == pytest.approx([peak * share for share in shares], rel=1e-3)


def test_days_and_steps_belong_to_the_other_end_of_the_speed(compiled):
  report = compiled.report()
  assert report["examples"] == 1000 * 4 * 16
  for key, scale in (("days", 86400 / report["examples"]), ("step_s", 1 / 64)):
    short, long = (value * scale for value in report[key])
    assert short < long or report[key] == [0, 0]
  seconds, waiting = compiled._seconds(measured.share()[0])
  assert 0 < waiting / seconds < report["waiting_share"] < 1
  assert report["images_per_s"][0] == pytest.approx(64 / seconds, rel=1e-3)
  assert report["cores_to_feed"] == pytest.approx(
    report["images_per_s"][1] * measured.LOADER_MS / 1e3, rel=1e-3
  )


def test_a_faster_link_shortens_the_wait_alone(compiled):
  fast = dataclasses.replace(compiled.card, link_gbs=1000.0)
  fast = dataclasses.replace(compiled, card=fast).report()
  slow = compiled.report()
  assert fast["exposed_share"] < slow["exposed_share"]
  assert fast["images_per_s_peak"] > slow["images_per_s_peak"]
  assert fast["needed_mib"] == slow["needed_mib"]
  alone = compiled.experiment.changed({"devices": 1})
  assert dataclasses.replace(compiled, experiment=alone).report()["exposed_share"] == 0


def enlarged(compiled):
  """The program by hand, of some KB, with arrays of some MB."""
  return dataclasses.replace(compiled, text=compiled.text.replace("[16,", "[32768,"))


@pytest.mark.parametrize("gap", [0, 10, 7 << 20, -(7 << 20), -300_000, -10])
def test_the_parts_add_up_and_what_is_lost_is_not_negative(compiled, gap):
  """The rest of our own account: gaps, or arrays that XLA keeps in one place."""
  large = enlarged(compiled)
  highest = peak(large.program)
  account = highest.kept + highest.gradients + highest.workspace + 1152
  memory = {
    **compiled.memory,
    "peak_memory_in_bytes": account + gap,
    "temp_size_in_bytes": 0,
  }
  report = dataclasses.replace(large, memory=memory).report()
  parts = report["made_of_mib"]
  assert sum(parts.values()) == pytest.approx(report["needed_mib"], abs=0.3)
  name = LOST if gap >= 0 else SHARED
  assert parts[name] == pytest.approx(gap / 2**20, abs=0.06)
  assert not {LOST, SHARED} - {name} & parts.keys()
  lines = wording.text({**report, "advice": ""}).splitlines()
  (line,) = [one for one in lines if one.strip().startswith(name)]
  assert line.endswith({0: " 0", 7: " 7", -7: "-7"}[round(gap / 2**20)])


def test_the_traffic_of_an_image_is_shown_by_kind_of_work(compiled):
  compiled = enlarged(compiled)
  report, program = compiled.report(), compiled.program
  total = sum(map(program.traffic, program.instructions)) / 16 / 2**20
  found = report["traffic_mib"]
  assert tuple(found) == traffic.KINDS
  assert sum(found.values()) == pytest.approx(total, abs=0.005 * len(found))
  assert found[traffic.FORWARD] > found[traffic.KERNELS] > 0
  sizes = dict.fromkeys(found, 0.0)
  sizes |= {traffic.SUMS: 25.54, traffic.POOLS: 0.04, traffic.FORWARD: 109.46}
  lines = wording.text({**report, "traffic_mib": sizes, "advice": ""}).splitlines()
  first = lines.index("memory traffic           135 MiB an image")
  assert lines[first + 1] == f"  {traffic.FORWARD:<30}   109.5"
  assert f"  {traffic.SUMS:<30}    25.5" in lines
  assert not any(traffic.POOLS in line for line in lines)  # less than 0.1


def test_the_first_figure_of_the_text_is_the_range(compiled):
  report = {**compiled.report(), "advice": "It fits."}
  report |= {"images_per_s": [140.2, 239.9], "days": [6.1, 10.44], "total": "9 epochs"}
  report |= {"photos": 14_197_087, "photos_from": "data/packed"}
  first, second, *_, last = wording.text(report).splitlines()
  assert first == (
    "140 to 240 images/s, 6.1 to 10 days for 9 epochs of 14,197,087 photos "
    "(data/packed)"
  )
  assert second.startswith("4 x gtx1650, 16 images each, float32, remat none")
  assert last == "It fits."
  first, *_ = wording.text({**report, "fits": False}).splitlines()
  assert first.endswith("(data/packed), IF IT FITTED")
  first, *_ = wording.text({**report, "photos": None, "total": "9 steps"}).splitlines()
  assert first.endswith("for 9 steps, 64,000 examples")


@pytest.mark.parametrize(
  ("days", "text"),
  [
    ((2.0, 3.14), "2.0 to 3.1 days"),
    ((31.4, 1234.5), "31 to 1,234 days"),
    ((0.5, 1.5), "12 to 36 hours"),
    ((0.01, 0.02), "14 to 29 minutes"),
    ((0, 0), "0.0 to 0.0 minutes"),
  ],
)
def test_short_runs_are_in_hours_or_minutes(days, text):
  assert wording.duration(*days) == text


@pytest.mark.parametrize(
  ("origin", "place"),
  [
    ("jit(f)/jvp(Net)/jvp(block_3a)/3x3/conv_general_dilated", "block_3a"),
    ("jit(f)/transpose(jvp(Net))/jvp()/checkpoint/conv1.pooled/bn.own/gt", "conv1"),
    ("jit(f)/transpose(jvp(Net))/transpose(jvp(head))/dot_general", "head"),
    ("jit(f)/jvp(Net)/header/convert", "the optimizer, or the loss"),
    ("jit(f)/add", "the optimizer, or the loss"),
    ("", "the optimizer, or the loss"),
  ],
)
def test_the_largest_step_is_named_by_its_module(origin, place):
  assert compiled_step._place(origin) == place
