"""The page: escaped, small, without network, and sound in a real browser."""

import re
import shutil

import numpy as np
import pytest

from im21k import synsets, weights
from im21k.answers import calibration
from im21k.inference.predict import predict
from im21k.pages import photo_page
from im21k.synsets import hierarchy

FULL = synsets.imagenet21k()


@pytest.fixture
def written(linear_weights, sample_photos, tmp_path):
  """A page of twenty photos, one with a dangerous name."""
  rng = np.random.default_rng(0)
  kernel = rng.normal(scale=1 / 60, size=(48, len(FULL))).astype(np.float32)
  linear_weights(kernel, np.zeros(len(FULL), np.float32), FULL).save(tmp_path / "w")
  calibration.save(
    tmp_path / "w" / weights.ARRAYS, calibration.Calibration(1.0, {0.9: 2.0}, 5)
  )
  photos = sorted(sample_photos.rglob("*.jpg"))[:20]
  evil = tmp_path / "<script>alert(1)<|script>\"'.jpg"
  shutil.copy(photos[0], evil)
  predict(tmp_path / "w", evil, *photos[1:], report=tmp_path / "page.html")
  return tmp_path / "page.html"


def test_page_is_small_escaped_and_needs_no_network(written):
  text = written.read_text(encoding="utf-8")
  assert len(text.encode()) < 3_000_000
  assert text.count("<script") == 1, "its own, which the policy names"
  name = "&lt;script&gt;alert(1)&lt;|script&gt;&#34;&#39;.jpg"
  assert f"<h2><bdi>{name}</bdi></h2>" in text
  assert f"<small><bdi>{name}</bdi></small>" in text
  assert not re.search(r"(?:src|href)=[\"'](?!data:|#photo-)", text)
  namespace = '"http://www.w3.org/2000/svg"'
  assert "http" not in text.replace("http-equiv", "").replace(namespace, "")
  assert text.count("<section id=") == text.count('<figure class="icicle">') == 20
  assert text.count("<img alt=") == 40 == text.count('href="#photo-') + 20
  assert text.count("<h3>Hedged for 90% accuracy</h3>") == 20


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(375, False), (1280, True), (1920, False)])
def test_browser_and_axe_find_no_fault(written, check_page, width, dark):
  driver = check_page(written, width, dark)
  assert (
    driver.execute_script("return document.querySelectorAll('section').length") == 20
  )
  assert driver.execute_script("return getComputedStyle(document.body).color") == (
    "rgb(232, 235, 238)" if dark else "rgb(23, 26, 31)"
  )
  if width < 1920:  # The overview is within two screens.
    end = "return document.querySelector('.overview').getBoundingClientRect().bottom"
    assert driver.execute_script(end) < 2 * 800


@pytest.mark.slow
def test_an_icicle_says_and_enlarges_what_the_keyboard_reaches(written, browse):
  driver = browse(written)
  state = """
    const figure = document.querySelector('.icicle');
    const nodes = [...figure.querySelectorAll('.node')];
    return [figure.querySelector('.note').textContent, nodes[0].dataset.path,
            nodes[0].getAttribute('width'), nodes.map((n) => n.getAttribute('x'))];
  """
  usual, path, width, places = driver.execute_script(state)
  driver.execute_script("document.querySelector('.icicle svg').focus()")

  def press(key):
    event = f"new KeyboardEvent('keydown', {{key: '{key}'}})"
    driver.execute_script(f"document.activeElement.dispatchEvent({event})")
    return driver.execute_script(state)

  assert press("ArrowRight")[0] == path != usual
  assert press("Enter")[2] == "100%" != width
  back = press("Escape")
  assert (back[0], back[2]) == (usual, width)
  assert [float(x[:-1]) for x in back[3]] == pytest.approx(
    [float(x[:-1]) for x in places]
  )


def test_answers_that_read_the_same_have_one_heading():
  fir = {"synset": "n1", "name": "fir", "probability": 0.50001}
  oak = {"synset": "n2", "name": "oak", "probability": 0.3}
  answers = {
    "Flat": [fir, oak], "Diverse": [{**fir, "probability": 0.5}, oak], "Hedged": [fir]
  }  # fmt: skip
  assert list(photo_page.distinct(answers)) == ["Flat and diverse", "Hedged"]
  answers["Diverse"] = [oak, fir]
  assert list(photo_page.distinct(answers)) == ["Flat", "Diverse", "Hedged"]
  alike = {"Flat": [fir], "Diverse": [fir], "Hedged": [fir]}
  assert list(photo_page.distinct(alike)) == ["Flat and diverse and hedged"]


@pytest.mark.parametrize(
  ("headings", "name"),
  [
    ({"Flat": "fir", "Diverse": "tree"}, "fir"),
    ({"Flat": "fir", "Diverse": "tree", "Hedged for 90% accuracy": "fir"}, "fir"),
    ({"Flat": "fir", "Diverse": "tree", "Hedged for 90% accuracy": "plant"}, "plant"),
    ({"Flat": ""}, None),
  ],
)
def test_the_overview_names_the_hedged_answer_or_else_the_likeliest(headings, name):
  answers = {
    heading: [{"synset": one, "name": f"{one}, a", "probability": 0.5}] if one else []
    for heading, one in headings.items()
  }
  photo = photo_page.PhotoAnswers(
    "a", np.zeros((8, 8, 3), np.uint8), np.full(len(FULL), 1e-4, np.float32), answers
  )
  shown = photo_page._shown(hierarchy.over(FULL), photo)["best"]
  assert shown == (name and (name, "50.0 %"))


@pytest.mark.slow
def test_what_is_enlarged_is_named_where_there_is_room(browse, tmp_path):
  graph = hierarchy.over(FULL)
  p = np.zeros(len(FULL), np.float32)
  p[graph.below(graph.node["n02084071"])[:6]] = 0.02  # Dogs, too narrow for a name.
  p[graph.below(graph.node["n13104059"])[:4]] = 0.22
  photo = photo_page.PhotoAnswers("a", np.zeros((8, 8, 3), np.uint8), p, {})
  photo_page.write(tmp_path / "page.html", graph, [photo])
  driver = browse(tmp_path / "page.html", 1280)
  texts = """
    const nodes = [...document.querySelectorAll('.icicle .node')];
    return nodes.filter((node) => node.getAttribute('visibility') !== 'hidden'
      && node.getBoundingClientRect().width > 100).map((node) => {
        const text = node.querySelector('.wide-only');
        return [node.dataset.name, text.textContent,
          text.getComputedTextLength() < node.getBoundingClientRect().width];
      })"""
  driver.execute_script(
    "document.querySelector('.icicle .node[data-name^=\"dog 1\"]')"
    ".dispatchEvent(new MouseEvent('click', {bubbles: true}))"
  )
  shown = driver.execute_script(texts)
  assert len(shown) >= 6
  assert all(text and (text == name or text[-1] == "…") for name, text, _ in shown)
  assert all(fits for _, _, fits in shown)


@pytest.mark.slow
def test_a_bad_page_is_found_out(check_page, tmp_path):
  """Else the checks could pass whatever the page is."""
  path = tmp_path / "bad.html"
  text = (
    '<!doctype html><html lang="en"><title>t</title><main><h1>t</h1>'
    '<img alt="x" src="data:,">{}</main></html>'
  )
  path.write_text(text.format(""))
  check_page(path, 375, False)
  for wrong in (
    "<p style='color:#ccc;background:#fff'>pale</p>",
    "<img src='data:,'>",
    "<script>console.error(1)</script>",
    "<div style='width:600px'>wide</div>",
  ):
    path.write_text(text.format(wrong))
    with pytest.raises(AssertionError):
      check_page(path, 375, False)


@pytest.mark.slow
def test_the_tree_opens_and_closes_by_keyboard(written, browse):
  from selenium.webdriver.common.keys import Keys

  driver = browse(written)
  driver.execute_script("document.querySelector('.icicle svg').focus()")
  driver.switch_to.active_element.send_keys(Keys.TAB)
  reached = driver.switch_to.active_element
  assert reached.tag_name == "summary"
  was = "return document.activeElement.parentElement.open"
  before = driver.execute_script(was)
  reached.send_keys(Keys.ENTER)
  assert driver.execute_script(was) is not before
  reached.send_keys(Keys.SPACE)
  assert driver.execute_script(was) is before


def test_more_photos_than_a_page_holds_are_refused(tmp_path):
  many = [tmp_path / "a.jpg"] * (photo_page.MOST_PHOTOS + 1)
  with pytest.raises(
    ValueError, match="a report has room for 50 photos, but there are 51"
  ):
    predict(tmp_path, *many, report=tmp_path / "page.html")
