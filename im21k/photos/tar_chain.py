"""The headers of one member of a tar: extended ones with long names, and its own.

In: a window at the first of them. Out: what they say together.
"""

import dataclasses
import tarfile

from im21k.photos import tar_headers
from im21k.photos.tar_headers import BLOCK
from im21k.photos.tar_input import Window


@dataclasses.dataclass
class Said:
  """What the headers of a member say.

  Attributes:
    info: its own header.
    name, link: those of extended headers; "" where there are none.
    size: bytes of its data.
    is_sparse: whether its data lacks the zeros of the file.
    broken: why the extended headers cannot be believed; "" if they can.
    stopped: why there is nothing to be read behind the headers; "" if there is.
  """

  info: tarfile.TarInfo
  name: str = ""
  link: str = ""
  size: int = 0
  is_sparse: bool = False
  broken: str = ""
  stopped: str = ""


def read(data: Window, info: tarfile.TarInfo) -> Said:
  """Passes over the headers of a member, of which the first, `info`, is sound."""
  said, fields = Said(info), dict[str, str]()
  block, seen = data.read(BLOCK), {info.type} - {tar_headers.GLOBAL}
  while said.info.type in tar_headers.EXTENSIONS:
    _read_extension(data, said, fields)
    following = None if said.stopped else tar_headers.read(data.peek(BLOCK))
    if following is None:
      said.stopped = said.stopped or "no header follows an extended header"
      return said
    if following.type in seen:
      said.stopped = "no member follows an extended header"
      return said
    seen |= {following.type} - {tar_headers.GLOBAL}
    said.info, block = following, data.read(BLOCK)
  if said.info.type == tarfile.GNUTYPE_SPARSE:
    # More blocks of the header follow while the last one says so.
    said.is_sparse, is_extended = True, block[482]
    while is_extended:
      block = data.read(BLOCK)
      if len(block) < BLOCK:
        said.stopped = "it ends early, in the header of a sparse file"
        return said
      is_extended = block[504]
  said.name = fields.get("GNU.sparse.name") or fields.get("path") or said.name
  said.link = fields.get("linkpath") or said.link
  said.is_sparse |= any(key.startswith("GNU.sparse.") for key in fields)
  said.size = tar_headers.size_of_data(said.info, fields.get("size", ""))
  return said


def _read_extension(data: Window, said: Said, fields: dict[str, str]) -> None:
  """Adds what the extended header says whose first block was read."""
  info = said.info
  if info.size > tar_headers.LONGEST:
    said.stopped = f"an extended header of {info.size:,} bytes"
    return
  size = info.size + -info.size % BLOCK
  content = data.read(size)
  if len(content) < size:
    said.stopped = "it ends early, in an extended header"
    return
  content = content[: info.size]
  if info.type in (tar_headers.LONG_NAME, tar_headers.LONG_LINK):
    text = content.rstrip(b"\0").decode("utf-8", "surrogateescape")
    if info.type == tar_headers.LONG_NAME:
      said.name = text
    else:
      said.link = text
    return
  try:
    found = tar_headers.pax(content)
  except ValueError as error:
    said.broken = str(error)
    return
  if info.type != tar_headers.GLOBAL:
    fields |= found
