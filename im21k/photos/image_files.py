"""Which files are taken for photos where no folder of a class says that they are.

In: a name and the first bytes. Out: yes or no; the bytes decide later, in `images`.
"""

from pathlib import Path, PurePosixPath

# Files that are taken for photos where no folder says that they are.
SUFFIXES = frozenset({
  ".apng", ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo",
  ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
})  # fmt: skip
# Those that may hold photos, which are not read if nothing says their class.
_ARCHIVES = frozenset({
  ".7z", ".bz2", ".gz", ".rar", ".rec", ".tar", ".tbz2", ".tgz", ".txz", ".xz", ".zip",
  ".zst",
})  # fmt: skip
SIGNATURE = 4  # bytes
# First bytes of JPEG, PNG, GIF, BMP, WebP and TIFF.
_SIGNATURES = (
  b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*",
)  # fmt: skip


def may_be_photo(name: str, head: bytes = b"") -> bool:
  """Whether a file that is in no class's folder is a photo, or may hold photos.

  Args:
    name: its name.
    head: its first `SIGNATURE` bytes.
  """
  suffix = PurePosixPath(name).suffix.lower()
  return suffix in SUFFIXES or suffix in _ARCHIVES or head.startswith(_SIGNATURES)


def is_image(path: Path) -> bool:
  """Whether a file begins as an image of a common format does."""
  with path.open("rb") as file:
    return file.read(SIGNATURE).startswith(_SIGNATURES)
