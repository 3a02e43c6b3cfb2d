"""The file that travels with exported programs prepares photos as im21k does."""

import dataclasses
import importlib.util
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from im21k.export import prepare as shipped
from im21k.export.program import Program


@pytest.fixture
def beside(narrow, tmp_path):
  """`beside(size, short_side)`: the shipped file as a module beside a description."""

  def make(size, short_side):
    shape = dataclasses.replace(narrow.input, size=size, short_side=short_side)
    released = dataclasses.replace(narrow, input=shape)
    (tmp_path / "im21k.json").write_text(Program(released).description())
    path = shutil.copy(shipped.__file__, tmp_path / "prepare.py")
    spec = importlib.util.spec_from_file_location("shipped_prepare", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, released.input

  return make


@pytest.mark.parametrize("size, short_side", [(64, 73), (224, 256), (640, 640)])
def test_photos_are_prepared_alike(beside, sample_photos, size, short_side):
  module, own = beside(size, short_side)
  photos = sorted(sample_photos.rglob("*.jpg"))[::16]
  there, here = (each(photos).astype(int) for each in (module.prepare, own.prepare))
  assert there.shape == here.shape == (len(photos), size, size, 3)
  # JPEG decoders differ by a level or two, too.
  assert np.abs(there - here).mean() < 0.2
  assert np.quantile(np.abs(there - here), 0.999) <= 2


@pytest.mark.parametrize("height, width", [(200, 301), (64, 90), (20, 31), (1, 5)])
def test_arrays_differ_by_rounding_at_most(beside, rng, height, width):
  module, own = beside(64, 73)
  photo = rng.integers(0, 256, (height, width, 3), np.uint8)
  apart = module.prepare([photo]).astype(int) - own.prepare([photo])
  assert np.abs(apart).max() <= 1 and (apart != 0).mean() < 0.2


def test_pictures_are_turned_upright_and_become_rgb(beside, picture):
  module, _ = beside(64, 73)
  grey = picture(height=80, width=100).convert("L")
  assert np.ptp(module.prepare([grey]), axis=-1).max() == 0
  exif = Image.Exif()
  exif[274] = 6
  turned, file = picture(height=80, width=100), io.BytesIO()
  turned.save(file, "PNG", exif=exif)
  upright = turned.transpose(Image.Transpose.ROTATE_270)
  alike = module.prepare([file, upright])
  assert (alike[0] == alike[1]).all()


def test_other_arrays_are_refused(beside):
  module, _ = beside(64, 73)
  for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)):
    with pytest.raises(ValueError, match=r"must be a file, a PIL picture or uint8"):
      module.prepare([wrong])


def test_classes_are_named_in_order(beside, narrow):
  module, _ = beside(64, 73)
  assert module.classes() == list(narrow.classes.names)
