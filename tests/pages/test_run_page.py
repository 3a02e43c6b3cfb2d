"""The page about a run: true numbers, escaped, sound in a browser."""

import json
import re

import markupsafe
import numpy as np
import pytest

from im21k import synsets, weights
from im21k.answers import calibration
from im21k.evaluation.results import CSV
from im21k.pages import report

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
  result = report.report(run, split="train")
  assert result["images"] == 139 and result["page"] == str(run / "report.html")
  assert result["top_1"] == pytest.approx(13 / 139)
  text = (run / "report.html").read_text(encoding="utf-8")
  assert (
    "Top-1 accuracy: at the end train 50.00 % at 200 images; held out 12.50 %" in text
  )
  assert "not measured" not in text and "2015" not in text, "nothing to compare"
  assert "139 train photos, top-1 accuracy 9.4 % (5.5 to 15.3 with 95 %)." in text
  worst, best = text.split("<h3>Worst</h3>")[1].split("<h3>Best</h3>")
  best = best.split("<h3>")[0]
  # All that the net ever says is windmill.
  assert best.count("<figure>") == 1 and worst.count("<figure>") == 6
  assert (
    "windmill</strong><span>13 of 13 correct</span><span>this one predicted" in best
  )
  assert "windmill</strong>" not in worst
  assert "<li><span>right</span><span>13 (9.35 %)</span>" in text
  assert text.count('<tr><th scope="row">windmill <span class="quiet">n04587559') == 1
  assert "139 photos, top-1 accuracy 9.35%" in report.text(result)


def test_what_differs_from_the_defaults_is_shown_with_its_meaning(run):
  report.report(run)
  text = (run / "report.html").read_text(encoding="utf-8")
  changed = text.split('<table class="settings">')[1].split("</table>")[0]
  assert "<code>seed</code></th><td><bdi>3</bdi></td>" in changed
  assert "<code>total</code></th><td><bdi>2 epochs</bdi></td>" in changed
  assert "written by <code>im21k pack</code>" in changed and "note" not in changed


def test_a_run_of_1000_rows_is_a_page_below_a_megabyte(run):
  rows = [
    {"step": s, "images": 64 * s, "loss": 9 / s, "train_top_1": s / 1_000, "lr": 0.1,
     "images_per_s": 100 + s % 7, "data_wait_share": 0.01, "epoch": s / 50,
     "peak_host_mib": 900 + s, "train_secs": 0.64 * s}
    for s in range(1, 1_001)
  ]  # fmt: skip
  (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  report.report(run, split="train")
  assert 50_000 < (run / "report.html").stat().st_size < 1_000_000
  text = (run / "report.html").read_text(encoding="utf-8")
  assert "each point is the mean of 3 rows" in text and "10.7 min" in text


def test_nothing_of_files_becomes_markup_and_nothing_is_fetched(run):
  report.report(run)
  text = (run / "report.html").read_text(encoding="utf-8")
  assert text.count("<script>") == 1 == text.count("<script")
  assert "<b>" not in text and "<i>" not in text
  assert text.count(str(markupsafe.escape(EVIL))) == 1 + 1 + 1, (
    "note; devices above and below"
  )
  assert "<h1>Run <bdi>&lt;b&gt;run</bdi></h1>" in text
  assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", text)
  namespace = '"http://www.w3.org/2000/svg"'
  plain = text.replace("http-equiv", "").replace(namespace, "")
  assert "http" not in plain and len(text) < 3_000_000


def test_validation_scores_stand_beside_the_originals(run):
  head = "answers,images,top_1,top_5,top_20\n"
  (run / "weights" / CSV).write_text(
    head + '"all 21,841",50000,0.1,0.2,0.3\n"all 21,841",50000,0.401,0.2,0.3\n'
    '"all 21,841",139,0.9,0.9,0.9\n999 of ilsvrc2012,50000,0.6,0.7,0.8\n'
  )
  report.report(run)
  text = (run / "report.html").read_text(encoding="utf-8")
  assert "<td>40.1 %</td><td>41.9 %</td>" in text
  assert "<td>80.0 %</td><td>96.0 %</td>" in text
  assert text.count("<td>96.0 %</td>") == 1 and "training photos, top-1" not in text


def test_training_accuracy_is_compared_where_a_pass_is_as_long(run):
  rows = [{"step": 9, "images": 14_197_087, "epoch": 1.0, "train_top_1": 0.25}]
  (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  report.report(run)
  text = (run / "report.html").read_text(encoding="utf-8")
  assert "<td>25.0 %</td><td>37.2 %</td>" in text


def test_an_unfinished_run_has_a_page_without_answers(run):
  (run / "weights" / "model.json").unlink()
  (run / "environment.json").unlink()
  (run / "metrics.jsonl").write_text("")
  result = report.report(run)
  assert (result["finished"], result["images"], result["top_1"]) == (False, 0, None)
  text = (run / "report.html").read_text(encoding="utf-8")
  assert "has not ended" in text and "did not record it" in text
  assert "Nothing has been measured yet" in text
  assert "no weights to evaluate" in report.text(result)


def test_of_an_unfinished_run_its_weights_until_now_are_evaluated(run):
  document = json.loads((run / "weights" / "model.json").read_text())
  document["config"] = {"step": 40}
  (run / "weights" / "model.json").write_text(json.dumps(document))
  (run / "weights").rename(run / "latest")
  result = report.report(run, split="train")
  assert (result["finished"], result["step"], result["images"]) == (False, 40, 139)
  text = (run / "report.html").read_text(encoding="utf-8")
  assert "what follows is about its weights latest/ of step 40." in text
  assert "Confusion by branch" in text
  assert "the run has not ended" in report.text(result)


def test_calibrated_probabilities_are_shown_where_there_are(run):
  def share():
    report.report(run)
    text = (run / "report.html").read_text(encoding="utf-8")
    return re.search(r"this one predicted windmill \((\d+%)\)", text)[1]

  before = share()
  calibration.save(
    run / "weights" / weights.ARRAYS, calibration.Calibration(0.2, {}, 5)
  )
  assert share() != before


def test_what_is_wrong_with_a_run_is_told(run, tmp_path):
  with pytest.raises(FileNotFoundError, match="holds no run"):
    report.report(tmp_path)
  with pytest.raises(ValueError, match="images is 0"):
    report.report(run, images=0)
  (tmp_path / "nothing").mkdir()
  with pytest.raises((OSError, ValueError), match="nothing"):
    report.report(run, data=tmp_path / "nothing")
  (run / "config.json").write_text("{}")
  with pytest.raises(ValueError, match=r"config\.json names no photos: give --data"):
    report.report(run)
  for wrong in ("{", "[]"):
    (run / "config.json").write_text(wrong)
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
      report.report(run)


def test_rows_that_cannot_be_a_runs_are_refused(run):
  for row, message in (
    ({"step": 1, "train_top_1": 0.5}, "a row without images"),
    ({"step": 1, "images": "many"}, "line 1 of .* 'images' is 'many'"),
  ):
    (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=message):
      report.report(run)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(375, True), (1280, False), (1920, True)])
def test_browser_and_axe_find_no_fault(run, check_page, width, dark):
  report.report(run)
  driver = check_page(run / "report.html", width, dark)
  if width == 1280:
    hovered(driver)
    searched(driver)


def hovered(driver):
  """A chart that the keyboard reaches says the values at the cursor."""
  driver.execute_script("document.querySelector('.plot>svg').focus()")
  tip = "return document.querySelector('.tip:not([hidden])').innerText"
  assert driver.execute_script(tip).split("\n") == [
    "200 images", "train 50.00 %", "held out 12.50 %"
  ]  # fmt: skip
  key = "new KeyboardEvent('keydown', {key: 'ArrowLeft'})"
  driver.execute_script(f"document.activeElement.dispatchEvent({key})")
  assert driver.execute_script(tip).startswith("100 images")
  driver.execute_script("document.activeElement.blur()")
  assert driver.execute_script("return document.querySelector('.tip').hidden")


def searched(driver):
  """The field is there with a script only, and leaves what holds its text."""
  shown = driver.execute_script(
    """
    const field = document.querySelector('.filter');
    field.value = 'N04587559 ';
    field.dispatchEvent(new Event('input'));
    const rows = [...document.getElementById('class-rows').children];
    return [field.hidden, rows.filter((row) => !row.hidden).map((row) => row.innerText),
            document.getElementById('found').textContent];
    """
  )
  assert not shown[0] and len(shown[1]) == 1 and shown[1][0].startswith("windmill")
  assert shown[2].startswith("1 of ")
