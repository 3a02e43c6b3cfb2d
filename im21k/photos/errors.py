"""Why a file is no usable image, whatever a decoder raised."""

from PIL import Image, UnidentifiedImageError

_ENDS_EARLY = (
  "end of jpeg file", "truncated", "not enough image data", "unexpected end",
)  # fmt: skip
# Their texts say enough; of the others the name of the class is half of the reason.
_PLAIN = (OSError, ValueError, SyntaxError)


class ImageError(ValueError):
  """A file that is no usable image; the message is the reason.

  Attributes:
    kind: `empty`, `zero bytes`, `not an image`, `too large`, `truncated`,
      `unsupported` or `damaged`.
  """

  def __init__(self, reason: str, kind: str = "damaged"):
    super().__init__(reason)
    self.kind = kind


def image_error(error: Exception, data: bytes = b"") -> ImageError:
  """What a decoder raised, as an ImageError.

  Pillow's decoders raise nearly anything on damaged files: no list of classes holds.

  Args:
    error: what was raised.
    data: the file.
  """
  if isinstance(error, ImageError):
    return error
  if isinstance(error, UnidentifiedImageError):
    reason = f"not an image of a common format; it begins with {data[:12]!r}"
    return ImageError(reason, "not an image")
  message = str(error)
  if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
    return ImageError(message, "too large")
  if isinstance(error, MemoryError):
    return ImageError("there is not enough memory to decode it", "too large")
  if not isinstance(error, _PLAIN) or not message:
    message = f"{type(error).__name__}: {message}".rstrip(": ")
  early = any(words in message.lower() for words in _ENDS_EARLY)
  return ImageError(message, "truncated" if early else "damaged")
