"""`finetune.json`: what was asked for in a folder, and what came of it."""

import json
from pathlib import Path
from typing import Any

from im21k import documents, files
from im21k.pages.run_page import FINETUNED as NAME

_REMEDY = "name another folder, or remove this one"


class Record:
  """The record of a folder.

  Attributes:
    result: of the command that has ended there; empty: none has.
  """

  def __init__(self, folder: Path, asked: dict[str, Any], photos: str | None):
    """Reads the record, if there is one; writes nothing.

    Args:
      folder: where it is, or will be.
      asked: what determines the result.
      photos: what the photos are, see `photo_state`; None: they are gone, which does
        not matter to what is made of them.

    Raises:
      ValueError: the folder holds other files, or was made of something else.
    """
    self._path, self._asked, self._photos = folder / NAME, asked, photos
    self.result: dict[str, Any] = {}
    if not self._path.is_file():
      if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds other files: {_REMEDY}")
      return
    found = documents.read(self._path, _REMEDY)
    before, result = found.get("asked"), found.get("result", {})
    if not isinstance(before, dict) or not isinstance(result, dict):
      raise ValueError(f"{self._path} is damaged: {_REMEDY}")
    changed = [
      f"{name} was {before.get(name)}, is {value}"
      for name, value in asked.items()
      if before.get(name) != value
    ]
    if changed:
      raise ValueError(
        f"{folder} holds another fine-tuning: {'; '.join(changed)}: {_REMEDY}"
      )
    then = found.get("photos")
    if photos and then and photos != then:
      raise ValueError(
        f"{asked['photos']} has changed since {folder} was begun, which holds a "
        f"fine-tuning of the photos of then: {_REMEDY}"
      )
    self._photos = photos or then
    self.result = result

  def write(self, result: dict[str, Any] | None = None, data: str = "") -> None:
    """Writes what was asked for, where the packed photos are, and what came of it."""
    document = {
      "asked": self._asked,
      "photos": self._photos,
      "data": data,
      "result": result or {},
    }
    files.write_text(self._path, json.dumps(document, indent=1) + "\n")
