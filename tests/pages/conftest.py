"""Pages in a real browser: headless Chromium, and axe-core's checks in it."""

import importlib.util
import shutil
from pathlib import Path

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture
def browse(tmp_path):
  """Opens a page: (path, width, dark) -> a selenium driver; skips without a browser."""
  webdriver = pytest.importorskip("selenium.webdriver")
  if not (CHROMIUM and DRIVER):
    pytest.skip("there is no chromium with its driver (Debian: chromium-driver)")
  opened = []

  def browse(path, width=375, dark=False):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
      options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path / f'profile{len(opened)}'}")
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    opened.append(driver)
    shape = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.get(path.as_uri())
    return driver

  yield browse
  for driver in opened:
    driver.quit()


@pytest.fixture
def check_page(browse):
  """What every page must be: without errors, legible on a phone, sound to axe-core."""
  spec = importlib.util.find_spec("axe_playwright_python")
  if not spec:
    pytest.skip("axe-playwright-python is not installed: pip install 'im21k[browser]'")
  axe = (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")

  def check(path, width, dark):
    driver = browse(path, width, dark)
    assert driver.get_log("browser") == []
    sides = "const e = document.documentElement; return [e.scrollWidth, e.clientWidth]"
    inside, visible = driver.execute_script(sides)
    assert inside <= visible <= width
    driver.execute_script(axe)
    found = driver.execute_async_script(
      "const done = arguments[0]; axe.run(document).then(done)"
    )
    passed = {rule["id"] for rule in found["passes"]}
    # It did look.
    assert {"color-contrast", "image-alt", "document-title"} <= passed
    told = [
      (r["id"], [n["html"][:200] for n in r["nodes"]]) for r in found["violations"]
    ]
    assert told == []
    # It cannot tell the contrast of letters over lines of a drawing.
    unsure = [n["html"] for rule in found["incomplete"] for n in rule["nodes"]]
    assert all(text.startswith("<text") for text in unsure)
    return driver

  return check
