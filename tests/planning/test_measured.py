"""Estimates are ranges in which the public measurements lie."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from im21k.planning import cards, measured, traffic

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("one", measured.MEASURED, ids=lambda one: one.card)
def test_every_measurement_is_a_share_of_its_cards_peaks(one):
  low, high = measured.share()
  assert 0.3 < low < one.images_per_s / one.at_peak < high < 0.9
  assert cards.get(one.card).name == one.card
  assert one.dtype in ("float32", "bfloat16") and one.source


def test_the_loaders_time_is_that_of_the_benchmark():
  lines = (ROOT / "benchmarks" / "results" / "load.jsonl").read_text().splitlines()
  (row,) = (
    row
    for row in map(json.loads, lines)
    if (row["table"], row.get("loader")) == ("load", "im21k")
  )
  assert row["full_cpu_ms"] == measured.LOADER_MS
  assert row["machine"] == measured.LOADER_MACHINE
  assert measured.cores_to_feed(1000 / 0.56) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "batch"), [("float32", 64), ("bfloat16", 128)])
def test_the_range_that_plan_prints_contains_the_measurement(dtype, batch):
  """One program for each dtype: cards of one dtype differ in speed alone."""
  program = f"""
import dataclasses, json
from im21k.planning import cards, compiler, measured
from im21k.training import configs

settings = {{"devices": 1, "model.remat": "none", "model.dtype": {dtype!r}}}
experiment = configs.load("inception_bn_1k", settings)
rows = [one for one in measured.MEASURED if one.dtype == {dtype!r}]
compiled = compiler.Compiler(cards.get(rows[-1].card), 0).compile(experiment, {batch})
for one in rows:
  report = dataclasses.replace(compiled, card=cards.get(one.card)).report()
  keys = "images_per_s", "images_per_s_peak", "traffic_mib"
  print(json.dumps([one.card, *(report[key] for key in keys)]))
"""
  environ = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
  done = subprocess.run(
    [sys.executable, "-c", program], capture_output=True, text=True, env=environ
  )
  assert done.returncode == 0, done.stderr
  found = [json.loads(line) for line in done.stdout.splitlines()]
  rows = {one.card: one for one in measured.MEASURED if one.dtype == dtype}
  assert len(found) == len(rows)
  for card, (low, high), peak, passed in found:
    assert low < rows[card].images_per_s < high
    assert peak == pytest.approx(rows[card].at_peak, rel=0.1), "measure at_peak again"
    # All kinds of work are known in programs of the full net.
    assert passed[traffic.OTHER] <= 0.01 * sum(passed.values())
    assert min(passed[kind] for kind in traffic.KINDS[:-1]) > 0
