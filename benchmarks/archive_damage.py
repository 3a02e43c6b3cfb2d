"""Tars of photos, and damage in them whose consequences are known.

In: photos by path. Out: the bytes of a tar; a damaged one with the photos that the
damage does not touch, by which a reader is judged.
"""

import io
import random
import tarfile
from collections.abc import Mapping
from typing import NamedTuple

BLOCK = 512
_FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
_FIELDS = {  # offset and length of what a header says
  "name": (0, 100), "mode": (100, 8), "size": (124, 12), "mtime": (136, 12),
  "type": (156, 1), "link": (157, 100), "magic": (257, 8), "prefix": (345, 155),
}  # fmt: skip


class Case(NamedTuple):
  """Damage of a tar.

  Attributes:
    what: a description.
    untouched: paths of the photos that must come.
    is_legitimate: whether photos may disappear without damage: a header that holds
      says so.
  """

  what: str
  untouched: frozenset[str]
  is_legitimate: bool


def tar_of(rng: random.Random, photos: Mapping[str, bytes]) -> bytes:
  """A tar in one of the formats, now and then with long names before the photos."""
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode="w", format=rng.choice(_FORMATS)) as tar:
    if tar.format != tarfile.USTAR_FORMAT and rng.random() < 0.3:
      tar.addfile(tarfile.TarInfo("n01440764/" + "long" * 60 + ".txt"))
    for name, data in photos.items():
      member = tarfile.TarInfo(name)
      member.size = len(data)
      tar.addfile(member, io.BytesIO(data))
  return file.getvalue()


def damaged(rng: random.Random, tar: bytes) -> tuple[Case, bytes]:
  """Bytes with one kind of damage, and what must come nevertheless."""
  extents = _extents(tar)
  kind = rng.choice(("flip", "zero", "cut", "insert", "remove", "field", "double"))
  at = rng.randrange(max(end for _, end in extents.values()))
  block, end = at // BLOCK * BLOCK, at + 1
  if kind == "flip":
    changed = bytearray(tar)
    changed[at] ^= 1 << rng.randrange(8)
    data = bytes(changed)
  elif kind == "zero":
    end = min(at + rng.choice((1, 512, 1024, 4096, 10_240)), len(tar))
    data = tar[:at] + bytes(end - at) + tar[end:]
  elif kind == "cut":
    end, data = len(tar), tar[:at]
  elif kind == "insert":
    data = tar[:block] + rng.randbytes(BLOCK * rng.choice((1, 3))) + tar[block:]
  elif kind == "remove":
    data = tar[:block] + tar[block + BLOCK :]
  if kind not in ("double", "field"):
    # A tar whose last headers became zeros is a shorter tar, as far as anybody sees.
    is_end = not any(data[at:])
    untouched = _untouched(extents, at, end, kind in ("insert", "remove"))
    return Case(f"{kind} from {at} to {end}", untouched, is_end), data
  if kind == "double":
    whole = frozenset(extents)
    return Case("the tar twice", whole, False), tar + tar
  return _field(rng, tar, extents)


def _field(
  rng: random.Random, tar: bytes, extents: dict[str, tuple[int, int]]
) -> tuple[Case, bytes]:
  """A header that says something absurd, with a checksum that holds."""
  path = rng.choice(list(extents))
  start, _ = extents[path]
  name, (offset, length) = rng.choice(list(_FIELDS.items()))
  value = rng.choice(
    (
      bytes(length), b"\xff" * length, b"7" * length, b"\x80" + b"\xff" * (length - 1),
      rng.randbytes(length), b"-1".ljust(length, b"\0")[:length],
      rng.choice((b"0", b"1", b"2", b"5", b"6", b"x", b"g", b"L", b"K", b"S", b"V"))
      .ljust(length, b"\0")[:length],
      b"../../x\n\x1b[31m".ljust(length, b"\0")[:length],
    )
  )  # fmt: skip
  header = bytearray(tar[start : start + BLOCK])
  header[offset : offset + length] = value
  header[148:156] = b" " * 8
  header[148:156] = b"%06o\0 " % sum(header)
  data = tar[:start] + bytes(header) + tar[start + BLOCK :]
  before = frozenset(other for other, (_, end) in extents.items() if end <= start)
  return Case(f"{name} of {path} is {value!r:.60}", before, True), data


def _untouched(
  extents: dict[str, tuple[int, int]], start: int, stop: int, shifts: bool
) -> frozenset[str]:
  """The photos that must come, whatever is between `start` and `stop`.

  A reader may doubt the photo that no sound header follows; and where blocks are
  missing, a photo takes the header of the next one for its own end.
  """
  names = list(extents)
  hit = [
    at
    for at, (begins, ends) in enumerate(extents.values())
    if begins < stop and ends > start
  ]
  before = hit[0] - 1 if hit else len(names) - 1
  after = hit[-1] + 1 + shifts if hit else len(names)
  return frozenset(names[: max(before, 0)] + names[after:])


def _extents(tar: bytes) -> dict[str, tuple[int, int]]:
  """Where each photo begins, with all that comes before it, and where it ends."""
  extents, before = {}, 0
  with tarfile.open(fileobj=io.BytesIO(tar)) as file:
    for member in file:
      end = member.offset_data + -(-member.size // BLOCK) * BLOCK
      if member.name.endswith(".jpg"):
        extents[member.name] = (before, end)
        before = end
  return extents
