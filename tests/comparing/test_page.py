"""The page of compared runs: what it says, and that names are text; in a browser."""

import json
import re

import pytest

from im21k.comparing.compare import compare

from ..pages import conftest as pages
from . import test_compare

run, many, check_page = test_compare.run, test_compare.many, pages.check_page


@pytest.fixture
def page(run, many, tmp_path):
  """Two runs of three that differ in a key; the third has no weights yet."""
  a, b = run("a", 0), run("<b>&", 1, **{"optimizer.weight_decay": 0.1})
  c = run("c", **{"seed": 5})
  (b / "environment.json").write_text('{"devices": "4 x gpu"}')
  document = json.loads((c / "config.json").read_text())
  document["history"] = [[400, "workers", 2, 0]]
  (c / "config.json").write_text(json.dumps(document))
  (many / "n02512053" / "bad.jpg").write_bytes(b"no photo")
  result = compare(a, b, c, data=many, batch_size=8)
  assert result["page"] == str(tmp_path / "compare.html")
  return tmp_path / "compare.html"


def plain(page):
  """A page's text, without tags."""
  text = re.sub(r"<(script|style).*?</\1>", "", page.read_text(), flags=re.DOTALL)
  return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_it_says_what_the_text_says(page):
  said = plain(page)
  for part in (
    "3 runs compared The settings differ in optimizer.weight_decay, seed.",
    "optimizer.weight_decay 1e-05 0.1 1e-05",
    "c: at step 400: workers was 2, is 0",
    "Held-out top-1 at 16 images, which all have reached: a 25.00 %",
    "40 photos of",
    "Top-1 against a on the same 40 photos (McNemar, exact):",
    "1 photo left out, without pixels or class",
    "ran on a &lt;b&gt;&amp; c",
  ):
    assert part in said, part
  html = page.read_text()
  assert "<b>&" not in html and html.count('<figure class="chart">') == 5
  assert html.count('class="same"') == 3


def test_more_runs_than_lines_are_said(run, tmp_path):
  compare(*(run(f"r{at}", seed=at) for at in range(8)))
  said = plain(tmp_path / "compare.html")
  assert "Not drawn, for a chart has six lines at most: r6, r7." in said
  assert "Not compared: no run has weights yet." in said


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(375, False), (1280, True)])
def test_in_a_browser(page, check_page, width, dark):
  check_page(page, width, dark)
