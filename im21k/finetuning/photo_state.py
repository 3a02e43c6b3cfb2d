"""Photos -> what they are at this moment, to notice that they are others later."""

import tempfile
from pathlib import Path

from im21k.dataset.manifest import Manifest
from im21k.evaluation import inputs
from im21k.packing import class_choice, completion, source_state
from im21k.packing.config import PackOptions
from im21k.training import resume


def of(photos: Path, classes: str | None) -> str | None:
  """A digest of names, sizes and times of the photos; None: there are none to read.

  Args:
    photos: packed ones, whose digest is that of their records; or what pack takes.
    classes: as of pack.
  """
  if inputs.is_packed(photos):
    return resume.data_hash(Manifest.load(photos))
  try:
    if not photos.is_dir():
      status = photos.stat()
      return f"{status.st_size} bytes of {status.st_mtime_ns}"
    listed = class_choice.choose(classes, photos)
    source = completion.find(photos, PackOptions(classes=classes), listed)
    with (
      tempfile.TemporaryDirectory() as folder,
      source_state.recording(Path(folder)) as recorder,
    ):
      recorder.add(source)
      return recorder.digest()
  except (OSError, ValueError):
    return None  # They are gone, or packing says what is wrong.
