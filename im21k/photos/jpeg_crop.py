"""A part of a JPEG -> pixels, without decoding the rest: libjpeg-turbo 3 by ctypes.

The library comes with the wheel `turbojpeg`, of which nothing else is used: no Python
binding that was found gives crops (see benchmarks/README.md). Decoding releases the
GIL.
"""

import ctypes
import ctypes.util
import functools
import importlib.metadata
from typing import NamedTuple

import numpy as np

from im21k.photos import images

# Of enum TJPARAM and struct tjregion in turbojpeg.h, version 3.
_SUBSAMPLING, _WIDTH, _HEIGHT, _PRECISION, _COLORSPACE = 4, 5, 6, 7, 8
_PROGRESSIVE, _ARITHMETIC, _LOSSLESS = 12, 14, 15
_DECOMPRESS, _RGB, _WARNING = 1, 0, 0
_YCCK_OR_CMYK = (3, 4)
_MCU_WIDTH = (8, 16, 16, 8, 8, 32, 8)
# Upsampling of the colours looks two pixels further than the part that is wanted.
_MARGIN = 2


class Box(NamedTuple):
  """A part of an image, in pixels."""

  top: int
  left: int
  height: int
  width: int


class Decoder:
  """Decodes parts of JPEGs, one at a time; for one thread.

  `open` a JPEG, then ask for a `crop` of it.
  """

  def __init__(self) -> None:
    self._library = _library()
    self._handle = None
    self._jpeg = b""
    self._height = self._width = self._subsampling = 0
    self._whole = False
    self._pixels = self._data = np.empty(0, np.uint8)

  def __del__(self) -> None:
    self._library.tj3Destroy(self._handle)

  def open(self, jpeg: bytes) -> tuple[int, int]:
    """Reads the header: height and width; ImageError if there is none."""
    # A fresh one (3 µs) knows nothing of the photo before, sound or damaged.
    self._library.tj3Destroy(self._handle)
    self._handle = self._library.tj3Init(_DECOMPRESS)
    if not self._handle:
      raise MemoryError("libturbojpeg has no memory for a decoder")
    if not jpeg:
      raise images.ImageError("no bytes")
    self._jpeg = jpeg
    self._read_header(np.frombuffer(jpeg, np.uint8))
    get = self._get
    self._height, self._width = get(_HEIGHT), get(_WIDTH)
    self._subsampling = get(_SUBSAMPLING)
    if self._height < 1 or self._width < 1:
      raise images.ImageError("JPEG without an image")
    if self._height * self._width > images.MAX_PIXELS:
      raise images.ImageError(
        f"{self._width}×{self._height} pixels are more than {images.MAX_PIXELS:,}"
      )
    # Other kinds are rare, and crops of them hardly tested by anybody.
    self._whole = (
      self._subsampling < 0
      or get(_PRECISION) != 8
      or get(_COLORSPACE) in _YCCK_OR_CMYK
      or any(get(kind) for kind in (_PROGRESSIVE, _ARITHMETIC, _LOSSLESS))
    )
    return self._height, self._width

  def crop(self, box: Box, least: int) -> np.ndarray:
    """The pixels of `box`, `[h, w, 3]` uint8 RGB, valid until the next crop.

    They are those of the whole photo, decoded and cut; at 1/2, 1/4 or 1/8 of the scale
    if each side still has `least` pixels then.

    Raises:
      ImageError: the JPEG cannot be decoded.
    """
    top, left, height, width = box
    if self._whole:
      return images.decode_jpeg(self._jpeg)[top : top + height, left : left + width]
    down = next(d for d in (8, 4, 2, 1) if d == 1 or min(height, width) >= d * least)
    step = _MCU_WIDTH[self._subsampling] // down or 1
    y0, y1 = round(top / down), round((top + height) / down)
    x0, x1 = round(left / down), round((left + width) / down)
    start = max(0, x0 - _MARGIN) // step * step
    stop = min(-(-self._width // down), x1 + _MARGIN)
    data = self._without_rows_from(top + height + _MARGIN * down)
    scale, region = _Scale(1, down), _Region(start, y0, stop - start, y1 - y0)
    self._check(self._library.tj3SetScalingFactor(self._handle, scale))
    self._check(self._library.tj3SetCroppingRegion(self._handle, region))
    size = region.w * region.h * 3
    if len(self._pixels) < size:
      self._pixels = np.empty(size, np.uint8)
    self._check(
      self._library.tj3Decompress8(
        self._handle, data.ctypes.data, len(data), self._pixels.ctypes.data, 0, _RGB
      ),
      lenient=True,
    )
    pixels = self._pixels[:size].reshape(region.h, region.w, 3)
    return pixels[:, x0 - start : x1 - start]

  def _without_rows_from(self, end: int) -> np.ndarray:
    """The JPEG with a header that says that it ends there.

    The decoder would go through the rest, whatever part of it is asked for; so it goes
    on reading behind the last row, finds no marker, and warns.
    """
    size = len(self._jpeg)
    if len(self._data) < size:
      self._data = np.empty(size, np.uint8)
    data = self._data[:size]
    data[:] = np.frombuffer(self._jpeg, np.uint8)
    frame = _frame(self._jpeg) if end < self._height else 0
    if frame:
      data[frame + 5 : frame + 7] = divmod(end, 256)
      self._read_header(data)
      if (self._get(_HEIGHT), self._get(_WIDTH)) != (end, self._width):
        # Damage has made the decoder see another header than this module sees.
        raise images.ImageError("more than one header of a frame")
    return data

  def _read_header(self, data: np.ndarray) -> None:
    pointer = data.ctypes.data
    self._check(self._library.tj3DecompressHeader(self._handle, pointer, len(data)))

  def _get(self, parameter: int) -> int:
    return self._library.tj3Get(self._handle, parameter)

  def _check(self, result: int, lenient: bool = False) -> None:
    # Whether it was a warning is told of the latest decoding, not of other calls.
    if result and not (
      lenient and self._library.tj3GetErrorCode(self._handle) == _WARNING
    ):
      reason = self._library.tj3GetErrorStr(self._handle).decode("utf-8", "replace")
      raise images.ImageError(reason)


def _frame(jpeg: bytes) -> int:
  """Where the header of the only frame begins, if all of it is in one scan; else 0."""
  at, frame = 2, 0
  while at + 9 < len(jpeg) and jpeg[at] == 0xFF:
    marker, length = jpeg[at + 1], jpeg[at + 2] << 8 | jpeg[at + 3]
    if marker in (0xC0, 0xC1):
      frame = at
    elif marker == 0xDA:
      return frame if frame and jpeg[at + 4] == jpeg[frame + 9] else 0
    at += 2 + length
  return 0


class _Scale(ctypes.Structure):
  _fields_ = (("num", ctypes.c_int), ("denom", ctypes.c_int))


class _Region(ctypes.Structure):
  _fields_ = tuple((name, ctypes.c_int) for name in "xywh")


@functools.cache
def _library() -> ctypes.CDLL:
  # What takes microseconds keeps the GIL: giving it up and taking it again takes more.
  library = ctypes.PyDLL(_path())
  setattr(library, "tj3Decompress8", ctypes.CDLL(_path()).tj3Decompress8)  # noqa: B010
  if not hasattr(library, "tj3SetCroppingRegion"):
    raise ImportError(f"{_path()} is older than libjpeg-turbo 3: {_REMEDY}")
  handle, integer, data = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
  for name, result, arguments in (
    ("tj3Init", handle, [integer]),
    ("tj3Destroy", None, [handle]),
    ("tj3Get", integer, [handle, integer]),
    ("tj3GetErrorCode", integer, [handle]),
    ("tj3GetErrorStr", data, [handle]),
    ("tj3DecompressHeader", integer, [handle, handle, ctypes.c_size_t]),
    ("tj3SetScalingFactor", integer, [handle, _Scale]),
    ("tj3SetCroppingRegion", integer, [handle, _Region]),
    (
      "tj3Decompress8",
      integer,
      [handle, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, integer, integer],
    ),
  ):
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
  return library


_REMEDY = "install the package turbojpeg, or libjpeg-turbo 3 or newer"


def _path() -> str:
  try:
    for file in importlib.metadata.files("turbojpeg") or ():
      if file.name.startswith("libturbojpeg"):
        return str(file.locate())
  except importlib.metadata.PackageNotFoundError:
    pass  # The system may have one.
  found = ctypes.util.find_library("turbojpeg")
  if not found:
    raise ImportError(f"libturbojpeg is not found: {_REMEDY}")
  return found
