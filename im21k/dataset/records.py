"""Photos <-> records: the bytes of a record, its checksum, and the names of shards.

A record is a 12-byte header (`im21`, version, length of the key, label), the key in
UTF-8, and the photo's JPEG bytes, unchanged. This module alone knows the layout.
"""

import dataclasses
import struct

import xxhash

FORMAT_VERSION = 1
# One record per chunk, so that each can be read without its neighbours; JPEG does not
# compress any further.
WRITER_OPTIONS = "group_size:1,uncompressed"
_HEADER = struct.Struct("<4sBxHI")
_MAGIC = b"im21"
SMALLEST = _HEADER.size  # bytes of a record


@dataclasses.dataclass(frozen=True)
class Example:
  """A photo with its label.

  Attributes:
    key: path of the photo relative to the source folder.
    label: index of its class in the class list.
    jpeg: bytes of the file.
  """

  key: str
  label: int
  jpeg: bytes


def encode(example: Example) -> bytes:
  """The record's bytes."""
  key = example.key.encode("utf-8", "surrogateescape")
  return head(key, example.label) + example.jpeg


def head(key: bytes, label: int) -> bytes:
  """The bytes of a record before its JPEG.

  Raises:
    ValueError: the key is longer than 65,535 bytes.
  """
  if len(key) > 0xFFFF:
    raise ValueError(f"key of {len(key)} bytes, but the limit is 65,535: {key[:80]!r}…")
  return _HEADER.pack(_MAGIC, FORMAT_VERSION, len(key), label) + key


def decode(record: bytes) -> Example:
  """The inverse of `encode`.

  Raises:
    ValueError: the bytes are not a record; the message says why.
  """
  start = jpeg_start(record)
  _, _, _, label = _HEADER.unpack_from(record)
  key = record[_HEADER.size : start].decode("utf-8", "surrogateescape")
  return Example(key, label, record[start:])


def jpeg_start(record: bytes) -> int:
  """Offset of the JPEG in a record.

  Raises:
    ValueError: the bytes are not a record; the message says why.
  """
  if len(record) < _HEADER.size or record[:4] != _MAGIC:
    raise ValueError(f"not a record of im21k: it begins with {record[:12]!r}")
  version: int
  key_length: int
  _, version, key_length, _ = _HEADER.unpack_from(record)
  if version != FORMAT_VERSION:
    raise ValueError(
      f"record of format version {version}, but this im21k reads {FORMAT_VERSION}"
    )
  start = _HEADER.size + key_length
  if len(record) < start:
    raise ValueError(f"record of {len(record)} bytes ends inside its key")
  return start


def shard_name(split: str, index: int, count: int) -> str:
  """`train-00000-of-00016.array_record`."""
  return f"{split}-{index:05d}-of-{count:05d}.array_record"


class Checksum:
  """XXH3 (128 bits) over the records of a shard, in order.

  Each JPEG enters as its own XXH3, which the packer has computed already.
  """

  def __init__(self) -> None:
    self._hash = xxhash.xxh3_128()

  def add(self, head: bytes | memoryview, jpeg_digest: bytes) -> None:
    """Adds a record, given as its bytes before the JPEG and the JPEG's `digest`."""
    self._hash.update(head)
    self._hash.update(jpeg_digest)

  def add_record(self, record: bytes) -> None:
    """Adds a record; ValueError if the bytes are not one."""
    view, start = memoryview(record), jpeg_start(record)
    self.add(view[:start], digest(view[start:]))

  def hexdigest(self) -> str:
    """The checksum of all records added so far."""
    return self._hash.hexdigest()


# Identifies a photo by its bytes. Not cryptographic, but ten times as fast as SHA-256.
digest = xxhash.xxh3_128_digest
