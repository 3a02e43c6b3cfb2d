"""A struct array of a .mat: what scipy writes is read, damage is one line."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
import scipy.io

from im21k.photos import matlab

FIELDS = "ILSVRC2012_ID", "WNID", "num_children"


def table(count=1860, leaves=1000):
  """Rows as in the kit's meta.mat: numbers, texts, and arrays that nobody asks for."""
  names = ("ILSVRC2012_ID", "WNID", "gloss", "num_children", "children")
  found = np.zeros((count, 1), [(name, object) for name in names])
  for i in range(count):
    children = 0 if i < leaves else 3
    found[i, 0] = (
      np.uint16(i + 1), f"n{i:08d}", "ünï", np.uint8(children), np.ones((1, children)),
    )  # fmt: skip
  return found


def saved(variables, **options):
  file = io.BytesIO()
  scipy.io.savemat(file, variables, **options)
  return file.getvalue()


@pytest.mark.parametrize("compress", [False, True])
def test_rows_are_those_that_scipy_reads(compress):
  data = saved({"x": np.ones(9), "synsets": table()}, do_compression=compress)
  rows = matlab.struct_rows(data, "synsets", (*FIELDS, "gloss", "children"))
  loaded = scipy.io.loadmat(io.BytesIO(data), squeeze_me=True)["synsets"]
  assert len(rows) == 1860
  for row, other in zip(rows, loaded, strict=True):
    assert row[:3] == (other["ILSVRC2012_ID"], other["WNID"], other["num_children"])
    assert row[3] == "ünï" and row[4] is None  # None, or several numbers.


@pytest.mark.parametrize("number", [7, 7.0, np.int8(7), np.float32(7), np.uint64(7)])
def test_a_number_of_any_type_is_the_same(number):
  found = table(1)
  found[0, 0]["ILSVRC2012_ID"] = number
  ((one, *_),) = matlab.struct_rows(saved({"synsets": found}), "synsets", FIELDS)
  assert one == 7 and isinstance(one, int)


def with_dimensions(rows):
  """An uncompressed file whose array states another number of rows."""
  data = saved({"synsets": table(5)})
  stated = struct.pack("<IIii", 5, 8, 5, 1)
  assert data.count(stated) == 1
  return data.replace(stated, struct.pack("<IIii", 5, 8, rows, 1))


def bomb():
  """A compressed element of 200 MB in 200 kB."""
  data = zlib.compress(bytes(200_000_000), 9)
  return saved({})[:128] + struct.pack("<II", 15, len(data)) + data


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (b"", "no MATLAB file"),
    (b"text " * 100, "no MATLAB file"),
    (b"\x89HDF\r\n\x1a\n" + bytes(600), "7.3"),
    (b"MATLAB 7.3 MAT-file" + bytes(600), "7.3"),
    (saved({"synsets": table(3)})[:-9], "cut short"),
    (saved({"synsets": table(3)}, do_compression=True)[:-9], "cut short"),
    (saved({"others": table(3)}), "no variable 'synsets'"),
    (saved({"synsets": np.ones(3)}), "no array of structs"),
    (saved({"synsets": {"WNID": "n00000001"}}), "no field 'ILSVRC2012_ID'"),
    (with_dimensions(2**31 - 1), "damaged: 2,147,483,647 rows"),
    (with_dimensions(-1), "a dimension below 0"),
    (with_dimensions(6), "cut short"),
    (bomb(), "larger than 67,108,864 bytes"),
  ],
  ids=range(13),
)
def test_damage_is_one_line(data, message):
  with pytest.raises(ValueError, match=message) as error:
    matlab.struct_rows(data, "synsets", FIELDS)
  assert "\n" not in str(error.value)


def test_flipped_bytes_are_rows_or_one_line():
  rng = random.Random(0)
  for compress in (False, True):
    whole = saved({"synsets": table(20)}, do_compression=compress)
    for _ in range(300):
      data = bytearray(whole)
      for _ in range(rng.randint(1, 3)):
        data[rng.randrange(124, len(data))] = rng.randrange(256)
      try:
        rows = matlab.struct_rows(bytes(data), "synsets", FIELDS)
      except ValueError as error:
        assert "\n" not in str(error)
      else:
        assert len(rows) <= len(data) / 8
