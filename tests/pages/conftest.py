"""Pages in a real browser: headless Chromium, and axe-core's checks in it."""

import importlib.util
import shutil
from pathlib import Path

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
# Seconds. Far beyond what any step takes, so that a busy machine is no failure.
PATIENCE = 900


@pytest.fixture
def browse(tmp_path, need):
  """Opens a page: (path, width, dark) -> a selenium driver; needs a browser."""
  need(
    CHROMIUM and DRIVER and importlib.util.find_spec("selenium"),
    "pages need a browser: apt-get install chromium chromium-driver, and "
    "pip install 'im21k[browser]'",
  )
  from selenium import webdriver

  opened = []

  def browse(path, width=375, dark=False):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
      options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path / f'profile{len(opened)}'}")
    options.timeouts = {"script": PATIENCE * 1000, "pageLoad": PATIENCE * 1000}
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    opened.append(driver)
    # The connection to the driver has a limit of its own, 120 s by default.
    driver.command_executor.client_config.timeout = PATIENCE
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
def check_page(browse, need):
  """What every page must be: without errors, legible on a phone, sound to axe-core."""
  spec = importlib.util.find_spec("axe_playwright_python")
  need(spec, "axe-core is missing: pip install 'im21k[browser]'")
  axe = (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")

  def check(path, width, dark):
    driver = browse(path, width, dark)
    assert driver.get_log("browser") == []
    sides = "const e = document.documentElement; return [e.scrollWidth, e.clientWidth]"
    inside, visible = driver.execute_script(sides)
    assert inside <= visible <= width
    driver.execute_script(axe)
    result = driver.execute_async_script(
      "const done = arguments[0]; axe.run(document).then(done)"
    )
    passed = {rule["id"] for rule in result["passes"]}
    # It did look.
    assert {"color-contrast", "image-alt", "document-title"} <= passed
    violations = [
      (rule["id"], [node["html"][:200] for node in rule["nodes"]])
      for rule in result["violations"]
    ]
    assert violations == []
    # axe cannot judge the contrast of letters over lines of a drawing.
    unsure = [node["html"] for rule in result["incomplete"] for node in rule["nodes"]]
    assert all(text.startswith("<text") for text in unsure)
    return driver

  return check
