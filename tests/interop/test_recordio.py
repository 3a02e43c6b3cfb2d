"""MXNet's .rec, .idx and .lst: golden bytes, any records, and files that are broken."""

import ast
import os
import struct
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im21k.interop import lists, recordio

# Written by mxnet 1.9.1; the records begin at bytes 0, 40 and 100.
GOLDEN = bytes.fromhex(
  "0a23d7ce1d000000000000000000a0400700000000000000000000000000000061626364650000000a"
  "23d7ce280000200300000000000000080000000000000000000000000000000000803f000000400000"
  "4040787900000a23d7ce010000605a0000000a23d7ce000000200a23d7ce000000400a23d7ce010000"
  "6071000000"
)


def written(data):
  """A record as MXNet's writer splits it at magic words."""
  magic, parts, start = recordio.MAGIC, [], 0
  for at in range(0, len(data) - 3, 4):
    if data[at : at + 4] == magic:
      parts.append(data[start:at])
      start = at + 4
  parts.append(data[start:])
  out = b""
  for index, part in enumerate(parts):
    last = index == len(parts) - 1
    kind = 0 if len(parts) == 1 else 3 if last else 1 if index == 0 else 2
    out += magic + struct.pack("<I", kind << 29 | len(part)) + part
    out += b"\0" * (-len(part) % 4)
  return out


PIECES = st.sampled_from([recordio.MAGIC, b"abcd", b"x", b"\0\0\0\0"])
RECORDS = st.lists(st.lists(PIECES, max_size=6).map(b"".join), max_size=6)


def test_golden_bytes(tmp_path):
  path = tmp_path / "golden.rec"
  path.write_bytes(GOLDEN)
  records = list(recordio.read(path))
  assert [offset for offset, _ in records] == [0, 40, 100]
  first, second = (recordio.unpack(data) for _, data in records[:2])
  assert first == recordio.Record((5.0,), 7, b"abcde")
  magic = recordio.MAGIC
  assert second == recordio.Record((1.0, 2.0, 3.0), 8, b"xy\0\0" + magic + b"Z")
  assert records[2][1] == magic + magic + b"q"
  assert recordio.read_at(path, 40) == records[1][1]


@given(RECORDS)
def test_any_records_come_back(tmp_path_factory, records):
  path = tmp_path_factory.mktemp("any") / "any.rec"
  path.write_bytes(b"".join(map(written, records)))
  found = list(recordio.read(path))
  assert [data for _, data in found] == records
  for offset, data in found:
    assert recordio.read_at(path, offset) == data


@settings(max_examples=300)
@given(RECORDS, st.data())
def test_a_broken_file_is_an_error_or_other_records(tmp_path_factory, records, data):
  whole = bytearray(b"".join(map(written, [*records, b"end"])))
  for _ in range(data.draw(st.integers(1, 3))):
    at = data.draw(st.integers(0, len(whole) - 1))
    size = data.draw(st.sampled_from([1, 4]))
    whole[at : at + size] = data.draw(st.binary(min_size=size, max_size=size))
  if data.draw(st.booleans()):
    del whole[data.draw(st.integers(0, len(whole) - 1)) :]
  path = tmp_path_factory.mktemp("broken") / "broken.rec"
  path.write_bytes(whole)
  try:
    found = [content for _, content in recordio.read(path)]
  except ValueError as error:
    assert str(error).startswith(f"{path} at byte ")
  else:
    assert sum(map(len, found)) <= len(whole)


def scanned(path, data):
  """Records and lost bytes, which together are the file."""
  path.write_bytes(data)
  found = list(recordio.scan(path))
  places = [f.start if isinstance(f, recordio.Lost) else f[0] for f in found]
  assert places == sorted(set(places)) and places[:1] == [0][: len(data)]
  for item, stop in zip(found, [*places[1:], len(data)], strict=True):
    if isinstance(item, recordio.Lost):
      assert item.stop == stop
    else:
      assert item[0] + len(written(item[1])) == stop
  return [f for f in found if not isinstance(f, recordio.Lost)]


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_head_costs_its_record_only(tmp_path_factory, data):
  bodies = [b"%d" % i * data.draw(st.integers(0, 9)) + b"\xff\xd9" for i in range(5)]
  frames = [written(body) for body in bodies]
  index = data.draw(st.integers(0, 4))
  at = sum(map(len, frames[:index])) + data.draw(st.integers(0, 7))
  whole = bytearray(b"".join(frames))
  whole[at] ^= 1 << data.draw(st.integers(0, 7))
  path = tmp_path_factory.mktemp("head") / "a.rec"
  found = [content for _, content in scanned(path, whole)]
  del bodies[index]
  # A bit of the length's padding changes the data, but no other record.
  assert [body for body in found if body in bodies] == bodies
  assert len(found) <= 5


def test_lengths_that_shrink_or_grow_over_others_give_no_other_data(tmp_path):
  frames = [written(b"%d" % i * 12) for i in range(5)]
  whole = b"".join(frames)
  for length in (4, 8, 11, 13, 32, 52, 12 + 2 * 20, 999):
    data = bytearray(whole)
    data[24:28] = struct.pack("<I", length)
    found = [content for _, content in scanned(tmp_path / "a.rec", bytes(data))]
    assert b"0" * 12 in found and b"3" * 12 in found and b"4" * 12 in found
    assert set(found) <= {b"%d" % i * 12 for i in range(5)}


def test_a_part_that_grows_over_the_next_gives_no_other_data(tmp_path):
  """Found by benchmarks/fuzz_records.py."""
  data = b"a" * 12 + 3 * recordio.MAGIC + b"b"
  whole = bytearray(written(data))
  assert whole[:8] == recordio.MAGIC + struct.pack("<I", 1 << 29 | 12)
  whole[4] += 8
  assert not scanned(tmp_path / "a.rec", bytes(whole))


def test_the_first_of_several_parts_is_not_the_whole(tmp_path):
  """Found by benchmarks/fuzz_records.py: a photo's end may stand at the part's."""
  whole = bytearray(written(b"a\xff\xd9b" + b"\xff\xd9" * 2 + 2 * recordio.MAGIC))
  whole[7] ^= 1 << 5  # kind 1 becomes 0
  assert not scanned(tmp_path / "a.rec", bytes(whole))
  assert len(scanned(tmp_path / "a.rec", bytes(whole) + written(b"b"))) == 1


@pytest.mark.parametrize("hole", [bytes(16), b"\xab" * 16, b""])
@pytest.mark.parametrize("cut", [0, 1, 2, 30])
def test_after_a_hole_reading_goes_on(tmp_path, hole, cut):
  """Also where bytes are missing, so that no later record is aligned."""
  bodies = [b"%d" % i * 40 + b"\xff\xd9" for i in range(6)]
  frames = [written(body) for body in bodies]
  frames[2] = hole + frames[2][len(hole) + cut :]
  found = [content for _, content in scanned(tmp_path / "a.rec", b"".join(frames))]
  expected = bodies if not hole and not cut else bodies[:2] + bodies[3:]
  assert found == expected


def test_what_follows_the_last_record_is_lost(tmp_path):
  path = tmp_path / "a.rec"
  path.write_bytes(written(b"a\xff\xd9") + written(b"b\xff\xd9") + bytes(512))
  *_, lost = recordio.scan(path)
  assert (lost.start, lost.stop) == (24, 536)


def test_records_that_look_like_others_inside_cost_no_more_time(tmp_path):
  """Each of the words may be a record's beginning."""
  path = tmp_path / "a.rec"
  path.write_bytes(struct.pack("<II", 0xCED7230A, 9 << 20) + recordio.MAGIC * (1 << 16))
  (lost,) = recordio.scan(path)
  assert (lost.start, lost.stop) == (0, (1 << 18) + 8)


@given(st.binary(max_size=64))
def test_any_bytes_unpack_or_tell_why_not(data):
  try:
    record = recordio.unpack(data)
  except ValueError as error:
    assert "record of" in str(error)
  else:
    assert len(record.image) <= len(data) - 24


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (b"abcd" * 3, "at byte 0: there is no magic word where one begins"),
    (GOLDEN[:6], "at byte 0: the file ends early"),
    (GOLDEN[:30], "at byte 0: 29 bytes are promised, but the file has 22 more"),
    (written(b"ab")[:4] + b"\0\0\0\x40", "a part of kind 2 where one begins"),
    (
      GOLDEN[40:88] + written(b"ab"),
      "at byte 0: a part of kind 0 inside the record, at byte 48",
    ),
    (GOLDEN[40:88], "at byte 0: the file ends within a record"),
  ],
)
def test_errors_name_place_and_reason(tmp_path, data, message):
  path = tmp_path / "broken.rec"
  path.write_bytes(data)
  with pytest.raises(ValueError, match=message):
    list(recordio.read(path))


def test_a_record_larger_than_allowed_is_refused_before_it_is_read(tmp_path):
  path = tmp_path / "large.rec"
  with path.open("wb") as file:
    file.write(recordio.MAGIC + struct.pack("<I", 500 << 20))
    file.truncate(8 + (500 << 20))  # sparse: it takes no room
  with pytest.raises(ValueError, match="a record of more than 268435456 bytes"):
    next(recordio.read(path))


@pytest.mark.parametrize("offset", [-4, 2, 44, 10_000])
def test_no_record_begins_elsewhere(tmp_path, offset):
  path = tmp_path / "golden.rec"
  path.write_bytes(GOLDEN)
  with pytest.raises(ValueError, match=r"byte -?\d+: (no record|there is no magic)"):
    recordio.read_at(path, offset)


def test_an_index(tmp_path):
  path = tmp_path / "x.idx"
  path.write_text("7\t0\n8\t40\nraw\t100\n")
  assert recordio.read_index(path) == {"7": 0, "8": 40, "raw": 100}
  for text, message in (
    ("7\t0\n8 40\n", "line 2: not key, tab and offset, but '8 40'"),
    ("7\t-4\n", "line 1: not key"),
    ("7\t0\n7\t40\n", "line 2: the key '7' comes twice"),
  ):
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
      recordio.read_index(path)


def test_a_list(tmp_path):
  path = tmp_path / "x.lst"
  path.write_text("0\t3.000000\tn01440764/a b.JPEG\n\n12\t1\t2\t3\tö.jpg\r\n")
  assert list(lists.read(path)) == [
    lists.Entry(0, (3.0,), "n01440764/a b.JPEG"),
    lists.Entry(12, (1.0, 2.0, 3.0), "ö.jpg"),
  ]


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("0\ta.jpg", "not number, labels and path"),
    ("x\t1\ta.jpg", "the image's number is 'x'"),
    ("0\tcat\ta.jpg", r"the labels are \['cat'\], not numbers"),
    ("0\tnan\ta.jpg", "not finite"),
  ],
)
def test_what_is_wrong_with_a_list_is_told(tmp_path, line, message):
  path = tmp_path / "x.lst"
  path.write_text(f"1\t2\tok.jpg\n{line}\n")
  with pytest.raises(ValueError, match=f"line 2: .*{message}"):
    list(lists.read(path))


_WRITE = """
import sys
import mxnet as mx, numpy as np
rng = np.random.RandomState(0)
magic = bytes.fromhex("0a23d7ce")
writer = mx.recordio.MXIndexedRecordIO(sys.argv[1] + ".idx", sys.argv[1] + ".rec", "w")
with open(sys.argv[1] + ".expected", "w") as expected:
  for index in range(1000):
    data = rng.bytes(rng.randint(0, 400))
    if index % 3 == 0:
      data = data[: len(data) // 8 * 4] + magic + data
    label = float(index) if index % 2 else rng.rand(3).astype("f4")
    head = mx.recordio.IRHeader(0, label, index, 0)
    writer.write_idx(index, mx.recordio.pack(head, data))
    labels = [float(x) for x in np.atleast_1d(np.float32(label))]
    expected.write("%r\\n" % ([labels, data.hex()],))
writer.close()
"""


@pytest.mark.skipif(
  "IM21K_MXNET_PYTHON" not in os.environ, reason="IM21K_MXNET_PYTHON is not set"
)
def test_a_thousand_records_that_mxnet_wrote(tmp_path):
  """Labels of one and of three numbers; every third holds the magic word."""
  prefix = str(tmp_path / "x")
  subprocess.run([os.environ["IM21K_MXNET_PYTHON"], "-c", _WRITE, prefix], check=True)
  lines = (tmp_path / "x.expected").read_text().splitlines()
  expected = [ast.literal_eval(line) for line in lines]
  offsets = recordio.read_index(tmp_path / "x.idx")
  found = list(recordio.read(tmp_path / "x.rec"))
  assert len(found) == len(expected) == 1000
  assert list(offsets.values()) == [offset for offset, _ in found]
  for index, ((labels, image), (_, data)) in enumerate(
    zip(expected, found, strict=True)
  ):
    record = recordio.unpack(data)
    assert (list(record.labels), record.id) == (labels, index)
    assert record.image.hex() == image


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("a.jpg", "not number, labels and path between tabs, but 'a.jpg'"),
    ("9" * 5000 + "\t1\ta.jpg", "the image's number is '999"),
    ("x" * 70_000, "more than 65,536 characters"),
    ("1\t" + "x" * 60_000 + "\ta.jpg", "the labels are .{72,80}x, not numbers"),
  ],
)
def test_lines_that_a_fuzzer_found_name_file_and_line(tmp_path, text, message):
  path = tmp_path / "broken.lst"
  path.write_text(f"0\t5\ta.jpg\n{text}\n")
  with pytest.raises(ValueError, match=message) as caught:
    list(lists.read(path))
  assert str(caught.value).startswith(f"{path} line 2: ")
  assert len(str(caught.value)) < len(str(path)) + 200


@pytest.mark.parametrize("text", ["0\t" + "9" * 5000, "x" * 70_000])
def test_index_with_an_endless_number_or_line(tmp_path, text):
  path = tmp_path / "broken.idx"
  path.write_text(f"1\t0\n{text}\n")
  with pytest.raises(ValueError, match="line 2: not key, tab and offset") as caught:
    recordio.read_index(path)
  assert str(caught.value).startswith(str(path))
