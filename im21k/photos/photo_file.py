"""A path -> the bytes of the file, which should be a photo; whatever else it is.

Nothing waits here, as opening a pipe would, and nothing takes more than `LARGEST`
bytes of memory, whatever size a file system says.
"""

import errno
import os
import stat

LARGEST = 256 << 20  # bytes of a file, or of a member of an archive, that is a photo
_SPECIAL = {
  stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
  stat.S_IFBLK: "a device",
}  # fmt: skip


class Unusable(OSError):
  """A file that is no photo, whatever its bytes are.

  Attributes:
    kind: a key of packing's RULES.
  """

  def __init__(self, kind: str, reason: str):
    super().__init__(errno.EINVAL, reason)
    self.kind = kind


def read(path: str | bytes) -> bytes:
  """A file's bytes, at half the cost of `Path.read_bytes`.

  Raises:
    Unusable: it is a pipe, a socket or a device, has more than `LARGEST` bytes, or was
      written to meanwhile.
    OSError: there is no such file, or it is a folder or cannot be read.
  """
  try:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
  except OSError as error:
    if error.errno == errno.ENXIO:  # of sockets
      raise Unusable("link or device", "a socket or a device, not a file") from error
    raise
  try:
    before = os.fstat(descriptor)
    size = before.st_size
    if not stat.S_ISREG(before.st_mode):
      _refuse(before.st_mode)
    if size > LARGEST:
      raise too_large(size)
    data = os.read(descriptor, size)
    while len(data) < size:  # A call reads less if a signal comes.
      piece = os.read(descriptor, size - len(data))
      if not piece:
        break
      data += piece
    after = os.fstat(descriptor)
    if (after.st_size, after.st_mtime_ns) != (size, before.st_mtime_ns):
      raise Unusable("unreadable", "the file changed while it was read")
    if len(data) < size:
      raise Unusable("unreadable", f"it ends after {len(data):,} of {size:,} bytes")
    return data
  finally:
    os.close(descriptor)


def too_large(size: int) -> Unusable:
  """The error for a photo of so many bytes."""
  return Unusable("too large", f"{size:,} bytes, of which {LARGEST:,} are allowed")


def _refuse(mode: int) -> None:
  if stat.S_ISDIR(mode):
    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
  what = _SPECIAL.get(stat.S_IFMT(mode), "a special file")
  raise Unusable("link or device", f"{what}, not a file")
