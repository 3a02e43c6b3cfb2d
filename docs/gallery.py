"""The demo's run -> pictures of every page, in `docs/gallery/`: `make gallery`.

In come `runs/demo` and `runs/demo-photos`, as `make demo` leaves them. A second run,
with another learning rate, is trained for the page that compares two. The pages stay in
`runs/gallery`, where a browser shows them as they are.
"""

import io
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from selenium import webdriver

ROOT = Path(__file__).parent.parent
DEMO, PHOTOS = Path("runs/demo"), Path("runs/demo-photos")
PAGES, PICTURES = Path("runs/gallery"), Path("docs/gallery")
OTHER = PAGES / "demo-half-rate"
# Photos of different kinds; some are held out, some were trained on.
SHOWN = (
  "n01443537", "n02128925", "n02374451", "n03001627", "n03147509", "n04258138",
  "n04587559", "n04148054", "n01818515", "n02510455", "n02512053", "n04486054",
  "n02984061", "n02395406",
)  # fmt: skip
# Page, width and height in pixels, dark: each is a picture.
SHOTS = {
  "photos": ("photos.html", 1280, 1330, False),
  "photos-phone": ("photos.html", 390, 1330, True),
  "run": ("run.html", 1280, 1500, False),
  "run-dark": ("run.html#confusion", 1280, 900, True),
  "data": ("data.html", 1280, 1100, False),
  "compare": ("compare.html", 1280, 1300, False),
}


def main() -> None:
  """Makes the pages and their pictures."""
  if not (DEMO / "weights").is_dir():
    raise SystemExit(f"{DEMO} has no weights: make demo")
  shutil.rmtree(PAGES, ignore_errors=True)
  PAGES.mkdir(parents=True)
  weights, held_out = str(DEMO / "weights"), ["--split", "eval"]
  command("train", "demo", "--workdir", str(OTHER), "--config.schedule.peak=0.1")
  command("predict", weights, *photos(), "--report", str(PAGES / "photos.html"))
  page = str(PAGES / "run.html")
  command("report", str(DEMO), "--page-file", page, *held_out)
  command("report", str(PHOTOS), "--page-file", str(PAGES / "data.html"))
  page = str(PAGES / "compare.html")
  command("compare", str(DEMO), str(OTHER), "--page-file", page)
  shutil.rmtree(PICTURES, ignore_errors=True)
  PICTURES.mkdir(exist_ok=True)
  for name, (page, width, height, dark) in SHOTS.items():
    picture = PICTURES / f"{name}.webp"
    taken(PAGES / page, width, height, dark).save(picture, quality=85, method=6)
    print(picture)


def command(*arguments: str) -> None:
  """Runs `im21k` with these arguments."""
  subprocess.run([sys.executable, "-m", "im21k", *arguments], check=True)


def photos() -> list[str]:
  """The first sample photo of each class that is shown, of those that there are."""
  folders = (Path("data/sample_photos") / synset for synset in SHOWN)
  return [str(min(one.glob("*.jpg"))) for one in folders if one.is_dir()]


def taken(page: Path, width: int, height: int, dark: bool) -> Image.Image:
  """A picture of the top of a page, or of the place that it names after a `#`."""
  options = webdriver.ChromeOptions()
  options.binary_location = shutil.which("chromium") or ""
  for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
    options.add_argument(argument)
  service = webdriver.ChromeService(shutil.which("chromedriver") or "")
  driver = webdriver.Chrome(options, service)
  try:
    shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    file, _, place = str(page.resolve()).partition("#")
    driver.get(Path(file).as_uri() + (f"#{place}" if place else ""))
    return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
  finally:
    driver.quit()


if __name__ == "__main__":
  main()
