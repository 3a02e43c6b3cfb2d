"""Arguments of `pack` that do not go together: refused, none is silently ignored."""

import os
from pathlib import Path

from im21k.packing.config import PackOptions
from im21k.packing.parts import Parts
from im21k.photos import downloads, listings, packed, tfds


def check_places(source: Path, destination: Path) -> None:
  """Refuses a destination that cannot hold the shards of this source.

  Raises:
    NotADirectoryError: the destination, or what it should be in, is no folder.
    ValueError: one of both is within the other, or they are the same.
  """
  if any("\ud800" <= character <= "\udfff" for character in str(destination)):
    # The library that writes shards takes no other names.
    raise ValueError(f"{str(destination)!r} must be a name in UTF-8, for the shards")
  for path in (destination, *destination.absolute().parents):
    if path.is_dir():
      break
    if os.path.lexists(path):
      raise NotADirectoryError(f"{path} is no folder: give a folder for the shards")
  if str(source).startswith(tfds.PREFIX) or not Path(source).exists():
    return  # Whoever reads it says what is wrong.
  photos, shards = Path(source).resolve(), destination.resolve()
  if photos == shards:
    where = "is both source and destination"
  elif photos in shards.parents:
    where = f"is inside the source {source}"
  elif shards in photos.parents:
    where = f"contains the source {source}"
  else:
    return
  raise ValueError(f"{destination} {where}: give another folder for the shards")


def check_used(options: PackOptions, parts: Parts, direct: bool) -> None:
  """Refuses options that these sources, or the other options, leave without effect.

  Raises:
    NotADirectoryError: `root` is no folder.
    ValueError: an option would have no effect; the message says which and why.
  """
  where, divided = parts.text, [part for part in parts if part.split != "eval"]
  by_name = all(str(part.path).startswith(tfds.PREFIX) for part in divided)
  is_listed = any(isinstance(s, listings.Listed) for s in parts.joined.streams)
  if options.root is not None and not is_listed:
    raise _unused("root", "it is for the paths in a .lst or .tsv")
  if options.root is not None and not options.root.is_dir():
    raise NotADirectoryError(f"root {options.root} is no folder")
  if options.source_split is not None:
    if by_name:
      raise _unused("source_split", f"{where} names its split")
    kinds = packed.Shard | tfds.Prepared
    has_splits = any(
      isinstance(stream, kinds) for part in divided for stream in part.source.streams
    )
    if not has_splits and not any(downloads.find(part.path) for part in parts):
      raise _unused("source_split", f"{where} has no splits")
  if options.memory is not None and direct:
    raise _unused("memory", "it is for shuffle external, and this one is direct")


def _unused(option: str, reason: str) -> ValueError:
  return ValueError(f"{option} has no effect: {reason}; leave {option} out")
