"""The body of a request -> photos, counted in bytes as they arrive.

Nothing believes what a header says of a size, and no name that a client gives is used
as a path.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, NamedTuple

from im21k import words

PHOTO_BYTES = 32 << 20
REQUEST_BYTES = 64 << 20
PHOTOS = 32  # of one request
ALL_BYTES = 256 << 20  # of all requests at a time
SECONDS = 60  # for a body to arrive
_DISCARDED = (
  64 << 20
)  # Bytes behind the limit that are read, so that a client hears it.
_LONGEST_NAME = 200


class Refused(Exception):
  """A request that is answered with an error.

  Attributes:
    status: of HTTP.
  """

  def __init__(self, status: int, reason: str):
    super().__init__(reason)
    self.status = status


class Upload(NamedTuple):
  """A file and the name that the client gives it."""

  name: str
  data: bytes


class Uploads:
  """Reads bodies; knows how many bytes all of them hold."""

  def __init__(self) -> None:
    """No request is being answered yet."""
    self._bytes = 0

  @contextlib.asynccontextmanager
  async def read(self, request: Any) -> AsyncIterator[list[Upload]]:
    """The photos in a request's body, which count until the end of the context.

    Args:
      request: of Starlette; its body is a photo, or a form with files.

    Raises:
      Refused: the body is of another type, too large, too slow, or holds no photo.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in ("application/json", "application/xml"):
      shown = words.visible(kind[:40])
      raise Refused(415, f"{shown} is no photo: send the file, or a form with files")
    taken = _Taken(self)
    read = _in_form if kind == "multipart/form-data" else _alone
    photos: list[Upload] = []
    try:
      try:
        async with asyncio.timeout(SECONDS):
          photos = await read(request, taken)
      except TimeoutError:
        raise Refused(408, f"the body took longer than {SECONDS} s") from None
      yield photos
    finally:
      photos.clear()  # Whoever asked may wait for the model yet.
      taken.give_back()


class _Taken:
  """Bytes of one request, among those of all."""

  def __init__(self, all_of_them: Uploads):
    self._all, self.count = all_of_them, 0

  def add(self, count: int) -> None:
    """Counts bytes; `Refused` where they are too many."""
    self.count += count
    self._all._bytes += count
    if self.count > REQUEST_BYTES:
      raise Refused(413, f"a request has at most {REQUEST_BYTES:,} bytes")
    if self._all._bytes > ALL_BYTES:
      raise Refused(503, "too many photos arrive at a time: try again later")

  def give_back(self) -> None:
    """The bytes are no longer held."""
    self._all._bytes -= self.count
    self.count = 0


async def _alone(request: Any, taken: _Taken) -> list[Upload]:
  """The body as one photo."""
  parts = []
  async for part in _counted(request, taken, PHOTO_BYTES):
    parts.append(part)
  data = b"".join(parts)
  if not data:
    raise Refused(400, "the body is empty: send a photo")
  return [Upload("photo", data)]


async def _in_form(request: Any, taken: _Taken) -> list[Upload]:
  """The files of a form; its other fields are not looked at."""
  from starlette.formparsers import MultiPartException, MultiPartParser

  body = _counted(request, taken, REQUEST_BYTES)
  parser = MultiPartParser(
    request.headers, body, max_files=PHOTOS, max_fields=PHOTOS, max_part_size=1 << 16
  )
  try:
    form = await parser.parse()
  except MultiPartException as error:
    await _discard(body)
    raise Refused(400, f"the form cannot be read: {_shown(error.message)}") from None
  except (KeyError, ValueError, UnicodeError):  # Of a header without what it must have.
    await _discard(body)
    raise Refused(400, "the form cannot be read") from None
  try:
    photos = []
    for _, file in form.multi_items():
      if isinstance(file, str):
        continue
      if (file.size or 0) > PHOTO_BYTES:
        raise Refused(413, f"a photo has at most {PHOTO_BYTES:,} bytes")
      photos.append(Upload(_shown(file.filename or "photo"), await file.read()))
  finally:
    await form.close()
  if not photos:
    raise Refused(400, "the form has no file: send photos as files")
  return photos


async def _counted(
  request: Any, taken: _Taken, most: int
) -> AsyncGenerator[bytes, None]:
  """The body part by part; what is beyond the limits is read, and dropped."""
  body = request.stream()
  try:
    async for part in body:
      taken.add(len(part))
      if taken.count > most:
        raise Refused(413, f"a photo has at most {most:,} bytes")
      yield part
  except Refused:
    await _discard(body)
    raise


async def _discard(body: AsyncIterator[bytes]) -> None:
  """Reads on for a while: a client that still sends does not read an answer."""
  left = _DISCARDED
  with contextlib.suppress(Exception):
    async for part in body:
      left -= len(part)
      if left < 0:
        return


def _shown(text: str) -> str:
  """A client's text, short and without what cannot be seen; no path."""
  name = text.replace("\\", "/").rpartition("/")[2]
  return words.visible(name[:_LONGEST_NAME])
