"""Records: decoding inverts encoding, and damage is reported precisely."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from im21k.dataset import records
from im21k.dataset.records import Example

# Every file name that a Linux folder can hold, as Python shows it.
KEYS = st.binary(max_size=300).map(lambda b: b.decode("utf-8", "surrogateescape"))
LABELS = st.integers(0, 2**32 - 1)


@given(key=KEYS, label=LABELS, jpeg=st.binary())
def test_decode_undoes_encode(key, label, jpeg):
  example = Example(key, label, jpeg)
  assert records.decode(records.encode(example)) == example


def test_bytes_of_a_record_are_these():
  """The format on disk: bytes may change only together with FORMAT_VERSION."""
  record = records.encode(Example("n01440764/é\udcff.jpg", 0x01020304, b"\xff\xd8"))
  assert record == (
    b"im21"  # magic
    b"\x01\x00"  # version, unused
    b"\x11\x00"  # length of the key
    b"\x04\x03\x02\x01"  # label
    b"n01440764/\xc3\xa9\xff.jpg"
    b"\xff\xd8"
  )


@given(key=KEYS, label=LABELS, jpeg=st.binary(max_size=20), data=st.data())
def test_a_record_cut_short_is_refused_or_lacks_only_pixels(key, label, jpeg, data):
  record = records.encode(Example(key, label, jpeg))
  length = data.draw(st.integers(0, len(record)))
  if length < len(record) - len(jpeg):
    with pytest.raises(ValueError, match=r"ends inside its key|not a record"):
      records.decode(record[:length])
  else:
    cut = records.decode(record[:length])
    assert (cut.key, cut.label) == (key, label)


@pytest.mark.parametrize(
  ("record", "message"),
  [
    (b"", r"not a record of im21k: it begins with b''"),
    (b"im21", r"not a record of im21k: it begins with b'im21'"),
    (b"\xff\xd8\xff" * 9, r"not a record of im21k: it begins with b'\\xff\\xd8"),
    (b"im21\x02" + bytes(20), "version 2, but this im21k reads 1"),
    (b"im21\x01\0\x09\0" + bytes(7), "record of 15 bytes ends inside its key"),
  ],
)
def test_a_damaged_record_says_how(record, message):
  with pytest.raises(ValueError, match=message):
    records.decode(record)


def test_a_key_that_does_not_fit_is_refused():
  fits = Example("k" * 0xFFFF, 0, b"")
  assert records.decode(records.encode(fits)) == fits
  with pytest.raises(ValueError, match="key of 65536 bytes, but the limit is 65,535"):
    records.encode(Example("k" * 0x10000, 0, b""))


def test_shard_names_sort_in_their_order():
  names = [records.shard_name("train", i, 11) for i in range(11)]
  assert names[3] == "train-00003-of-00011.array_record"
  assert names == sorted(names)
