"""The page about packed photos: true numbers, by counting; a sound page."""

import json
import re
import shutil

import pytest

from im21k.packing.pack import pack
from im21k.pages import report

WINDMILL, CAT = "n04587559", "n02121620"
EVIL = "<script>alert(1)</script>.jpg"


@pytest.fixture(scope="module")
def folder(sample_photos, tmp_path_factory):
  """Packed: two classes, one photo of each held out; two rejected, a duplicate."""
  source = tmp_path_factory.mktemp("source")
  shutil.copytree(sample_photos / WINDMILL, source / WINDMILL)
  shutil.copytree(sample_photos / CAT, source / CAT)
  first = min((source / WINDMILL).iterdir())
  shutil.copy(first, source / CAT / "same.jpg")
  shutil.copy(first, source / WINDMILL / "same.jpg")
  (source / CAT / "torn.jpg").write_bytes(first.read_bytes()[:2_000])
  (source / CAT / EVIL.replace("/", "|")).write_text("no photo")
  target = tmp_path_factory.mktemp("packed") / "<b>photos"
  pack(source, target, eval_per_class=1, workers=1)
  return target


def test_the_page_has_the_numbers_of_the_photos(folder):
  result = report.report(folder)
  windmills = 15
  assert result == {
    "page": str(folder / "report.html"), "photos": windmills + 2, "classes": 2,
    "sampled": windmills + 2, "bad": 0,
  }  # fmt: skip
  text = (folder / "report.html").read_text(encoding="utf-8")

  def stat(name):
    return re.search(rf"<dt>{name}</dt><dd>([^<]*)<", text)[1]

  assert stat("Photos") == "17" and stat("To train on") == "15"
  assert stat("Held out") == "2" and stat("Rejected") == "2"
  assert stat("Classes with photos") == "2"
  assert "21,839 of the list have none" in text
  # Three photos are the same: two in a class, and those and another across classes.
  assert stat("Duplicates") == "1" and "3 across classes" in text
  rows = dict(
    re.findall(
      r'<span class="quiet">(n\d{8})</span></th><td>(\d+)</td><td>1</td></tr>', text
    )
  )
  assert rows == {WINDMILL: "14", CAT: "1"}
  assert "17 photos at random" in text and text.count("data:image/jpeg") == 2
  assert ">21,839 classes</span>" in text, "those without photos"
  assert "17 photos of 2 classes, 17 looked at" in report.text(result)


def test_what_packing_did_is_told_with_each_rejected_photo(folder):
  report.report(folder)
  text = (folder / "report.html").read_text(encoding="utf-8")
  kinds = re.findall(
    r'<th scope="row">([\w ]+)</th><td class="number">(\d+)</td><td class="\w*">(\w+)<',
    text,
  )
  assert ("truncated", "1", "reject") in kinds and len(kinds) == 4
  assert ("duplicate across classes", "3", "keep") in kinds
  assert "looked for, and not found" in text and "CMYK" in text
  assert "&lt;script&gt;alert(1)&lt;|script&gt;.jpg" in text
  assert text.count("<script") == 1 and "<b>" not in text
  assert "<code>torn.jpg" not in text and f"{CAT}/torn.jpg" in text


def test_a_sample_is_of_both_splits_and_as_large_as_asked(folder, tmp_path):
  page = tmp_path / "page.html"
  result = report.report(folder, images=8, page_file=page)
  assert (result["sampled"], result["page"]) == (8, str(page))


def test_photos_that_cannot_be_decoded_are_counted(folder, tmp_path, monkeypatch):
  def broken(data):
    raise ValueError("no")

  monkeypatch.setattr("im21k.pages.survey.images.decode", broken)
  result = report.report(folder, page_file=tmp_path / "page.html")
  assert (result["sampled"], result["bad"]) == (17, 17)
  assert "17 more cannot be decoded" in (tmp_path / "page.html").read_text()
  assert "17 photos of these cannot be decoded" in report.text(result)


def test_a_report_of_an_earlier_version_says_what_it_lacks(folder, tmp_path):
  copy = tmp_path / "copy"
  shutil.copytree(folder, copy)
  document = json.loads((copy / "report.json").read_text())
  del document["eval_classes"]
  (copy / "report.json").write_text(json.dumps(document))
  report.report(copy)
  assert "<td>not counted</td>" in (copy / "report.html").read_text()


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"kinds": 3}, "kinds"),
    ({"train_classes": {WINDMILL: -1}}, "train_classes"),
    ({"train_classes": {WINDMILL: "x"}}, "train_classes"),
    ({"train_classes": {WINDMILL: 99}}, "sums to 99, but the manifest says 15"),
    ({"eval_classes": {}}, "eval_classes sums to 0"),
    ({"kinds": {"grey": {"rule": 1, "count": 1, "classes": {}}}}, "rule"),
    ({"duplicates": None}, "duplicates"),
  ],
)
def test_a_damaged_report_is_one_line_with_the_field(folder, tmp_path, change, message):
  copy = tmp_path / "copy"
  shutil.copytree(folder, copy)
  document = {**json.loads((copy / "report.json").read_text()), **change}
  (copy / "report.json").write_text(json.dumps(document))
  with pytest.raises(ValueError, match=rf"report\.json.*{message}"):
    report.report(copy)


def test_options_of_runs_are_refused(folder):
  for option in ({"data": folder}, {"split": "eval"}):
    with pytest.raises(ValueError, match="is for the page of a run"):
      report.report(folder, **option)
  with pytest.raises(ValueError, match="would overwrite"):
    report.report(folder, page_file=folder / "manifest.json")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(375, False), (1280, True)])
def test_browser_and_axe_find_no_fault(folder, check_page, width, dark, tmp_path):
  report.report(folder, page_file=tmp_path / "page.html")
  check_page(tmp_path / "page.html", width, dark)
