"""Header blocks of a tar -> what they say, as far as it can be believed.

In: 512 bytes, or the data of an extended header. Out: tarfile's `TarInfo`, fields.
"""

import re
import tarfile

BLOCK = 512
MAGIC, MAGIC_AT = b"ustar", 257
_VERSIONS = b"ustar\x0000", b"ustar  \0"  # of POSIX and GNU
LONGEST = 1 << 20  # bytes of an extended header
LONG_NAME, LONG_LINK = tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
GLOBAL = tarfile.XGLTYPE
EXTENDED = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
EXTENSIONS = (LONG_NAME, LONG_LINK, GLOBAL, *EXTENDED)
REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
FOLDERS = (tarfile.DIRTYPE, b"D", b"V")  # with GNU's lists of names and volume labels
LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)
# Their sizes, where they have one, are not those of data that follows.
_WITHOUT_DATA = (
  *LINKS, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"V",
)  # fmt: skip
_NUMBER = re.compile(r"[0-9]{1,18}")
_CHECKSUM = re.compile(rb" *[0-7]+[ \0]*")


def read(block: bytes) -> tarfile.TarInfo | None:
  """What a header says; None unless its checksum holds and its size is possible."""
  try:
    info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
  except (tarfile.HeaderError, ValueError, OverflowError):
    return None
  return info if info.size >= 0 else None


def with_magic(block: bytes) -> tarfile.TarInfo | None:
  """The same for a block that is found by chance: it must say that it is a header."""
  if not block.startswith(MAGIC, MAGIC_AT) or not _CHECKSUM.fullmatch(block, 148, 156):
    return None
  return read(block)


def are_inside(data: bytes) -> bool:
  """Whether there are headers in a member's data, as if bytes before were removed.

  Of a header whose beginning was removed, too, the checksum is wrong. A member that is
  a tar itself begins with one, and may have more.
  """
  column = data[MAGIC_AT::BLOCK]  # Quick, for it is looked at in every photo.
  row = column.find(MAGIC[0])
  while row >= 0:
    if data.startswith(_VERSIONS, row * BLOCK + MAGIC_AT):
      return not with_magic(data[:BLOCK])
    row = column.find(MAGIC[0], row + 1)
  return False


def may_be_fallback(info: tarfile.TarInfo) -> bool:
  """Whether a name is like those that pax writes for readers that know no better."""
  is_full = len(info.name.encode("utf-8", "surrogateescape")) == tarfile.LENGTH_NAME
  return info.type not in EXTENSIONS and (is_full or "?" in info.name)


def resembles(block: bytes) -> bool:
  """Whether a block with a wrong checksum is a damaged header, not something else."""
  found = block[MAGIC_AT : MAGIC_AT + len(MAGIC)]
  return sum(a == b for a, b in zip(found, MAGIC, strict=False)) >= len(MAGIC) - 1


def likely_end(block: bytes) -> int:
  """Bytes from a damaged header to the next one, if its size is not damaged; else 0."""
  digits = block[124:136].strip(b"\0 ")
  if not resembles(block) or not digits or digits.strip(b"01234567"):
    return 0
  size = int(digits, 8)
  return BLOCK + size + -size % BLOCK


def size_of_data(info: tarfile.TarInfo, extended: str = "") -> int:
  """Bytes that follow a header, of which an extended one may say the size."""
  if info.type in _WITHOUT_DATA:
    return 0
  return int(extended) if extended else info.size


def may_be_cut(info: tarfile.TarInfo) -> bool:
  """Whether an extended header, lost before this one, may have held the whole name."""
  return (
    len(info.name.encode("utf-8", "surrogateescape")) > 90
    or not info.name.isascii()
    or "?" in info.name
    or "GNUSparseFile" in info.name
    or "PaxHeader" in info.name
  )


def pax(data: bytes) -> dict[str, str]:
  """The fields of an extended header: `length key=value\\n`, one after another.

  Raises:
    ValueError: it is something else, or a size in it is no number.
  """
  fields = {}
  while data:
    length = data[:20].partition(b" ")[0]
    end = int(length) if length.isdigit() else 0
    if not len(length) + 1 < end <= len(data) or data[end - 1 : end] != b"\n":
      raise ValueError("an extended header that is none")
    record = data[len(length) + 1 : end - 1]
    key, equals, value = record.partition(b"=")
    if not equals:
      raise ValueError("an extended header that is none")
    fields[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
    data = data[end:]
  if "size" in fields and not _NUMBER.fullmatch(fields["size"]):
    raise ValueError(f"an extended header with the size {fields['size'][:40]!r}")
  return fields
