"""One `.npz` of many parts, and features back from either."""

import os
import zipfile

import numpy as np
import pytest

from im21k.features import npz
from im21k.features.part_files import Parts, Place
from im21k.features.stream import Rows

ASKED = {"stage": "features"}


@pytest.fixture
def parts(tmp_path):
  """Parts of three, no and two rows, with keys of different lengths."""
  parts = Parts(tmp_path / "out", ASKED, ["cat"])
  parts.begin()
  for at, keys in enumerate((["a", "bc", "d"], [], ["a long key", "e"])):
    values = np.full((len(keys), 2, 3), at, np.float16)
    batch = Rows(keys, ["cat", "", ""][: len(keys)], values, [], 3, "x")
    parts.add([batch], Place(0, 1, "x"))
  parts.finish()
  return parts


def test_an_npz_holds_what_the_folder_does(parts, tmp_path):
  npz.join(parts, tmp_path / "f.npz")
  for path in (tmp_path / "f.npz", tmp_path / "out"):
    found = npz.read(path)
    assert found.values.shape == (5, 2, 3) and found.values.dtype == np.float16
    assert found.values[:, 0, 0].tolist() == [0, 0, 0, 2, 2]
    assert found.labels.tolist() == [0, -1, -1, 0, -1]
    assert found.keys.tolist() == ["a", "bc", "d", "a long key", "e"]
    assert found.classes.tolist() == ["cat"]
    assert found.about["asked"] == ASKED and found.about["rows"] == 5


def test_the_same_parts_give_the_same_bytes(parts, tmp_path):
  written = []
  for name in ("a.npz", "b.npz"):
    npz.join(parts, tmp_path / name)
    written.append((tmp_path / name).read_bytes())
    os.utime(tmp_path / "out" / "features-00000.npy", (0, 0))
  assert written[0] == written[1]


def test_what_is_no_file_of_features_is_refused(parts, tmp_path):
  path = tmp_path / "f.npz"
  npz.join(parts, path)
  good = path.read_bytes()
  for data in (b"", b"PK", good[:200], good[:-30], b"\x93NUMPY" + good[:99]):
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"f\.npz is not a whole file of `im21k feat"):
      npz.read(path)
  np.savez(path, features=np.zeros(3))
  with pytest.raises(ValueError, match=r"f\.npz is not a whole file of `im21k feat"):
    npz.about(path)
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("about.npy", b"\x80\x04.")  # A pickle.
  with pytest.raises(ValueError, match=r"f\.npz is not a whole file of `im21k feat"):
    npz.about(path)


def test_a_folder_that_is_not_finished_is_refused(parts, tmp_path):
  (tmp_path / "out" / "features.json").unlink()
  with pytest.raises(ValueError, match="only the first of them, until the same"):
    npz.read(tmp_path / "out")
