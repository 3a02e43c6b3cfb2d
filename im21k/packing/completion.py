"""All shards are written -> the last files, and whether the source is what it was."""

from pathlib import Path
from typing import Any

from im21k import synsets
from im21k.dataset import manifest
from im21k.packing import final_files, outcomes, recording, scratch, source_state
from im21k.packing import parts as parts_of
from im21k.packing.config import PackOptions
from im21k.packing.parts import Parts
from im21k.packing.places import Given
from im21k.packing.shard_plan import ShardPlan

_PURPOSE = {"train": "train on", "eval": "evaluate on"}


def complete(
  written: final_files.Written,
  plan: ShardPlan,
  options: PackOptions,
  classes: synsets.ClassList,
) -> dict[str, Any]:
  """Writes the last files; of several parts, one does it, and the others wait for it.

  Args:
    written: what is written.
    plan: its shards.
    options, classes: how it is packed.

  Returns:
    What `pack` returns.

  Raises:
    ValueError: there is nothing to train on, or to evaluate on.
  """
  destination = written.destination
  with scratch.completing(destination):
    if (destination / manifest.MANIFEST).exists():  # By another part.
      return final_files.result(destination, options)
    changed = change(written.parts, destination, options, classes)
    if missing := final_files.complete(written, options, classes):
      raise _nothing(written, plan, missing)
    result = final_files.result(destination, options)
  if changed:
    reasons = (result.get("failed"), changed)
    result["failed"] = "; ".join(filter(None, reasons))
  return result


def change(
  parts: Parts, destination: Path, options: PackOptions, classes: synsets.ClassList
) -> str | None:
  """How the sources changed while they were packed, in a line; None if they did not.

  Args:
    parts: the sources, as opened when packing began.
    destination: folder for the shards, whose scratch folder holds the list of then.
    options, classes: how they are packed.
  """
  try:
    places = [Given(part.path, part.split) for part in parts]
    # A folder may hold other files; to look into an archive again would take long.
    if any(part.source.root is not None or part.path.is_dir() for part in parts):
      parts = parts_of.opened(places, options, classes)
    with source_state.recording(destination / scratch.FOLDER) as recorder:
      recording.add(parts, recorder)
      what = scratch.difference(destination, recorder.path, recorder.digest())
  except (OSError, ValueError) as error:
    what = str(error).removeprefix(f"[Errno {getattr(error, 'errno', 0)}] ")
  return what and (
    f"{parts.text} changed while it was packed: {what}; photos of it may be missing or "
    f"damaged: remove {destination}, and pack again"
  )


def _nothing(
  written: final_files.Written, plan: ShardPlan, missing: set[str]
) -> ValueError:
  """The error that these splits have no sound photo."""
  parts, texts = written.parts, []
  for split in sorted(missing):
    count = plan.to_train if split == "train" else plan.to_evaluate
    of_split = [str(part.path) for part in parts if part.split in ("", split)]
    texts.append(
      f"none of the {count:,} files to {_PURPOSE[split]} in {' and '.join(of_split)} "
      "is a sound photo"
    )
  where = written.destination / outcomes.REJECTED
  return ValueError(f"{' and '.join(texts)}: see {where}")
