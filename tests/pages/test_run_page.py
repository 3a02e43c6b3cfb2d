"""The page about a run: true numbers, escaped, sound in a browser."""

import json
import re

import markupsafe
import numpy as np
import pytest

from im21k import synsets, weights
from im21k.answers import calibration
from im21k.evaluation.results import CSV
from im21k.pages import run_page

FULL = synsets.imagenet21k()
EVIL = "<script>alert(1)</script>&\"'"


@pytest.fixture
def run(linear_weights, packed, tmp_path):
  """A finished run that answers windmill to everything."""
  workdir = tmp_path / "<b>run"
  bias = np.zeros(len(FULL), np.float32)
  bias[FULL.index("n04587559")] = 3
  linear_weights(np.zeros((48, len(FULL)), np.float32), bias, FULL).save(
    workdir / "weights"
  )
  config = {
    "data": str(packed),
    "seed": 3,
    "note": EVIL,
    "<i>": 1,
    "total": {"epochs": 2},
  }
  (workdir / "config.json").write_text(json.dumps(config))
  (workdir / "environment.json").write_text(json.dumps({"devices": f"4 x {EVIL}"}))
  rows = [
    {"step": 1, "images": 100, "train_top_1": 0.25},
    {"step": 2, "images": 200, "train_top_1": 0.5},
    {"step": 2, "images": 200, "eval_top_1": 0.125},
  ]
  lines = "".join(json.dumps(row) + "\n" for row in rows)
  (workdir / "metrics.jsonl").write_text(lines)
  return workdir


def test_page_tells_what_was_measured(run):
  result = run_page.report(run, split="train")
  assert result["images"] == 139 and result["page"] == str(run / "report.html")
  assert result["top_1"] == pytest.approx(13 / 139)
  text = (run / "report.html").read_text(encoding="utf-8")
  assert (
    "200 in all; at the end 50.0 % on training photos and 12.5 % on held-out" in text
  )
  assert "<td>50.0 %</td><td>37.2 %</td>" in text
  assert text.count("<td>not measured</td>") == 6
  assert "139 train photos, top-1 accuracy 9.4 %." in text
  best, worst = text.split("<h2>Best classes</h2>")[1].split("<h2>Worst classes</h2>")
  # All that the net ever says is windmill.
  assert best.count("<figure>") == 1
  assert worst.split("<section>")[0].count("<figure>") == 6
  assert "windmill: 13 of 13 correct; this one predicted windmill" in best
  assert "windmill:" not in worst
  assert "139 photos, top-1 accuracy 9.35%" in run_page.text(result)


def test_nothing_of_files_becomes_markup_and_nothing_is_fetched(run):
  run_page.report(run)
  text = (run / "report.html").read_text(encoding="utf-8")
  assert "<script" not in text and "<b>" not in text and "<i>" not in text
  assert text.count(str(markupsafe.escape(EVIL))) == 1 + 1
  assert "<h1>Run <bdi>&lt;b&gt;run</bdi></h1>" in text
  assert not re.search(r"(?:src|href)=[\"'](?!data:)", text)
  assert "http" not in text.replace("http-equiv", "") and len(text) < 3_000_000


def test_validation_scores_stand_beside_the_originals(run):
  head = "answers,images,top_1,top_5,top_20\n"
  (run / "weights" / CSV).write_text(
    head + '"all 21,841",50000,0.1,0.2,0.3\n"all 21,841",50000,0.401,0.2,0.3\n'
    '"all 21,841",139,0.9,0.9,0.9\n999 of ilsvrc2012,50000,0.6,0.7,0.8\n'
  )
  run_page.report(run)
  text = (run / "report.html").read_text(encoding="utf-8")
  assert "<td>40.1 %</td><td>41.9 %</td>" in text
  assert "<td>80.0 %</td><td>96.0 %</td>" in text
  assert "not measured" not in text


def test_an_unfinished_run_has_a_page_without_answers(run):
  (run / "weights" / "model.json").unlink()
  (run / "environment.json").unlink()
  (run / "metrics.jsonl").write_text("")
  result = run_page.report(run)
  assert (result["finished"], result["images"], result["top_1"]) == (False, 0, None)
  text = (run / "report.html").read_text(encoding="utf-8")
  assert "has not ended" in text and "did not record it" in text
  assert "Nothing has been measured yet" in text
  assert "no weights to evaluate" in run_page.text(result)


def test_calibrated_probabilities_are_shown_where_there_are(run):
  def share():
    run_page.report(run)
    text = (run / "report.html").read_text(encoding="utf-8")
    return re.search(r"this one predicted windmill \((\d+%)\)", text)[1]

  before = share()
  calibration.save(
    run / "weights" / weights.ARRAYS, calibration.Calibration(0.2, {}, 5)
  )
  assert share() != before


def test_what_is_wrong_with_a_run_is_told(run, tmp_path):
  with pytest.raises(FileNotFoundError, match="holds no run"):
    run_page.report(tmp_path)
  with pytest.raises(ValueError, match="images is 0"):
    run_page.report(run, images=0)
  (tmp_path / "nothing").mkdir()
  with pytest.raises((OSError, ValueError), match="nothing"):
    run_page.report(run, data=tmp_path / "nothing")
  (run / "config.json").write_text("{}")
  with pytest.raises(ValueError, match=r"config\.json names no photos: give --data"):
    run_page.report(run)
  for wrong in ("{", "[]"):
    (run / "config.json").write_text(wrong)
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
      run_page.report(run)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(375, False), (375, True), (1280, False)])
def test_browser_and_axe_find_no_fault(run, check_page, width, dark):
  run_page.report(run)
  check_page(run / "report.html", width, dark)
