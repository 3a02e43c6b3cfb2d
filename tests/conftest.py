"""Four virtual CPU devices stand for four GPUs in all tests."""

import gc
import importlib.metadata
import importlib.util
import io
import os
import shutil
import signal
import tempfile
from pathlib import Path

# Compiling is most of the tests' time: without optimisation it takes 31 s of CPU
# instead of 76 s for a narrow Inception-BN's gradient (2026-11-24, jax 0.10.2).
FLAGS = [
  "--xla_backend_optimization_level=0",
  "--xla_llvm_disable_expensive_passes=true",
]
if importlib.metadata.version("jaxlib").startswith("0.10."):
  # A third less again; later versions end at a flag that they do not know.
  FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([*FLAGS, os.environ.get("XLA_FLAGS", "")])
# What several tests, or programs that they start, compile is compiled once. The folder
# is that of this session; the workers of xdist inherit it.
if "PYTEST_XDIST_WORKER" not in os.environ:
  COMPILED = tempfile.TemporaryDirectory(prefix="im21k-compiled-")
  os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

# In the background of a shell they are ignored, also by programs that tests start.
for number in (signal.SIGINT, signal.SIGHUP):
  if signal.getsignal(number) is signal.SIG_IGN:
    default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    signal.signal(number, default)

import sys
import tarfile
import types
import typing

from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook


def check_shapes(function):
  """Checks the arrays in a function's signature; mypy checks the other types."""
  if hints := {k: v for k, v in function.__annotations__.items() if has_array(v)}:
    function.__annotations__ = hints
    return beartype(function)
  return function


def has_array(hint):
  is_array = isinstance(hint, type) and issubclass(hint, AbstractArray)
  return is_array or any(map(has_array, typing.get_args(hint)))


# The hook finds the function by the name of a module, and before im21k is imported.
sys.modules["shapes_of_im21k"] = types.ModuleType("shapes_of_im21k")
sys.modules["shapes_of_im21k"].check = check_shapes
ROOT = Path(__file__).parent.parent
# Not all of im21k: wrapping what is called for each of 21,841 classes takes minutes.
WITH_SHAPES = [
  ".".join(path.relative_to(ROOT).with_suffix("").parts)
  for path in sorted((ROOT / "im21k").rglob("*.py"))
  if "from jaxtyping import" in path.read_text(encoding="utf-8")
]
install_import_hook(WITH_SHAPES, "shapes_of_im21k.check")

import jax
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import HealthCheck, settings
from PIL import Image

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.devices()  # From here on no test can change their number.

# A busy machine is no failure.
settings.register_profile(
  "im21k", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("im21k")


def pytest_collection_finish():
  """Leaves what is loaded out of garbage collection: a quarter of all time else."""
  gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def programs_of_one_module():
  """Drops what a module's tests have compiled: a worker would grow to 7 GB."""
  yield
  jax.clear_caches()


@pytest.fixture(scope="session")
def need():
  """`need(there, what)`: skips a test where something is missing; fails it in CI."""

  def need(there: object, what: str) -> None:
    if not there:
      (pytest.fail if os.environ.get("CI") else pytest.skip)(what)

  return need


@pytest.fixture(scope="session")
def sample_photos() -> Path:
  """The photos of the demo, in synset folders."""
  return ROOT / "data" / "sample_photos"


@pytest.fixture(scope="session")
def picture():
  """`picture(seed, height, width)`: a smooth Pillow image."""

  def make(seed: int = 0, height: int = 24, width: int = 32) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)

  return make


@pytest.fixture(scope="session")
def jpeg(picture):
  """`jpeg(seed, height, width, mode, **options)`: the bytes of a JPEG."""

  def make(seed=0, height=24, width=32, mode="RGB", **options) -> bytes:
    file = io.BytesIO()
    picture(seed, height, width).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()

  return make


@pytest.fixture
def photos(jpeg, tmp_path):
  """`photos({synset: count})`: a folder of JPEGs in synset folders."""

  def make(counts: dict[str, int], name: str = "photos"):
    root = tmp_path / name
    for synset, count in counts.items():
      (root / synset).mkdir(parents=True)
      for i in range(count):
        seed = int(synset[1:]) * 1000 + i
        (root / synset / f"{synset}_{i}.jpg").write_bytes(jpeg(seed))
    return root

  return make


@pytest.fixture(scope="session")
def ilsvrc2012_like():
  """The module that makes three archives shaped as ILSVRC2012's downloads."""
  path = ROOT / "benchmarks" / "ilsvrc2012_like.py"
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  sys.modules[path.stem] = module
  spec.loader.exec_module(module)
  return module


@pytest.fixture
def rng():
  """A generator that draws the same in every run."""
  return np.random.default_rng(0)


@pytest.fixture(scope="session")
def packed(sample_photos, tmp_path_factory) -> Path:
  """The sample photos packed, one of every class with two and more held out."""
  from im21k.packing.pack import pack

  folder = tmp_path_factory.mktemp("packed")
  pack(sample_photos, folder, eval_per_class=1, shards=4, workers=1)
  return folder


@pytest.fixture(scope="session")
def tiny_weights():
  """A narrow Inception-BN for all 21,841 classes, inputs of 32 pixels, as if fresh.

  Its arrays are drawn here: to compile the model's own `init` takes most of a minute.
  """
  from im21k import models, synsets, weights

  fields = {"width": 0.125, "num_classes": 21841, "bn_epsilon": 1e-5}
  model = models.create("inception_bn_21k", **fields)
  images = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
  shapes = jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False), images
  )
  rng = np.random.default_rng(0)

  def draw(path, shape):
    match path[-1].key:
      case "kernel":  # Of a size at which signals neither vanish nor grow.
        scale = np.sqrt(6 / np.prod(shape.shape[:-1]))
        return rng.uniform(-scale, scale, shape.shape).astype(shape.dtype)
      case "scale" | "var":
        return np.ones(shape.shape, shape.dtype)
      case "bias" | "mean":
        return np.zeros(shape.shape, shape.dtype)

  return weights.Weights(
    model_name="inception_bn_21k",
    model_fields=fields,
    variables=jax.tree_util.tree_map_with_path(draw, shapes),
    input=weights.Input(size=32, short_side=37, std=70.0),
    classes=synsets.imagenet21k(),
    scores={"train_top_1": 0.25, "eval_top_1": None},
    config={"seed": 3, "total": {"epochs": 2}},
  )


class _Linear(nn.Module):
  """Logits from the mean colours of 4x4 tiles: nothing to compile, easy in numpy."""

  num_classes: int = 21841

  @nn.compact
  def __call__(self, x, *, train):
    b, h, w, c = x.shape
    tiles = x.reshape(b, 4, h // 4, 4, w // 4, c).mean(axis=(2, 4))
    features = tiles.reshape(b, 16 * c)
    return nn.Dense(self.num_classes, name="head")(features), {"features": features}


@pytest.fixture
def linear_weights(monkeypatch):
  """Makes weights of a linear model called `linear`: (kernel, bias, classes)."""
  from im21k import weights
  from im21k.models import registry

  monkeypatch.setitem(registry._BUILDERS, "linear", _Linear)

  def make(kernel, bias, classes, **fields):
    assert kernel.shape == (48, len(classes)) and bias.shape == (len(classes),)
    return weights.Weights(
      model_name="linear",
      model_fields={"num_classes": len(classes)},
      variables={"params": {"head": {"kernel": kernel, "bias": bias}}},
      input=fields.pop("input", weights.Input(size=32, short_side=37)),
      classes=classes,
      **fields,
    )

  return make


@pytest.fixture
def kept_as(tmp_path):
  """Keeps a folder of classes as a source of a kind: (kind, folder) -> path."""
  from im21k.packing.pack import pack

  def keep(kind, folder):
    if kind == "tar":
      with tarfile.open(tmp_path / "kept.tar", "w") as file:
        file.add(folder, ".")
      return tmp_path / "kept.tar"
    if kind == "packed":
      pack(folder, tmp_path / "kept", eval_per_class=1, shards=3, workers=1)
      return tmp_path / "kept"
    assert kind == "classes"
    return folder

  return keep


CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
# Seconds. Far beyond what any step takes, so that a busy machine is no failure.
PATIENCE = 900


@pytest.fixture
def browse(tmp_path, need):
  """Opens a page: (path or address, width, dark) -> a selenium driver.

  Headless Chromium; where there is none, or no selenium, the test is skipped.
  """
  need(
    CHROMIUM and DRIVER and importlib.util.find_spec("selenium"),
    "pages need a browser: apt-get install chromium chromium-driver, and "
    "pip install 'im21k[browser]'",
  )
  from selenium import webdriver

  opened = []

  def browse(page, width=375, dark=False):
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
    driver.get(page if isinstance(page, str) else page.as_uri())
    return driver

  yield browse
  for driver in opened:
    driver.quit()
