"""What a tar is made of: members, and bytes that are lost, as `archives` gives them.

All offsets are those in the file, or in the content of a gzipped one.
"""

import dataclasses

from im21k.photos import tar_headers
from im21k.photos.tar_headers import BLOCK


@dataclasses.dataclass(frozen=True)
class Member:
  """A member of a tar.

  Attributes:
    name, type, link: as tarfile gives them; `link` is what a link leads to.
    size: bytes of its data.
    start, offset: where its first header and its data begin, in the file or in the
      content of a gzipped one.
    is_sparse: whether its data lacks the zeros of the file.
    is_cut: whether its size, that of a tar, should be larger.
  """

  name: str
  type: bytes
  size: int
  start: int
  offset: int
  link: str = ""
  is_sparse: bool = False
  is_cut: bool = False

  @property
  def end(self) -> int:
    """Where the next member begins."""
    return self.offset + self.size + -self.size % BLOCK

  @property
  def regular(self) -> bool:
    return self.type in tar_headers.REGULAR and not self.is_sparse


@dataclasses.dataclass(frozen=True)
class Lost:
  """Bytes of a tar that could not be read.

  Attributes:
    offset, size: where, as in `Member`, and how many.
    reason: why.
    name: of the only member in them, if its header is sound.
    doubtful: whether they include the member before, in which bytes were lost or added.
  """

  offset: int
  size: int
  reason: str
  name: str = ""
  doubtful: bool = False
