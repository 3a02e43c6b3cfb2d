"""Sequential reads and writes: every byte once, also where a call ends early."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from im21k.packing import disk


@given(sizes=st.lists(st.integers(0, 400_000), max_size=12))
def test_pieces_are_one_file(tmp_path_factory, sizes):
  path = tmp_path_factory.getbasetemp() / "pieces"
  pieces = [bytes([i]) * size for i, size in enumerate(sizes)]
  disk.write_pieces(path, map(memoryview, pieces))
  assert path.read_bytes() == b"".join(pieces)


def test_many_small_pieces_take_few_calls(tmp_path, monkeypatch):
  calls = []
  writev = os.writev

  def counted(file, pieces):
    calls.append(len(pieces))
    return writev(file, pieces)

  monkeypatch.setattr(disk.os, "writev", counted)
  disk.write_pieces(tmp_path / "a", [memoryview(b"x")] * 3000)
  assert calls == [1024, 1024, 952]
  calls.clear()
  disk.write_pieces(tmp_path / "a", [memoryview(bytes(100 << 10))] * 5)
  assert calls == [2, 2, 1]


def test_a_call_that_writes_a_part_is_continued(tmp_path, monkeypatch):
  """As the system does near the end of a disk, or after a signal."""
  writev = os.writev
  monkeypatch.setattr(
    disk.os, "writev", lambda file, pieces: writev(file, [b"".join(pieces)[:5]])
  )
  disk.write_pieces(tmp_path / "a", [memoryview(b"abc"), memoryview(b"defghi")])
  assert (tmp_path / "a").read_bytes() == b"abcdefghi"


def test_bytes_are_read_from_an_offset(tmp_path):
  (tmp_path / "a").write_bytes(bytes(range(100)))
  buffer = bytearray(10)
  disk.read_into(tmp_path / "a", 30, memoryview(buffer))
  assert buffer == bytes(range(30, 40))


def test_a_file_that_ends_early_is_named_with_the_byte(tmp_path):
  (tmp_path / "a.bin").write_bytes(bytes(35))
  message = rf"a\.bin ends early, at byte 35: remove {tmp_path}, and pack again"
  with pytest.raises(OSError, match=message):
    disk.read_into(tmp_path / "a.bin", 30, memoryview(bytearray(10)))
