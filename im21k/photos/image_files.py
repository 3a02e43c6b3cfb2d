"""Which files are taken for photos where no folder of a class says that they are.

In: a name and the first bytes. Out: yes or no; the bytes decide later, in `images`.
"""

from pathlib import Path, PurePosixPath

# Files that are taken for photos where no folder says that they are.
SUFFIXES = frozenset({
  ".apng", ".avif", ".bmp", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg",
  ".jpf", ".jpg", ".jpx", ".mpo", ".pgm", ".png", ".ppm", ".psd", ".qoi", ".tif",
  ".tiff", ".webp",
  # Those that no decoder here reads are rejected, and so counted.
  ".arw", ".cr2", ".cr3", ".dng", ".heic", ".heif", ".jxl", ".nef", ".orf", ".raf",
  ".rw2", ".tga",
})  # fmt: skip
# Those that may hold photos, which are not read if nothing says their class.
_ARCHIVES = frozenset({
  ".7z", ".bz2", ".gz", ".rar", ".rec", ".tar", ".tbz2", ".tgz", ".txz", ".xz", ".zip",
  ".zst",
})  # fmt: skip
SIGNATURE = 12  # bytes
ENDING = 512  # bytes
# First bytes of JPEG, PNG, GIF, BMP, WebP, TIFF, QOI, JPEG 2000 and JPEG XL.
_SIGNATURES = (
  b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*", b"qoif",
  b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ", b"\xff\x0a", b"\0\0\0\x0cJXL ",
)  # fmt: skip
_ENDS = b"\xff\xd9", b"IEND\xae\x42\x60\x82"  # of JPEG and PNG
# Brands of AVIF, HEIC and Canon's raw photos, behind a length and `ftyp`.
_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"mif1", b"msf1", b"crx ")


def may_be_photo(name: str, head: bytes = b"") -> bool:
  """Whether a file that is in no class's folder is a photo, or may hold photos.

  Args:
    name: its name.
    head: its first `SIGNATURE` bytes.
  """
  suffix = PurePosixPath(name).suffix.lower()
  return suffix in SUFFIXES or suffix in _ARCHIVES or begins_as_image(head)


def may_go_on(tail: bytes) -> bool:
  """Whether bytes that end in zeros may be a photo of which the rest became zeros.

  Args:
    tail: its last `ENDING` bytes. Some cameras write a few zeros behind the end of the
      image; blocks that were lost in it leave more.
  """
  return tail.endswith(b"\0") and not tail.rstrip(b"\0").endswith(_ENDS)


def is_image(path: Path) -> bool:
  """Whether a file begins as an image of a common format does."""
  with path.open("rb") as file:
    return begins_as_image(file.read(SIGNATURE))


def begins_as_image(head: bytes) -> bool:
  """Whether the first `SIGNATURE` bytes of a file are those of an image."""
  is_boxed = head[4:8] == b"ftyp" and head[8:12] in _BRANDS
  return is_boxed or head.startswith(_SIGNATURES)
