"""JSON and arrays come back as they were, or it is said that the file is not whole."""

import numpy as np
import pytest

from im21k.packing import bundle

ARRAYS = {
  "empty": np.empty((0, 2), np.uint64),
  "keys": np.frombuffer(b"abc\n\xff", np.uint8),
  "places": np.arange(6, dtype=np.uint64).reshape(3, 2)[::-1],
}


def test_what_was_saved_is_loaded(tmp_path):
  bundle.save(tmp_path / "a", {"last": True, "name": "ü\n"}, **ARRAYS)
  assert bundle.head(tmp_path / "a") == {"last": True, "name": "ü\n"}
  told, arrays = bundle.load(tmp_path / "a")
  assert told == {"last": True, "name": "ü\n"}
  assert list(arrays) == list(ARRAYS)
  for name, array in ARRAYS.items():
    assert arrays[name].dtype == array.dtype
    np.testing.assert_array_equal(arrays[name], array)


def test_a_file_that_ends_early_is_an_error(tmp_path):
  bundle.save(tmp_path / "a", {}, **ARRAYS)
  data = (tmp_path / "a").read_bytes()
  (tmp_path / "a").write_bytes(data[:-1])
  with pytest.raises(ValueError, match="a ends early: remove it"):
    bundle.load(tmp_path / "a")
