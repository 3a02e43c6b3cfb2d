"""Photos from any source -> shuffled ArrayRecord shards, a manifest and a report.

Photos that are files of their own can be read in the order of the shuffle (`direct`);
any other source is read once in its own order, into sorted runs (`external`), and from
those into shards. Both write the same bytes. What is complete is recorded in
DESTINATION/.packing until all is, so that a killed run can be resumed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from im21k import words
from im21k.dataset.manifest import MANIFEST
from im21k.dataset.source_rows import SourceOf
from im21k.packing import (
  arguments,
  beam,
  class_choice,
  dry_run,
  final_files,
  outcomes,
  part_counts,
  places,
)
from im21k.packing import parts as parts_of
from im21k.packing.config import PackOptions, with_changes
from im21k.packing.driver import Packer
from im21k.packing.selection import Selection
from im21k.photos import sources


def pack(
  source: Path,
  destination: Path,
  *more: Path,
  options: PackOptions | None = None,
  **changes: Any,
) -> dict[str, Any]:
  """Packs photos into shuffled ArrayRecord shards.

  The same photos and seed give the same bytes, with any number of workers and parts.
  Photos that cannot be packed are listed in DESTINATION/rejected.tsv and counted, with
  all repairs, in report.json. A killed run is resumed by the same command. A folder of
  ImageNet's archives as downloaded is packed as it is: its validation photos become the
  eval split.

  Args:
    source: Photos: a folder from `im21k pack`, of class folders (n01440764/…), of tars
      or of photos; a photo, tar, tar.gz, .rec, .lst or .tsv; a folder prepared by TFDS,
      or tfds:NAME:SPLIT.
    destination: Folder for the shards; must not hold a packed data set yet. Where more
      paths follow, this is another source.
    more: More sources, and the destination as the last.
    options: How to pack; `PackOptions` describes each option.
    **changes: Options by name, in place of those in `options`.

  Returns:
    Counts: `train`, `eval`, `rejected`, `classes`, `bytes`, `shards`, and the path
    `manifest`; of several sources, or of one for each split, `sources`, and
    `untrained`, the number of classes that only the eval split has; where archives are
    damaged, `damaged_archives`, the bytes that could not be read by name of the
    archive, and `failed`, unless they are allowed; `own_classes` and `hint`, lines
    about the class list, where there is something to say. Or `waiting`, the number of
    tasks that other parts have still to do.

  Raises:
    ValueError, NotADirectoryError: the source is of no known kind, no photo to train on
      is sound, or an option is out of range; the message says which.
    TypeError: an option is unknown; the message gives the nearest name.
    FileExistsError: the destination holds a packed data set, or the beginning of one
      that was packed with other options.
    OSError: a shard cannot be written, because the disk is full for example.
  """
  given: list[Any] = [source, destination, *more]
  if isinstance(given[-1], PackOptions):  # As the third argument once was.
    options = given.pop()
  *paths, destination = given
  options = with_changes(options, changes)
  if options.runner == "beam":
    beam.check(options.beam_options)
    # Workers may have other working directories.
    paths, options = [*map(places.absolute, paths)], places.with_absolute(options)
    destination = destination.absolute()
  for path in (*paths, *filter(None, (options.eval,))):
    arguments.check_places(path, destination)
  classes, parts = parts_of.open_all(paths, options)
  if final_files.is_complete(destination, options, classes):
    return final_files.result(destination, options)
  note = class_choice.note(classes)
  selection = Selection.of(options, classes)
  photos = parts.joined
  selection.check_streams(photos.streams)  # An error now, not after hours.
  direct = _is_direct(options, photos)
  arguments.check_used(options, parts, direct)
  if options.dry_run:
    estimated = dry_run.run(destination, options, parts, selection, classes, direct)
    return estimated | note
  packer = Packer(parts, destination, options, classes, selection)
  try:
    return packer.pack(direct)
  except FileNotFoundError:
    # Another part may have completed the data set and removed the scratch folder.
    if not (destination / MANIFEST).exists():
      raise
    return final_files.result(destination, options)


def text(result: dict[str, Any]) -> str:
  """The result of `pack` as text."""
  if "waiting" in result:
    return (
      f"part {result['part']} is done; {result['waiting']:,} tasks of other parts are "
      "not: repeat this command when those parts have ended"
    )
  if "dry_run" in result:
    return "\n".join((*_about(result), dry_run.text(result)))
  skipped = f", {n:,} skipped by class" if (n := result.get("skipped")) else ""
  damage = outcomes.about_damage(result.get("damaged_archives", {}))
  return (
    f"packed {result['train']:,} train and "
    f"{words.counted(result['eval'], 'held-out photo')} of "
    f"{words.counted(result['classes'], 'class')} into "
    f"{words.counted(result['shards'], 'shard')} "
    f"({result['bytes'] / 1e6:,.1f} MB); {result['rejected']:,} rejected{skipped}\n"
    + "".join(f"{line}\n" for line in (*damage, *_about(result)))
    + f"manifest: {result['manifest']}"
  )


def _about(result: dict[str, Any]) -> Iterator[str]:
  """Lines about sources and classes."""
  yield from part_counts.text(SourceOf(**row) for row in result.get("sources", ()))
  if count := result.get("untrained"):
    yield f"{words.counted(count, 'class')} to evaluate on without a photo to train on"
  for name in ("own_classes", "hint"):
    if line := result.get(name):
      yield line


def _is_direct(options: PackOptions, photos: sources.Source) -> bool:
  """Whether each photo is read when its shard is written."""
  possible = photos.root is not None and options.duplicates == "keep"
  if options.shuffle == "direct" and not possible:
    raise ValueError(
      "shuffle 'direct' works only for photos that are files of their own, and with "
      "duplicates 'keep': use 'external' or 'auto'"
    )
  return possible and options.shuffle != "external"
