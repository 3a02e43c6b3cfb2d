"""weights.safetensors from anywhere: the right arrays, or one line that says why."""

import json
import os
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save

from im21k import weights
from im21k.weights import arrays as reader

NAMES = ("params/head/bias", "params/head/kernel")


def file_of(header, data=b"", length=None):
  """The bytes of a safetensors file, whatever the header says."""
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  return struct.pack("<Q", len(text) if length is None else length) + text + data


def header_of(path):
  """The header of a file as a tree, and the bytes behind it."""
  data = path.read_bytes()
  (length,) = struct.unpack("<Q", data[:8])
  return json.loads(data[8 : 8 + length]), data[8 + length :]


def refused(folder, match):
  """Loading gives one line that names the file and matches."""
  with pytest.raises(ValueError, match=match) as caught:
    weights.load(folder)
  message = str(caught.value)
  assert message.startswith(str(folder / "weights.safetensors")), message
  assert message.isprintable() and len(message) < 900


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ml_dtypes.bfloat16])
def test_arrays_are_those_of_the_library(saved, resign, kind, rng):
  arrays = {
    NAMES[0]: rng.normal(size=3).astype(kind),
    NAMES[1]: rng.normal(size=(48, 3)).astype(kind),
  }
  resign(saved, save(arrays, metadata={"format": "np"}))
  theirs = load_file(saved / "weights.safetensors")
  head = weights.load(saved).variables["params"]["head"]
  for name, array in arrays.items():
    found = head[name.rpartition("/")[2]]
    assert found.dtype == array.dtype == theirs[name].dtype
    assert found.tobytes() == array.tobytes() == theirs[name].tobytes()
    assert found.flags.writeable and found.flags.aligned


@pytest.mark.parametrize("kind", ["i1", "u1", "i4", "i8", "?", "c8"])
def test_arrays_of_no_floating_point_are_refused(saved, resign, kind):
  arrays = load_file(saved / "weights.safetensors")
  resign(saved, {**arrays, NAMES[0]: np.zeros(3, kind)})
  refused(
    saved, r"params/head/bias\.dtype is .* but must be one of F16, BF16, F32, F64"
  )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_arrays_that_are_not_finite_are_refused(saved, resign, value):
  arrays = load_file(saved / "weights.safetensors")
  arrays[NAMES[1]][7, 2] = value
  resign(saved, arrays)
  refused(saved, "params/head/kernel holds NaN or infinity; train again")


def test_finite_arrays_whose_sum_is_not_are_sound():
  assert reader.fault("x", np.array([3e38, 3e38, 1], np.float32)) is None
  assert reader.fault("x", np.array([3e38, np.inf], np.float32))
  assert reader.fault("x", np.float16(np.nan)[None])
  assert reader.fault("x", np.zeros(0, np.float32)) is None
  assert reader.fault("batch_stats/bn/var", np.array([1, -1e-9], np.float32))
  assert reader.fault("batch_stats/bn/mean", np.array([1, -1e-9], np.float32)) is None


@pytest.mark.parametrize("position", [0, 7, 8, 40, -1])
def test_a_flipped_bit_is_found(saved, position):
  path = saved / "weights.safetensors"
  data = bytearray(path.read_bytes())
  data[position] ^= 1
  path.write_bytes(data)
  refused(saved, "damaged|checksum differs|must be")


@pytest.mark.parametrize("keep", [0, 5, 8, 60, -1])
def test_half_a_file_is_named(saved, keep):
  path = saved / "weights.safetensors"
  path.write_bytes(path.read_bytes()[:keep])
  refused(saved, "is damaged: it .*copy the folder again")


def test_trailing_bytes_are_named_though_the_checksum_holds(saved, resign):
  resign(saved, (saved / "weights.safetensors").read_bytes() + b"x")
  refused(saved, r"it has [\d,]+ bytes, but its header says [\d,]+")


@pytest.mark.parametrize(
  "data",
  [
    b"text",
    file_of({}, length=2**63),
    file_of({}, length=2**22),
    file_of(b"[" * 100_000),
    file_of(b"[]"),
    file_of(b'{"a": 1, "a": 1}'),
    file_of({"__metadata__": {}}),
    file_of({"params/head/bias": 3}),
    file_of(
      {"\x1b[31m\n" * 1000: {"shape": [], "dtype": "F32", "data_offsets": [0, 4]}}
    ),
  ],
)
def test_what_is_no_file_of_arrays_is_named(saved, resign, data):
  resign(saved, data)
  refused(saved, "damaged|does not fit|must be")


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"shape": [-3]}, "shape is no list"),
    ({"shape": [2**63]}, "shape is no list"),
    ({"shape": [3.0]}, "shape is no list"),
    ({"shape": [True]}, "shape is no list"),
    ({"shape": [1] * 99}, "shape is no list"),
    ({"shape": "3"}, "shape is no list"),
    ({"shape": [10**12, 10**6]}, r"is \(10{12}, 10{6}\), not \(3,\)"),
    ({"shape": [0]}, r"is \(0,\), not \(3,\)"),
    ({"dtype": "F8_E4M3"}, "dtype is 'F8_E4M3', but must be one of"),
    ({"dtype": ["F32"]}, "dtype is"),
    ({"dtype": "F64"}, "data_offsets do not fit"),
    ({"data_offsets": [12, 0]}, "data_offsets do not fit"),
    ({"data_offsets": [-12, 0]}, "data_offsets is no list of 2"),
    ({"data_offsets": [0, 12, 24]}, "data_offsets is no list of 2"),
    ({"data_offsets": [0, 10**30]}, "data_offsets is no list of 2"),
    ({"data_offsets": [4, 16]}, "begins at byte 4, not 0"),
    ({"data_offsets": [576, 588], "x": 1}, "x is not a field"),
  ],
)
def test_a_header_with_an_absurd_number_is_named(saved, resign, change, message):
  header, data = header_of(saved / "weights.safetensors")
  header[NAMES[0]].update(change)
  resign(saved, file_of(header, data))
  refused(saved, message)


def test_arrays_that_overlap_are_named(saved, resign):
  header, data = header_of(saved / "weights.safetensors")
  header[NAMES[1]]["data_offsets"] = [0, 576]
  header[NAMES[0]]["data_offsets"] = [0, 12]
  resign(saved, file_of(header, data))
  refused(saved, "begins at byte")


def test_shapes_are_checked_before_memory_is_taken(saved, resign, monkeypatch):
  header, _ = header_of(saved / "weights.safetensors")
  header["params/more"] = {
    "dtype": "F32",
    "shape": [2**60],
    "data_offsets": [588, 2**62],
  }
  resign(saved, file_of(header))
  monkeypatch.setattr(np, "empty", pytest.fail)
  refused(saved, "params/more is unknown")


def test_what_is_returned_is_what_was_hashed(saved, monkeypatch):
  """The file changes while it is read."""
  path = saved / "weights.safetensors"
  whole = path.read_bytes()
  fstat = os.fstat

  def change(descriptor):
    status = fstat(descriptor)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    return status

  with monkeypatch.context() as patch:
    patch.setattr(reader.os, "fstat", change)
    refused(saved, "checksum differs")


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json", "classes.txt"])
@pytest.mark.parametrize("what", ["fifo", "folder", "device"])
def test_what_is_no_regular_file_is_named(saved, name, what):
  path = saved / name
  path.unlink()
  if what == "fifo":
    os.mkfifo(path)
  elif what == "folder":
    path.mkdir()
  else:
    path.symlink_to("/dev/zero")
  with pytest.raises(ValueError, match="is not a regular file") as caught:
    weights.load(saved)
  assert str(caught.value).startswith(str(path))


def test_links_into_a_cache_are_followed(saved, tmp_path):
  cache = tmp_path / "cache"
  cache.mkdir()
  for name in ("weights.safetensors", "model.json", "classes.txt"):
    (saved / name).rename(cache / name)
    (saved / name).symlink_to(cache / name)
  assert len(weights.load(saved).classes) == 3
