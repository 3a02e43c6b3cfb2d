"""Pages in a real browser: axe-core's checks in it."""

import importlib.util
from pathlib import Path

import pytest


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
    run = "const done = arguments[0]; axe.run(document).then(done)"
    first = driver.execute_async_script(run)
    # axe cannot judge what is scrolled out of sight.
    driver.execute_script(
      "for (const one of document.querySelectorAll('.wide')) {"
      "one.style.overflow = 'visible'; one.style.maxHeight = 'none';}"
    )
    result = driver.execute_async_script(run)
    passed = {rule["id"] for rule in result["passes"]}
    # It did look.
    photos = {"image-alt"} if driver.find_elements("tag name", "img") else set()
    assert {"color-contrast", "document-title"} | photos <= passed
    violations = [
      (rule["id"], [node["html"][:200] for node in rule["nodes"]])
      for rule in first["violations"] + result["violations"]
    ]
    assert violations == []
    # axe cannot judge the contrast of letters over lines of a drawing.
    unsure = [
      (rule["id"], node["html"][:200])
      for rule in result["incomplete"]
      for node in rule["nodes"]
    ]
    assert [one for one in unsure if not one[1].startswith("<text")] == []
    return driver

  return check
