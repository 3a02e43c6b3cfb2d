"""The page: escaped, small, without network, and sound in a real browser."""

import html
import re
import shutil
import subprocess

import numpy as np
import pytest

from im21k import synsets
from im21k.inference import calibrate, page, predict

FULL = synsets.imagenet21k()
CHROMIUM = shutil.which("chromium")


@pytest.fixture
def written(linear_weights, sample_photos, tmp_path):
  """A page of twenty photos, one with a dangerous name."""
  rng = np.random.default_rng(0)
  kernel = rng.normal(scale=1 / 60, size=(48, len(FULL))).astype(np.float32)
  linear_weights(kernel, np.zeros(len(FULL), np.float32), FULL).save(tmp_path / "w")
  calibrate.save(tmp_path / "w", calibrate.Calibration(1.0, {0.9: 2.0}, 5))
  photos = sorted(sample_photos.rglob("*.jpg"))[:20]
  evil = tmp_path / "<script>alert(1)<|script>\"'.jpg"
  shutil.copy(photos[0], evil)
  predict(tmp_path / "w", evil, *photos[1:], report=tmp_path / "page.html")
  return tmp_path / "page.html"


def test_page_is_small_escaped_and_needs_no_network(written):
  text = written.read_text(encoding="utf-8")
  assert len(text.encode()) < 3_000_000
  assert "<script" not in text
  assert html.escape("<script>alert(1)<|script>\"'.jpg") in text
  assert not re.search(r"(?:src|href)=[\"'](?!data:)", text)
  assert "http" not in text
  assert text.count("<section>") == text.count("<img alt=") == 20
  assert text.count("<h3>Hedged, right in 90%</h3>") == 20
  assert text.count("<details open>") >= 20 and text.count("<svg ") == 20


@pytest.mark.skipif(not CHROMIUM, reason="there is no chromium")
def test_browser_reads_the_page_without_an_error(written, tmp_path):
  command = [
    CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
    f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", written.as_uri(),
  ]  # fmt: skip
  done = subprocess.run(command, capture_output=True, text=True, timeout=120)
  assert done.returncode == 0
  assert "CONSOLE" not in done.stderr
  assert done.stdout.count("<section>") == 20
  assert done.stdout.count("</details>") == written.read_text().count("</details>")


def test_more_photos_than_a_page_holds_are_refused(tmp_path):
  many = [tmp_path / "a.jpg"] * (page.MOST_PHOTOS + 1)
  with pytest.raises(ValueError, match="a report has room for 50 images, but 51"):
    predict(tmp_path, *many, report=tmp_path / "page.html")
