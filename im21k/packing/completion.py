"""All shards are written -> the last files, and whether the source is what it was."""

from pathlib import Path
from typing import Any

from im21k import synsets
from im21k.dataset import manifest
from im21k.packing import final_files, scratch, source_state
from im21k.packing.config import PackOptions
from im21k.photos import sources


def complete(
  written: final_files.Written,
  path: Path,
  source: sources.Source,
  options: PackOptions,
  classes: synsets.ClassList,
) -> dict[str, Any] | None:
  """Writes the last files; of several parts, one does it, and the others wait for it.

  Args:
    written: what is written.
    path, source: the source, as given and as opened when packing began.
    options, classes: how it is packed.

  Returns:
    What `pack` returns; None if there is nothing to train on.
  """
  destination = written.destination
  with scratch.completing(destination):
    if (destination / manifest.MANIFEST).exists():  # By another part.
      return final_files.result(destination, options)
    changed = change(path, source, destination, options, classes)
    if not final_files.complete(written, options, classes):
      return None
    result = final_files.result(destination, options)
  if changed:
    reasons = (result.get("failed"), changed)
    result["failed"] = "; ".join(filter(None, reasons))
  return result


def find(
  path: Path, options: PackOptions, classes: synsets.ClassList
) -> sources.Source:
  """Opens the source as the options say; errors as of `sources.find`."""
  return sources.find(
    path,
    classes.synsets,
    options.root,
    options.labels,
    options.source_split,
    mixed=options.unlisted == "skip",
  )


def change(
  path: Path,
  source: sources.Source,
  destination: Path,
  options: PackOptions,
  classes: synsets.ClassList,
) -> str | None:
  """How the source changed while it was packed, in one line; None if it did not.

  Args:
    path, source: the source, as given and as opened when packing began.
    destination: folder for the shards, whose scratch folder holds the list of then.
    options, classes: how it is packed.
  """
  try:
    # A folder may hold other files; to look into an archive again would take long.
    if source.root is not None or path.is_dir():
      source = find(path, options, classes)
    with source_state.recording(destination / scratch.FOLDER) as recorder:
      recorder.add(source)
      what = scratch.difference(destination, recorder.path, recorder.digest())
  except (OSError, ValueError) as error:
    what = str(error).removeprefix(f"[Errno {getattr(error, 'errno', 0)}] ")
  return what and (
    f"{path} changed while it was packed: {what}; photos of it may be missing or "
    f"damaged: remove {destination}, and pack again"
  )
