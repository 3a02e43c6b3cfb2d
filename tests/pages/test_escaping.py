"""No name becomes markup: each that reaches a page is one that would be a script."""

import base64
import hashlib
import html.parser
import json
import re

import numpy as np
import pytest

from im21k import synsets
from im21k.pages import photo_page, report
from im21k.synsets import hierarchy, lookup

FULL = synsets.imagenet21k()
EVIL = "<script>alert(1)</script>\"'& <b onclick='x'>"
TAGS = {
  "html", "head", "meta", "link", "title", "style", "body", "main", "h1", "h2",
  "h3", "section", "img", "table", "thead", "tbody", "tr", "th", "td", "svg",
  "path", "line", "text", "bdi", "details", "summary", "p", "div", "figure",
  "figcaption", "script", "nav", "a", "dl", "dt", "dd", "small", "span", "ul", "li",
  "rect", "circle", "strong", "input", "code",
}  # fmt: skip
ATTRIBUTES = {
  "lang", "charset", "http-equiv", "name", "content", "rel", "href", "alt", "src",
  "class", "scope", "viewbox", "role", "aria-label", "d", "x", "y", "x1", "x2", "y1",
  "y2", "opacity", "text-anchor", "stroke-width", "open", "id", "width", "height",
  "cx", "cy", "r", "preserveaspectratio", "aria-hidden", "tabindex", "hidden", "type",
  "placeholder", "aria-describedby", "data-top", "data-base", "data-unit", "data-name",
  "data-x", "data-texts", "data-rows", "data-path",
}  # fmt: skip


class Page(html.parser.HTMLParser):
  """Tags and attributes of a page, and where a text stands in it."""

  def __init__(self, path):
    super().__init__(convert_charrefs=True)
    self.tags, self.attributes, self.places, self.inside = set(), set(), set(), []
    self.feed(path.read_text(encoding="utf-8"))
    self.close()

  def handle_starttag(self, tag, attrs):
    self.inside.append(tag)
    self.tags.add(tag)
    for name, value in attrs:
      self.attributes.add(name)
      if value and EVIL in value:
        self.places.add(f"{tag} {name}")

  def handle_endtag(self, tag):
    while self.inside and self.inside.pop() != tag:
      pass

  def handle_data(self, data):
    if EVIL in data:
      self.places.add(self.inside[-1])


def check(path, *places):
  """The page has sound markup, and `EVIL` as plain text in these places only."""
  page = Page(path)
  assert page.tags <= TAGS and page.attributes <= ATTRIBUTES
  assert page.places == set(places)


# The page about photos.


@pytest.fixture
def photos(tmp_path):
  """Writes the page: (name, heading, answer) of one photo."""

  def photos(name="a.jpg", heading="Flat", answer="fir"):
    top = [{"synset": FULL.synsets[0], "name": answer, "probability": 0.5}]
    p = np.zeros(len(FULL), np.float32)
    p[:3] = 0.3
    described = photo_page.PhotoAnswers(
      name, np.zeros((8, 8, 3), np.uint8), p, {heading: top}
    )
    path = tmp_path / "page.html"
    photo_page.write(path, hierarchy.over(FULL), [described])
    return path

  return photos


@pytest.mark.parametrize(
  ("name", "places"),
  [
    ("name", ("bdi", "img alt")),
    ("heading", ("h3",)),
    ("answer", ("bdi", "strong")),
  ],
)
def test_name_of_a_photo_a_heading_or_an_answer(photos, name, places):
  check(photos(**{name: EVIL}), *places)


def test_name_of_a_class_in_plot_and_tree(photos, monkeypatch):
  monkeypatch.setattr(lookup, "distinct_name", lambda synset: f"{EVIL} {synset}")
  check(photos(), "svg aria-label", "svg data-path", "svg data-name", "title", "p")


# The page about a run.


@pytest.fixture(scope="module")
def released_for():
  """A linear model that answers windmill to everything."""
  bias = np.zeros(len(FULL), np.float32)
  bias[FULL.index("n04587559")] = 3
  return np.zeros((48, len(FULL)), np.float32), bias, FULL


@pytest.fixture
def run(released_for, linear_weights, packed, tmp_path):
  """Writes the page: (name of the work folder, config, environment, keys of a row)."""

  def run(workdir="run", config=None, environment=None, row=None):
    folder = tmp_path / workdir
    linear_weights(*released_for).save(folder / "weights")
    files = {
      "config.json": {"data": str(packed), **(config or {})},
      "environment.json": environment or {},
      "metrics.jsonl": {"step": 1, "images": 100, "train_top_1": 0.25, **(row or {})},
    }
    for name, document in files.items():
      (folder / name).write_text(json.dumps(document) + "\n")
    report.report(folder, images=20, page_file=tmp_path / "page.html")
    return tmp_path / "page.html"

  return run


@pytest.mark.slow
@pytest.mark.parametrize(
  ("changed", "places"),
  [
    # A name of a folder has no slash.
    ({"config": {EVIL: 1}}, ("bdi",)),
    ({"config": {"note": EVIL}}, ("bdi",)),
    ({"config": {"classes": EVIL}}, ("bdi",)),
    ({"config": {"model": {"name": EVIL}}}, ("bdi",)),
    ({"config": {"history": [EVIL]}}, ("bdi",)),
    ({"environment": {EVIL: "4"}}, ("bdi",)),
    ({"environment": {"devices": EVIL}}, ("bdi",)),
    (
      {"row": {"eval_set": EVIL, "eval_top_1": 0.5}},
      ("dt", "svg aria-label", "span", "path data-name"),
    ),
  ],
  ids=[
    "config key",
    "config value",
    "differing value",
    "model",
    "history",
    "environment key",
    "environment value",
    "evaluation set",
  ],
)
def test_text_of_a_runs_files(run, changed, places):
  check(run(**changed), *places)


def test_values_inside_values_of_a_config(run, monkeypatch):
  page = run(config={"nested": {"<b>": ["<i>"]}})
  check(page)
  assert "&lt;b&gt;" in page.read_text(encoding="utf-8")


def test_name_of_the_work_folder(run, monkeypatch):
  name = EVIL.replace("/", "|")
  monkeypatch.setitem(globals(), "EVIL", name)
  # The parser leaves alone what it sees within the title.
  check(run(workdir=name), "title", "bdi")


def test_name_of_a_class_or_branch(run, monkeypatch):
  monkeypatch.setattr(lookup, "distinct_name", lambda synset: f"{EVIL} {synset}")
  check(
    run(), "th", "img alt", "strong", "small", "span", "summary", "td",
    "div aria-label",
  )  # fmt: skip


@pytest.mark.parametrize(
  ("name", "shown"),
  [
    ("a\x1b[2Jb\r\n.jpg", r"a\x1b[2Jb\r\n.jpg"),
    ("\u202egpj.exe", r"\u202egpj.exe"),
    ("</script>\u2028'.jpg", r"&lt;/script&gt;\u2028&#39;.jpg"),
    ("caf\udce9.jpg", r"caf\xe9.jpg"),
    ("تمرين.jpg", "تمرين.jpg"),
  ],
)
def test_what_cannot_be_seen_in_a_name_is_written_out(photos, name, shown):
  text = photos(name).read_bytes().decode("utf-8")
  assert f"<h2><bdi>{shown}</bdi></h2>" in text and f'alt="{shown}"' in text


def test_the_policy_allows_the_styles_of_the_page_alone(photos):
  text = photos().read_text(encoding="utf-8")
  (policy,) = re.findall(
    r'<meta http-equiv="Content-Security-Policy" content="(.*)">', text
  )
  (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
  (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)

  def digest(content):
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()

  assert policy == (
    f"default-src 'none'; img-src data:; style-src 'sha256-{digest(style)}'; "
    f"script-src 'sha256-{digest(script)}'; base-uri 'none'; form-action 'none'"
  )
  assert text.count("<script") == 1 and " style=" not in text


def test_the_checks_see_what_is_not_escaped(tmp_path):
  path = tmp_path / "bad.html"
  for bad in (f"<p>{EVIL}</p>", f'<img alt="{EVIL}">', "<p onclick='x'>a</p>"):
    path.write_text(f"<html>{bad}</html>")
    with pytest.raises(AssertionError):
      check(path, "p", "img alt")
