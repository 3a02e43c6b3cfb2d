"""A part of a photo -> pixels, without decoding the rest where that is possible.

In: an image file's bytes and a box of the upright photo. Out: the box's pixels, those
of `images.decode`. Plain upright JPEGs are decoded in part by libjpeg-turbo 3, called
by ctypes: no Python binding offers crops (see benchmarks/README.md). The library comes
with the wheel `turbojpeg`. Everything else is decoded whole. Decoding releases the GIL.
"""

import ctypes
import ctypes.util
import functools
import importlib.metadata
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from im21k.photos import images, jpeg_header, orientation
from im21k.photos.jpeg_header import Header

# Of enum TJPARAM and struct tjregion in turbojpeg.h, version 3.
_SUBSAMPLING, _WIDTH, _HEIGHT = 4, 5, 6
_DECOMPRESS, _RGB, _WARNING = 1, 0, 0
_MCU_WIDTH = (8, 16, 16, 8, 8, 32, 8)
# Upsampling looks one pixel further than the part that is wanted, and treats a single
# column of chroma samples, which is two pixels wide, as no other.
_MARGIN = 2


class Box(NamedTuple):
  """A part of an image, in pixels."""

  top: int
  left: int
  height: int
  width: int


class Decoder:
  """Decodes parts of photos, one at a time; for one thread.

  `open` a photo, then ask for a `crop` of it.
  """

  def __init__(self) -> None:
    self._library = _library()
    self._handle = None
    self._jpeg = b""
    self._frame = self._height = self._width = 0
    # The photo decoded, where its parts cannot be.
    self._whole: UInt8[np.ndarray, "h w 3"] | None = None
    self._pixels = self._data = np.empty(0, np.uint8)

  def __del__(self) -> None:
    self._library.tj3Destroy(self._handle)

  def open(self, data: bytes) -> tuple[int, int]:
    """Height and width of the upright photo.

    Raises:
      ImageError: its header, or a photo that must be decoded whole, is damaged.
    """
    self._whole = None
    header = jpeg_header.read(data) if data.startswith(jpeg_header.START) else None
    if header is None or not _gives_parts(header) or not header.has_end(data):
      self._whole = images.decode(data)
      return self._whole.shape[0], self._whole.shape[1]
    images.check_size(header.height, header.width)
    # A fresh one (3 µs) knows nothing of the photo before, sound or damaged.
    self._library.tj3Destroy(self._handle)
    self._handle = self._library.tj3Init(_DECOMPRESS)
    if not self._handle:
      raise MemoryError("libturbojpeg has no memory for a decoder")
    data = header.without_tail(data)
    self._jpeg, self._frame = data, header.frame
    self._height, self._width = header.height, header.width
    try:
      self._read_header(np.frombuffer(data, np.uint8))
      self._check_header(self._height)
    except images.ImageError:
      self._whole = images.decode(data)
      return self._whole.shape[0], self._whole.shape[1]
    return self._height, self._width

  def crop(self, box: Box, least: int) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of `box`, valid until the next crop.

    They are those of the whole photo, decoded and cut; at 1/2, 1/4 or 1/8 of the scale
    if each side still has `least` pixels then and the photo can be decoded in part.

    Raises:
      ImageError: the photo cannot be decoded.
    """
    top, left, height, width = box
    if self._whole is not None:
      return self._whole[top : top + height, left : left + width]
    down = next(d for d in (8, 4, 2, 1) if d == 1 or min(height, width) >= d * least)
    step = _MCU_WIDTH[self._get(_SUBSAMPLING)] // down or 1
    y0, x0 = round(top / down), round(left / down)
    # Halves are rounded to even, which could leave nothing between two of them.
    y1 = max(y0 + 1, round((top + height) / down))
    x1 = max(x0 + 1, round((left + width) / down))
    start = max(0, x0 - _MARGIN) // step * step
    stop = min(-(-self._width // down), x1 + _MARGIN)
    data = self._without_rows_from(top + height + _MARGIN * down)
    scale, region = _Scale(1, down), _Region(start, y0, stop - start, y1 - y0)
    self._check(self._library.tj3SetScalingFactor(self._handle, scale))
    self._check(self._library.tj3SetCroppingRegion(self._handle, region))
    pixels = self._pixels_of(region.h, region.w)
    self._check(self._decompress(data), lenient=True)
    return pixels[:, x0 - start : x1 - start]

  def check(self, data: bytes) -> None:
    """Raises ImageError unless a packed photo decodes here without damage.

    As `images.check_jpeg`, with the decoder that makes the crops: at 1/8 of the scale,
    where damage shows as well.
    """
    images.check_not_empty(data)
    if not data.startswith(jpeg_header.START):
      raise images.ImageError(
        f"not a JPEG; it begins with {data[:12]!r}", "not an image"
      )
    images.check_header(data)
    self.open(data)
    if self._whole is not None:
      images.check_jpeg(data)
      return
    self._check(self._library.tj3SetScalingFactor(self._handle, _Scale(1, 8)))
    self._pixels_of(-(-self._height // 8), -(-self._width // 8))
    try:
      self._check(self._decompress(np.frombuffer(self._jpeg, np.uint8)))
    except images.ImageError as error:
      if images.STRAY not in str(error):
        raise

  def _pixels_of(self, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Where the decoder writes to."""
    size = height * width * 3
    if len(self._pixels) < size:
      self._pixels = np.empty(size, np.uint8)
    return self._pixels[:size].reshape(height, width, 3)

  def _decompress(self, data: UInt8[np.ndarray, " bytes"]) -> int:
    result: int = self._library.tj3Decompress8(
      self._handle, data.ctypes.data, len(data), self._pixels.ctypes.data, 0, _RGB
    )
    return result

  def _without_rows_from(self, end: int) -> UInt8[np.ndarray, " bytes"]:
    """The JPEG with a header that says that it ends there.

    The decoder would go through the rest, whatever part of it is asked for; so it goes
    on reading behind the last row, finds no marker, and warns.
    """
    size = len(self._jpeg)
    if len(self._data) < size:
      self._data = np.empty(size, np.uint8)
    data = self._data[:size]
    data[:] = np.frombuffer(self._jpeg, np.uint8)
    end = min(end, self._height)
    data[self._frame + 5 : self._frame + 7] = divmod(end, 256)
    if end != self._get(_HEIGHT):
      self._read_header(data)
      self._check_header(end)
    return data

  def _check_header(self, height: int) -> None:
    """Damage could make the decoder see another header than `jpeg_header` sees."""
    if (self._get(_HEIGHT), self._get(_WIDTH)) != (height, self._width):
      raise images.ImageError("more than one header of a frame")
    if not 0 <= self._get(_SUBSAMPLING) < len(_MCU_WIDTH):
      raise images.ImageError("more than one header of a frame")

  def _read_header(self, data: UInt8[np.ndarray, " bytes"]) -> None:
    pointer = data.ctypes.data
    self._check(self._library.tj3DecompressHeader(self._handle, pointer, len(data)))

  def _get(self, parameter: int) -> int:
    value: int = self._library.tj3Get(self._handle, parameter)
    return value

  def _check(self, result: int, lenient: bool = False) -> None:
    # The error code is that of the latest decoding, not of other calls.
    if result and not (
      lenient and self._library.tj3GetErrorCode(self._handle) == _WARNING
    ):
      reason = self._library.tj3GetErrorStr(self._handle).decode("utf-8", "replace")
      raise images.image_error(ValueError(reason))


def _gives_parts(header: Header) -> bool:
  return header.is_plain and header.orientation == orientation.UPRIGHT


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
  name = ctypes.util.find_library("turbojpeg")
  if not name:
    raise ImportError(f"libturbojpeg is not installed: {_REMEDY}")
  return name
