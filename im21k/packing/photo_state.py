"""Photos -> what they are at this moment, to notice that they are others later."""

import tempfile
from pathlib import Path

from im21k.dataset.manifest import MANIFEST, Manifest
from im21k.packing import parts, source_state
from im21k.packing.config import PackOptions
from im21k.photos import Source


def of(photos: Path, source: Source) -> str:
  """A digest of the photos of a source, none of which is read.

  Args:
    photos: where they are: packed ones, whose digest is that of their records; a file;
      or a folder, whose digest is that of names, sizes and times.
    source: the photos there, as `photos.open` gives them.

  Raises:
    OSError, ValueError: they cannot be listed.
  """
  if (photos / MANIFEST).is_file():
    return Manifest.load(photos).digest
  if photos.is_file():
    status = photos.stat()
    return f"{status.st_size} bytes of {status.st_mtime_ns}"
  with (
    tempfile.TemporaryDirectory() as folder,
    source_state.recording(Path(folder)) as recorder,
  ):
    recorder.add(source)
    return recorder.digest()


def to_pack(photos: Path, classes: str | None) -> str | None:
  """The same of photos that are to be packed; None: there are none to read.

  Args:
    photos: what pack takes.
    classes: as of pack.
  """
  try:
    _, found = parts.open_all([photos], PackOptions(classes=classes))
    return of(photos, found.joined)
  except (OSError, ValueError):
    return None  # They are gone, or packing says what is wrong.
