"""Photos from any source -> shuffled ArrayRecord shards, a manifest and a report.

Photos that are files of their own can be read in the order of the shuffle (`direct`);
anything else is read once as it lies, into sorted runs (`external`), and from those
into shards. Both write the same bytes. What is finished stays in DESTINATION/.packing
until all is, so that a killed job goes on where it was.
"""

from pathlib import Path
from typing import Any

from im21k import synsets
from im21k.dataset import records
from im21k.packing import completion, estimate
from im21k.packing.config import Options
from im21k.packing.driver import Job
from im21k.photos import sources


def pack(
  source: Path,
  destination: Path,
  *,
  classes: str = "imagenet21k",
  root: Path | None = None,
  labels: Path | None = None,
  source_split: str = "train",
  shards: int | None = None,
  seed: int = 0,
  eval_fraction: float = 0.0,
  eval_per_class: int = 0,
  eval_min_class_size: int | None = None,
  eval_keys: Path | None = None,
  exclude_hashes: Path | None = None,
  remap: Path | None = None,
  unlisted: str = "error",
  duplicates: str = "keep",
  resize: int | None = None,
  quality: int = 90,
  check: str = "decode",
  shuffle: str = "auto",
  memory: float | None = None,
  part: str | None = None,
  runner: str = "local",
  dry_run: bool = False,
  workers: int | None = None,
) -> dict[str, Any]:
  """Packs photos into shuffled ArrayRecord shards.

  The same photos and seed give the same bytes, with any number of workers and parts.
  What cannot be packed is listed in DESTINATION/rejected.tsv and counted, with what
  was repaired, in report.json. Killed, the same command goes on.

  Args:
    source: folder of synset folders (n01440764/…) or of tars (n01440764.tar …), tar of
      either (gzipped or not), .rec, .lst, TSV of path and synset, prepared TFDS folder.
    destination: folder for the shards; must not hold a packed data set yet.
    classes: class list: imagenet21k, ilsvrc2012, or a text file of synset ids.
    root: folder that the paths of a .lst or TSV lie below; by default its own.
    labels: text file of synset ids for a flat tar of numbered photos; by default that
      of ILSVRC2012's validation photos.
    source_split: split of a TFDS data set to read.
    shards: number of train shards; by default one for every 8,192 photos, 16 at least.
    seed: of the shuffle and of the held-out split.
    eval_fraction: share of every class to hold out, rounded.
    eval_per_class: photos of every class to hold out.
    eval_min_class_size: with eval_per_class: hold out of classes with at least so
      many photos; by default twice as many as are held out.
    eval_keys: text file of keys to hold out.
    exclude_hashes: text file of SHA-256 (as sha256sum writes) of photos to leave out.
    remap: TSV of synset and the synset that it counts as, or - to leave it out.
    unlisted: error or skip: what becomes of classes that are not in the list.
    duplicates: keep (and count), drop (one photo of equal bytes stays) or multi-label
      (the same, and labels.tsv tells all its synsets).
    resize: short side in pixels that larger photos are made smaller to.
    quality: of JPEGs made smaller, 1 to 100, with 4:2:0.
    check: decode (the coded pixels of every photo are read once) or header (100 times
      cheaper, finds no damage inside a photo).
    shuffle: direct (reads each photo when its shard is written: for an SSD), external
      (reads and writes in sequence: for hard disks), or auto: direct where each photo
      is a file of its own.
    memory: GB of photos that a worker holds at once in the external shuffle; by default
      1.9 MB for each shard (3.4 GB for ImageNet), which keeps a hard disk's seeks below
      a fifth of its time, but at most half of the machine's memory.
    part: i/n: do the i-th of n shares, on a disk that all machines see.
    runner: local, or beam: an Apache Beam pipeline on a disk that all workers see.
    dry_run: tell what would be read, written and taken, and do nothing.
    workers: processes; by default one a core.

  Returns:
    Counts: `train`, `eval`, `rejected`, `classes`, `bytes`, `shards`, and the path
    `manifest`; or `waiting`, how many tasks other parts still have to do.

  Raises:
    ValueError, NotADirectoryError: the source holds something else, no photo to train
      on is sound, or an argument is out of range; the message says which.
    FileExistsError: the destination holds a packed data set, or the beginning of one
      that was packed in another way.
    OSError: a shard cannot be written, for want of space say.
  """
  options = Options(**locals())  # The arguments, and nothing else so far.
  class_list = synsets.get(classes)
  if completion.was_cut_short(options, class_list):
    return completion.result(destination)
  choice = options.choice(class_list)
  found = sources.find(source, class_list.synsets, root, labels, source_split)
  for stream in found.streams:
    if isinstance(stream, sources.Tar) and stream.synset:
      choice.label(stream.synset, stream.path)  # Better now than after hours.
  direct = options.is_direct(found)
  if dry_run:
    return estimate.estimate(options, found, choice, direct)
  job = Job(options, class_list, choice, found)
  try:
    return job.direct() if direct else job.external()
  except FileNotFoundError:
    # Another part finished it, and took the state away, while this one was about to.
    if not (destination / records.MANIFEST).exists():
      raise
    return completion.result(destination)


def text(result: dict[str, Any]) -> str:
  """The result of `pack` for people."""
  if "waiting" in result:
    return (
      f"part {result['part']} is done; {result['waiting']:,} tasks of other parts are "
      "not: give the same command again when those parts have ended"
    )
  if "dry_run" in result:
    return estimate.text(result)
  return (
    f"packed {result['train']:,} train and {result['eval']:,} held-out photos of "
    f"{result['classes']:,} classes into {result['shards']:,} shards "
    f"({result['bytes'] / 1e6:,.1f} MB); {result['rejected']:,} rejected\n"
    f"manifest: {result['manifest']}"
  )
