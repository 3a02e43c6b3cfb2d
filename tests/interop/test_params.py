"""MXNet's .params: golden bytes, every version, and files that are broken."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from im21k.interop import params

# Written by mxnet 1.9.1: {'arg:w': f32 [[0,1,2],[3,4,5]], 'aux:m': f32 [1.5]}.
GOLDEN = bytes.fromhex(
  "120100000000000000000000000000000200000000000000c9fa93f900000000020000000200000000"
  "0000000300000000000000010000000000000000000000000000000000803f00000040000040400000"
  "80400000a040c9fa93f9000000000100000001000000000000000100000000000000000000000000c0"
  "3f020000000000000005000000000000006172673a7705000000000000006175783a6d"
)
ARRAYS = {
  "arg:w": np.arange(6, dtype="f4").reshape(2, 3),
  "aux:m": np.array([1.5], "f4"),
}


def assert_equal(found, expected):
  assert list(found) == list(expected)
  for name, array in expected.items():
    assert found[name].dtype == array.dtype and found[name].shape == array.shape
    assert found[name].tobytes() == array.tobytes()


def old(version, arrays):
  """A file as MXNet wrote it before V2, or with V3."""
  out = struct.pack("<QQQ", 0x112, 0, len(arrays))
  for array in arrays.values():
    if version == 0:
      out += struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape)
    elif version == 1:
      out += struct.pack(f"<II{array.ndim}q", 0xF993FAC8, array.ndim, *array.shape)
    else:
      out += struct.pack(f"<Iii{array.ndim}q", 0xF993FACA, 0, array.ndim, *array.shape)
    out += struct.pack("<iii", 2, 0, 0) + array.tobytes()
  out += struct.pack("<Q", len(arrays))
  for name in arrays:
    out += struct.pack("<Q", len(name)) + name.encode()
  return out


def test_golden_bytes_both_ways(tmp_path):
  path = tmp_path / "golden.params"
  path.write_bytes(GOLDEN)
  assert_equal(params.read(path), ARRAYS)
  params.write(tmp_path / "ours.params", ARRAYS)
  assert (tmp_path / "ours.params").read_bytes() == GOLDEN


@pytest.mark.parametrize("version", [0, 1, 3])
def test_other_versions(tmp_path, version):
  path = tmp_path / "old.params"
  path.write_bytes(old(version, ARRAYS))
  assert_equal(params.read(path), ARRAYS)


TYPES = ("f4", "f8", "f2", "u1", "i4", "i1", "i8")
SHAPES = st_numpy.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)
MANY = st.dictionaries(
  st.text(max_size=8).filter(lambda s: max(s, default="") < "\ud800"),
  st.sampled_from(TYPES).flatmap(lambda t: st_numpy.arrays(t, SHAPES)),
  max_size=4,
)


@given(MANY)
def test_any_arrays_come_back(tmp_path_factory, arrays):
  path = tmp_path_factory.mktemp("any") / "any.params"
  params.write(path, arrays)
  assert_equal(params.read(path), arrays)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.integers(0, 3), st.data())
def test_a_broken_file_is_an_error_or_other_arrays(tmp_path_factory, version, data):
  whole = bytearray(GOLDEN if version == 2 else old(version, ARRAYS))
  for _ in range(data.draw(st.integers(1, 3))):
    at = data.draw(st.integers(0, len(whole) - 1))
    size = data.draw(st.sampled_from([1, 2, 4, 8]))
    whole[at : at + size] = data.draw(st.binary(min_size=size, max_size=size))
  if data.draw(st.booleans()):
    del whole[data.draw(st.integers(0, len(whole) - 1)) :]
  path = tmp_path_factory.mktemp("broken") / "broken.params"
  path.write_bytes(whole)
  try:
    found = params.read(path)
  except ValueError as error:
    assert str(error).startswith(f"{path} at byte ")
  else:
    assert sum(a.nbytes for a in found.values()) <= len(whole)


@pytest.mark.parametrize(
  ("at", "value", "message"),
  [
    (0, b"\x13", "at byte 0: this is not a list of arrays: it begins with 0x113"),
    (16, b"\xff\xff", "at byte 16: 65535 arrays do not fit into"),
    (28, b"\x01", "at byte 28: array 0 is sparse"),
    (32, b"\x7f", "cannot have 127 dimensions"),
    (36, b"\xff" * 8, r"array 0 has the shape \(-1, 3\)"),
    (36, b"\xff" * 7, "array 0 of shape .* needs .* bytes, but the file has"),
    (60, b"\x09", "at byte 60: array 0 has the unknown type 9"),
    (-1, b"\xff", "a name is no UTF-8"),
  ],
)
def test_errors_name_place_and_reason(tmp_path, at, value, message):
  whole = bytearray(GOLDEN)
  at %= len(whole)
  whole[at : at + len(value)] = value
  path = tmp_path / "broken.params"
  path.write_bytes(whole)
  with pytest.raises(ValueError, match=message):
    params.read(path)


@pytest.mark.parametrize("shape", [(0, 2**62), (2**62, 0, 4), (2**40, 2**40, 0)])
def test_empty_array_with_an_endless_side_names_the_place(tmp_path, shape):
  """Found by a fuzzer: numpy's own error names no file."""
  path = tmp_path / "empty.params"
  head = struct.pack(
    f"<QQQII{len(shape)}q", 0x112, 0, 1, 0xF993FAC8, len(shape), *shape
  )
  path.write_bytes(head + struct.pack("<iiiQQ", 1, 0, 0, 1, 1) + b"w")
  with pytest.raises(ValueError, match="at byte 24: array 0 has the shape") as caught:
    params.read(path)
  assert str(caught.value).startswith(str(path))


def test_twice_the_same_name_and_bytes_behind_the_end(tmp_path):
  path = tmp_path / "broken.params"
  path.write_bytes(GOLDEN.replace(b"aux:m", b"arg:w"))
  with pytest.raises(ValueError, match="two arrays are called 'arg:w'"):
    params.read(path)
  path.write_bytes(GOLDEN + b"\0")
  with pytest.raises(ValueError, match="there are more bytes after the last name"):
    params.read(path)


@pytest.mark.parametrize(
  ("array", "message"),
  [(np.zeros(2, "c8"), "complex64"), (np.float32(1), "no dimensions")],
)
def test_what_mxnet_cannot_hold_is_refused_and_leaves_no_file(tmp_path, array, message):
  with pytest.raises(ValueError, match=message):
    params.write(tmp_path / "x.params", {"arg:x": array})
  assert not list(tmp_path.iterdir())
