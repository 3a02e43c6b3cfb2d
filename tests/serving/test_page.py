"""The page in a browser: files in, answers out, other choices, keyboard, axe."""

import importlib.util
from pathlib import Path

import pytest

from im21k.synsets import ClassList

pytestmark = pytest.mark.slow
DOG = "n02084071"


@pytest.fixture
def some(sample_photos):
  found = sorted(sample_photos.rglob("*.jpg"))
  return [str(found[0]), str(found[60])]


class Page:
  """A driver, and what a user sees and does."""

  def __init__(self, driver):
    self.driver = driver
    self.wait("'ready' in document.body.dataset")

  def run(self, script, *arguments):
    return self.driver.execute_script(f"return {script}", *arguments)

  def wait(self, script):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(self.driver, 600, 0.05).until(lambda _: self.run(script))

  def choose(self, paths):
    self.driver.find_element("id", "files").send_keys("\n".join(paths))
    self.wait_for_answers()

  def wait_for_answers(self):
    self.wait("document.getElementById('status').textContent.includes('answered')")

  def slide(self, value):
    self.run(
      "(s => { s.value = arguments[0]; s.dispatchEvent(new Event('input')) })"
      "(document.getElementById('sure'))",
      value,
    )

  def texts(self, selector):
    return self.run(
      "[...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector
    )


@pytest.fixture
def open_page(browse):
  return lambda client, *how: Page(browse(client.url, *how))


def test_chosen_photos_are_answered(client, open_page, some, tmp_path):
  (tmp_path / "notes.txt").write_text("text")
  page = open_page(client)
  page.choose([*some, str(tmp_path / "notes.txt")])
  assert page.texts("#status") == ["2 photos answered, 1 without an answer"]
  assert page.texts(".photo h2") == [*(Path(path).name for path in some), "notes.txt"]
  (reason,) = page.texts(".reason")
  assert reason.startswith("No answer: not an image of a common format")
  assert len(page.texts(".photo img")) == 2  # The third shows nothing.
  for path, (at, _) in zip(some, enumerate(some), strict=True):
    (one,) = client.post(Path(path).read_bytes())[1]["photos"]
    names = page.texts(f".photo:nth-child({at + 1}) .bars span:first-child")
    assert names[:5] == [row["name"] for row in one["flat"]]


def test_dropped_and_pasted_photos_are_answered(client, open_page, some):
  import base64

  page = open_page(client)
  data = base64.b64encode(Path(some[0]).read_bytes()).decode()
  for kind, field in (
    ("DragEvent", "dataTransfer"),
    ("ClipboardEvent", "clipboardData"),
  ):
    event = "drop" if kind == "DragEvent" else "paste"
    page.run("document.getElementById('status').textContent = ''")
    page.run(
      "(async () => {"
      "const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0));"
      "const held = new DataTransfer();"
      "held.items.add(new File([bytes], 'a.jpg', {type: 'image/jpeg'}));"
      f"const held_in = {{{field}: held, bubbles: true}};"
      f"document.dispatchEvent(new {kind}('{event}', held_in));"
      "})()",
      data,
    )
    page.wait_for_answers()
  assert page.texts(".photo h2") == ["a.jpg", "a.jpg"]


def test_the_slider_changes_the_answer_without_a_request(client, open_page, some):
  page = open_page(client)
  page.choose(some[:1])
  asked = page.run("performance.getEntriesByType('resource').length")
  (one,) = client.post(Path(some[0]).read_bytes())[1]["photos"]
  lambdas = client.get("/api/model")[1]["lambdas"]
  seen = []
  for at, accuracy in enumerate(sorted(lambdas, key=float)):
    page.slide(at)
    steps = [
      row for row in one["hedged"]
      if row["least_lambda"] is not None and row["least_lambda"] <= lambdas[accuracy]
    ]  # fmt: skip
    assert page.texts(".hedged strong") == [steps[-1]["name"].partition(",")[0]]
    assert (
      f"right for {float(accuracy) * 100:g} % of photos" in page.texts("#sure-text")[0]
    )
    seen += page.texts(".hedged strong")
  assert seen[-1] == "entity" != seen[0]
  assert page.run("performance.getEntriesByType('resource').length") == asked


def test_without_calibration_the_slider_is_a_probability(served, open_page, some):
  client = served(calibrated=False)
  page = open_page(client)
  page.choose(some[:1])
  (one,) = client.post(Path(some[0]).read_bytes())[1]["photos"]
  for value in (0, 30, 60, 99):
    page.slide(value)
    expected = next(row for row in one["hedged"] if row["probability"] >= value / 100)
    assert page.texts(".hedged strong") == [expected["name"].partition(",")[0]]
    assert page.texts("#sure-text")[0].endswith(f"at least {value} % likely")


def test_own_classes_without_a_hierarchy_have_their_likeliest(served, open_page, some):
  client = served(ClassList("mine", ("my dog", "tom")), calibrated=False)
  page = open_page(client, 390)
  page.choose(some[:1])
  (one,) = client.post(Path(some[0]).read_bytes())[1]["photos"]
  names = [row["name"] for row in one["flat"]]
  assert page.texts(".hedged strong") == names[:1]
  assert page.texts(".bars span:first-child") == names
  assert page.texts(".photo h3") == ["Most likely classes"]
  shown = "[...document.querySelectorAll('.field')].filter(e => e.offsetParent).length"
  assert page.run(shown) == 0


def test_classes_are_searched_and_chosen_by_keyboard(client, open_page, some):
  from selenium.webdriver import ActionChains
  from selenium.webdriver.common.keys import Keys

  page = open_page(client, 390)
  active = lambda: page.driver.switch_to.active_element  # noqa: E731
  press = lambda keys: ActionChains(page.driver).send_keys(keys).perform()  # noqa: E731
  press(Keys.TAB)
  assert active().get_attribute("id") == "files"
  page.choose(some[:1])
  (before,) = client.post(Path(some[0]).read_bytes())[1]["photos"]
  reached = []
  for _ in range(3):
    press(Keys.TAB)
    reached.append(active().get_attribute("id"))
  assert reached == ["sure", "list", "search"]
  press("dog")
  page.wait("document.querySelectorAll('#found button').length > 1")
  press(Keys.TAB)
  assert active().text.startswith("dog, domestic dog")
  press(Keys.ENTER)
  page.wait("document.querySelector('.kinds + .quiet') !== null")
  assert active().get_attribute("id") == "search"
  _, body = client.post(Path(some[0]).read_bytes(), f"?under={DOG}")
  names = page.texts(".bars span:first-child")[:5]
  assert names == [row["name"] for row in body["photos"][0]["flat"]]
  assert page.texts("#chosen button") == ["dog"]
  # The photo shows no dog, and nobody should read that it does.
  assert body["photos"][0]["none"] > 0.5
  assert page.texts(".hedged strong") == ["Probably none of these"]
  press(Keys.TAB)
  press(Keys.SPACE)
  page.wait("document.querySelectorAll('#chosen button').length === 0")
  page.wait("document.querySelector('.kinds + .quiet') === null")
  names = page.texts(".bars span:first-child")[:5]
  assert names == [row["name"] for row in before["flat"]]


def test_a_photo_that_is_held_no_longer_is_sent_again(client, open_page, some):
  page = open_page(client)
  page.choose(some[:1])
  client.service._held._rows.clear()
  page.run(
    "(s => { s.value = 'ilsvrc2012'; s.dispatchEvent(new Event('change')) })"
    "(document.getElementById('list'))"
  )
  page.wait("document.querySelector('.kinds + .quiet') !== null")
  assert len(client.service._held._rows) == 1


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, False)])
def test_browser_and_axe_find_no_fault(client, open_page, some, need, width, dark):
  spec = importlib.util.find_spec("axe_playwright_python")
  need(spec, "axe-core is missing: pip install 'im21k[browser]'")
  axe = (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")
  page = open_page(client, width, dark)
  for step in ("empty", "answered", "docs"):
    if step == "answered":
      page.choose(some)
      page.driver.find_element("id", "search").send_keys("dog")
      page.wait("document.querySelectorAll('#found button').length > 1")
      page.run("document.querySelector('#found button').click()")
      page.wait("document.querySelectorAll('#chosen button').length === 1")
      page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    if step == "docs":
      page.driver.get(f"{client.url}/docs")
    sides = (
      "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    inside, visible = page.run(sides)
    assert inside <= visible <= width
    page.driver.execute_script(axe)
    result = page.driver.execute_async_script(
      "const done = arguments[0]; axe.run(document).then(done)"
    )
    assert {"color-contrast", "document-title"} <= {
      one["id"] for one in result["passes"]
    }
    assert [
      (one["id"], [node["html"][:200] for node in one["nodes"]])
      for one in result["violations"]
    ] == []
  assert page.driver.get_log("browser") == []
