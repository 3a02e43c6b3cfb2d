"""Photos from any source -> shuffled ArrayRecord shards, a manifest and a report.

Photos that are files of their own can be read in the order of the shuffle (`direct`);
anything else is read once as it lies, into sorted runs (`external`), and from those
into shards. Both write the same bytes. What is finished stays in DESTINATION/.packing
until all is, so that a killed job goes on where it was.
"""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from tqdm import tqdm

from im21k import files, synsets
from im21k.data import executors, records, repair, report, sources, spool
from im21k.data.table import Table, Task

STATE = ".packing"  # folder below the destination, gone when all is packed
LABELS = "labels.tsv"


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
  memory: float = 1.0,
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
    check: decode (every photo is decoded once) or header (50 times cheaper, finds no
      damage inside a photo).
    shuffle: direct (reads each photo when its shard is written: for an SSD), external
      (reads and writes in sequence: for hard disks), or auto: direct where each photo
      is a file of its own.
    memory: GB of photos that a worker holds at once in the external shuffle.
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
  if check not in ("decode", "header"):
    raise ValueError(f"check is {check!r}, but must be 'decode' or 'header'")
  if not 0 <= eval_fraction < 1 or eval_per_class < 0:
    raise ValueError("eval_fraction must lie in [0, 1), eval_per_class be 0 or more")
  if eval_fraction and eval_per_class:
    raise ValueError("give eval_fraction or eval_per_class, not both")
  if eval_min_class_size is not None and not eval_per_class:
    raise ValueError("eval_min_class_size is of use with eval_per_class only")
  for name, chosen, known in (
    ("unlisted", unlisted, ("error", "skip")),
    ("duplicates", duplicates, ("keep", "drop", "multi-label")),
    ("shuffle", shuffle, ("auto", "direct", "external")),
    ("runner", runner, ("local", "beam")),
  ):
    if chosen not in known:
      raise ValueError(f"{name} is {chosen!r}, but must be one of {', '.join(known)}")
  if eval_keys and (eval_fraction or eval_per_class):
    raise ValueError("give eval_keys or a number to hold out, not both")
  if not 1 <= quality <= 100 or not memory > 0:
    raise ValueError("quality must lie in 1…100, and memory be more than 0")
  mine, parts = _part(part)
  for name, value in (
    ("resize", resize),
    ("shards", shards),
    ("workers", workers),
    ("eval_min_class_size", eval_min_class_size),
  ):
    if value is not None and value < 1:
      raise ValueError(f"{name} is {value}, but must be at least 1")
  if (destination / records.MANIFEST).exists():
    raise FileExistsError(
      f"{destination} holds a packed data set already: remove it, or pack elsewhere"
    )
  class_list = synsets.get(classes)
  choice = spool.Choice(
    name=class_list.name,
    labels={synset: label for label, synset in enumerate(class_list.synsets)},
    remap=_remap(remap),
    skip=unlisted == "skip",
    excluded=_hashes(exclude_hashes),
    seed=seed,
    rules=repair.Rules(check == "decode", resize, quality),
  )
  found = sources.find(source, class_list.synsets, root, labels, source_split)
  for stream in found.streams:
    if isinstance(stream, sources.Tar) and stream.synset:
      choice.label(stream.synset, stream.path)  # Better now than after hours.
  if shuffle == "auto":
    direct = found.root is not None and duplicates == "keep"
  else:
    direct = shuffle == "direct"
  if direct and (found.root is None or duplicates != "keep"):
    raise ValueError(
      "shuffle 'direct' needs photos that are files of their own, and keeps duplicates"
    )
  if dry_run:
    return _estimate(found, choice, destination, direct)
  options = {
    "check": check,
    "eval_fraction": eval_fraction,
    "eval_per_class": eval_per_class,
    "eval_min_class_size": eval_min_class_size,
    "eval_keys": _digest(eval_keys),
    "exclude_hashes": _digest(exclude_hashes),
    "remap": _digest(remap),
    "unlisted": unlisted,
    "duplicates": duplicates,
    "resize": resize,
    "quality": quality,
  }
  run = functools.partial(
    executors.beam if runner == "beam" else executors.local,
    workers=workers or os.cpu_count() or 1,
  )
  state = destination / STATE
  table: Table | None = None
  if direct:
    table, _ = Table.read(found.entries(), choice)
  begun = {
    "source": str(source.resolve()),
    "classes": class_list.hash,
    "seed": seed,
    "shards": shards,
    "direct": direct,
    "memory": None if direct else memory,
    "parts": parts,
    "photos": table.digest() if table else None,
    **options,
  }
  held_keys = _keys(eval_keys)

  def held_out(table: Table) -> np.ndarray:
    if not len(table):
      raise ValueError("the synset folders hold no file")
    mask = (
      table.named(held_keys)
      if eval_keys
      else table.held_out(
        lambda size: (
          round(size * eval_fraction)
          if eval_fraction
          else eval_per_class * (size >= (eval_min_class_size or 2 * eval_per_class))
        )
      )
    )
    if mask.all():
      raise ValueError(
        f"all {len(table):,} photos below {source} would be held out and none left to "
        "train on: hold out less"
      )
    return mask

  if table:
    held_out(table)  # Nothing is written where this fails.
  _begin(destination, begun, parts)
  notes: list[report.Note] = []
  outcomes: report.Outcomes | None = None
  bins: list[Path] = []
  if not direct:
    if not resize:
      _check_space(destination, 2 * sum(s.size for s in found.streams), state)
    tasks = list(enumerate(_grouped(found.streams, int(memory * 1e9))))
    todo = [t for t in tasks[mine::parts] if not spool.is_done(state, t[0])]
    write_runs = functools.partial(spool.write_runs, state, choice, int(memory * 1e9))
    _follow(run(write_runs, todo), "read", None, destination)
    waiting = sum(not spool.is_done(state, number) for number, _ in tasks)
    if waiting:
      return {"waiting": waiting, "part": part}
    paths = sorted(state.glob("run-*.npz"))
    bins = [path.with_suffix(".bin") for path in paths]
    table, where, outcomes = _gather(paths)
  assert table is not None
  held = held_out(table)
  repeated = table.repeated()
  notes += [
    _note(table, row, class_list, "name comes twice", "another file had it before")
    for row in np.flatnonzero(repeated).tolist()
  ]
  usable = ~repeated
  if outcomes:
    usable &= where[2] > 0
    if duplicates != "keep":
      usable = _one_of_each(table, usable, outcomes, class_list, notes, destination,
                            duplicates)  # fmt: skip
    outcomes = report.Outcomes(
      outcomes.labels[usable],
      outcomes.kinds[usable],
      outcomes.digests[usable],
      outcomes.notes,
    )
  train, evaluation = ~held & ~repeated, held & ~repeated
  names = [
    *table.shard_names("train", train, shards),
    *table.shard_names("eval", evaluation, None),
  ]
  share = set(names[mine::parts])
  shard_tasks = itertools.chain(
    table.shards("train", train, shards), table.shards("eval", evaluation, None)
  )
  todo_shards: Iterable[Any] = (
    task
    for task in shard_tasks
    if task.name in share and not _side(state, task.name).exists()
  )
  write: Any = functools.partial(
    _write_direct, found.root or source, destination, choice
  )
  if not direct:
    todo_shards = (
      (task.name, *(array[task.rows[usable[task.rows]]] for array in where))
      for task in todo_shards
    )
    write = functools.partial(_write_external, bins, destination)
  _follow(run(write, todo_shards), "pack", len(table), destination)
  missing = [name for name in names if not _side(state, name).exists()]
  if missing:
    return {"waiting": len(missing), "part": part}
  written, sides = zip(*(_load_side(_side(state, name)) for name in names), strict=True)
  if direct:
    outcomes = report.Outcomes.join(list(sides))
    of_train = [name.startswith("train-") for name in names]
    trained = np.concatenate([s.labels for s in itertools.compress(sides, of_train)])
  else:
    trained = table.labels[usable & train]
  assert outcomes is not None
  outcomes = dataclasses.replace(outcomes, notes=outcomes.notes + notes)
  rejected = report.write(
    destination, outcomes, class_list.synsets, duplicates, trained
  )
  splits: dict[str, tuple[records.Shard, ...]] = {}
  for split in ("train", "eval"):
    in_split = tuple(s for s in written if s.name.startswith(split + "-"))
    if any(shard.count for shard in in_split):
      splits[split] = in_split
    else:  # All its photos were rejected.
      for shard in in_split:
        (destination / shard.name).unlink(missing_ok=True)
  if "train" not in splits:
    shutil.rmtree(state, ignore_errors=True)
    raise ValueError(
      f"none of the {np.sum(~held):,} files to train on below {source} is a sound "
      f"photo: see {destination / report.REJECTED}"
    )
  files.write_text(destination / records.CLASSES, "\n".join(class_list.synsets) + "\n")
  manifest = records.Manifest(
    class_list=class_list.name,
    class_list_hash=class_list.hash,
    seed=seed,
    options=options,
    splits=splits,
    rejected=rejected,
  )
  manifest.save(destination)
  shutil.rmtree(state, ignore_errors=True)  # Another part may be at it too.
  kept = [shard for in_split in splits.values() for shard in in_split]
  return {
    "train": manifest.count("train"),
    "eval": manifest.count("eval") if "eval" in splits else 0,
    "rejected": rejected,
    "classes": len(np.unique(table.labels)),
    "bytes": sum(shard.bytes for shard in kept),
    "shards": len(kept),
    "manifest": str(destination / records.MANIFEST),
  }


def _begin(destination: Path, begun: dict[str, Any], parts: int) -> None:
  """Makes the state folder, or goes on with one that was begun in the same way."""
  state = destination / STATE
  state.mkdir(parents=True, exist_ok=True)
  path = state / "begun.json"
  if path.exists():
    before = json.loads(path.read_text(encoding="utf-8"))
    other = [key for key in begun if before.get(key) != begun[key]]
    if other:
      raise FileExistsError(
        f"{destination} holds the beginning of a data set packed in another way "
        f"({', '.join(other)} differ): give the same arguments, or remove {destination}"
      )
  if parts == 1:
    files.remove_leftovers(destination)
    files.remove_leftovers(state)
  if not path.exists():
    files.write_text(path, json.dumps(begun) + "\n")


def _gather(
  paths: list[Path],
) -> tuple[Table, tuple[np.ndarray, ...], report.Outcomes]:
  """The table of all runs; run, offset and length of each row; what became of all."""
  runs = [spool.Run.load(path) for path in paths]
  starts = np.cumsum([0, *(len(run.keys) for run in runs[:-1])])
  table = Table(
    np.concatenate([run.keys for run in runs]),
    np.concatenate([run.ends + start for run, start in zip(runs, starts, strict=True)]),
    np.concatenate([run.labels for run in runs]),
    np.concatenate([run.places for run in runs]),
  )
  where = (
    np.repeat(np.arange(len(runs), dtype=np.int32), [len(r.labels) for r in runs]),
    np.concatenate([run.offsets for run in runs]),
    np.concatenate([run.lengths for run in runs]),
  )
  outcomes = report.Outcomes(
    table.labels,
    np.concatenate([run.kinds for run in runs]),
    np.concatenate([run.digests for run in runs]),
    [note for run in runs for note in report.from_bytes(run.notes)],
  )
  return table, where, outcomes


def _one_of_each(
  table: Table,
  usable: np.ndarray,
  outcomes: report.Outcomes,
  classes: synsets.ClassList,
  notes: list[report.Note],
  destination: Path,
  duplicates: str,
) -> np.ndarray:
  """Of photos of equal bytes the one with the first key stays."""
  rows = np.flatnonzero(usable)
  kept, lines = usable.copy(), ["key\tsynsets"]
  for group in report.groups(outcomes.digests[rows]):
    first, *others = sorted(rows[group], key=table.key)
    kept[others] = False
    name = table.key(first).decode("utf-8", "backslashreplace")
    notes += [
      _note(table, row, classes, "duplicate", f"the same as {name}") for row in others
    ]
    found = sorted({classes.synsets[label] for label in table.labels[rows[group]]})
    if len(found) > 1:
      lines.append(f"{name}\t{' '.join(found)}")
  if duplicates == "multi-label":
    files.write_text(
      destination / LABELS, "\n".join([lines[0], *sorted(lines[1:])]) + "\n"
    )
  return kept


def _note(
  table: Table, row: int, classes: synsets.ClassList, kind: str, reason: str
) -> report.Note:
  key = table.key(row).decode("utf-8", "surrogateescape")
  return key, classes.synsets[table.labels[row]], kind, reason


def _write_direct(
  root: Path, destination: Path, choice: spool.Choice, task: Task
) -> tuple[int, int]:
  notes: list[report.Note] = []
  kept: list[tuple[int, int, bytes]] = []

  def photos() -> Iterator[bytes]:
    for raw_key, label in zip(task.keys, task.labels.tolist(), strict=True):
      key = raw_key.decode("utf-8", "surrogateescape")
      synset = key.partition("/")[0]
      try:
        data = (root / os.fsdecode(raw_key)).read_bytes()
        jpeg, kinds, digest = choice.prepared(data)
      except repair.Rejected as error:
        notes.append((key, synset, error.kind, str(error)))
      except OSError as error:
        reason = error.strerror or str(error)
        notes.append((key, synset, "unreadable", reason))
      else:
        kept.append((label, report.bits(kinds), digest))
        yield records.encode(records.Example(key, label, jpeg))

  shard = _write_shard(destination / task.name, photos())
  outcomes = report.Outcomes(
    np.array([row[0] for row in kept], np.int32),
    np.array([row[1] for row in kept], np.uint64),
    np.frombuffer(b"".join(row[2] for row in kept), "<u8").reshape(-1, 2),
    notes,
  )
  _save_side(destination, shard, outcomes)
  return len(task.keys), len(notes)


def _write_external(
  bins: list[Path], destination: Path, task: tuple
) -> tuple[int, int]:
  name, *where = task
  shard = _write_shard(destination / name, spool.read_records(bins, *where))
  _save_side(destination, shard, None)
  return shard.count, 0


def _write_shard(path: Path, encoded: Iterable[bytes]) -> records.Shard:
  count = 0
  with files.whole(path) as aside:
    with _writer(aside) as writer:
      for record in encoded:
        writer.write(record)
        count += 1
    with aside.open("rb") as shard:
      sha256 = hashlib.file_digest(shard, "sha256").hexdigest()
    size = aside.stat().st_size
  return records.Shard(path.name, count, size, sha256)


def _side(state: Path, shard: str) -> Path:
  return state / f"{shard}.npz"


def _save_side(
  destination: Path, shard: records.Shard, outcomes: report.Outcomes | None
) -> None:
  """Tells that a shard is finished, and what became of its photos."""
  arrays: dict[str, Any] = {"shard": np.array(json.dumps(dataclasses.asdict(shard)))}
  if outcomes:
    arrays |= {**vars(outcomes), "notes": report.as_bytes(outcomes.notes)}
  path = _side(destination / STATE, shard.name)
  with files.whole(path) as aside, aside.open("wb") as file:
    np.savez(file, **arrays)


def _load_side(path: Path) -> tuple[records.Shard, report.Outcomes | None]:
  with np.load(path, allow_pickle=False) as arrays:
    found = dict(arrays)
  shard = records.Shard(**json.loads(str(found.pop("shard"))))
  if not found:
    return shard, None
  found["notes"] = report.from_bytes(found["notes"])
  return shard, report.Outcomes(**found)


def _follow(
  results: Iterator[tuple[int, int]], what: str, total: int | None, destination: Path
) -> None:
  """Shows progress; tells of a full disk how much is missing."""
  rejected = 0
  try:
    with tqdm(total=total, desc=what, unit=" photos", disable=None) as progress:
      for count, bad in results:
        rejected += bad
        progress.update(count)
        progress.set_postfix(rejected=rejected)
  except OSError as error:
    if error.errno != errno.ENOSPC and "No space left" not in str(error):
      raise
    free = shutil.disk_usage(destination).free
    raise OSError(
      errno.ENOSPC,
      f"the disk of {destination} is full ({free / 1e9:,.1f} GB free): make space, and "
      "give the same command to go on",
    ) from error


def _check_space(destination: Path, needed: int, state: Path) -> None:
  have = sum(path.stat().st_size for path in state.iterdir())
  free = shutil.disk_usage(destination).free
  if needed - have > free:
    raise OSError(
      errno.ENOSPC,
      f"{destination} needs {needed / 1e9:,.1f} GB, half of it scratch, but has "
      f"{free / 1e9:,.1f} GB free: {(needed - have - free) / 1e9:,.1f} GB are missing",
    )


def _grouped(streams: tuple, limit: int) -> Iterator[tuple]:
  """Streams in their order, up to some `limit` bytes together."""
  group: list[Any] = []
  size = 0
  for stream in streams:
    # Of folders the size is not known: ImageNet's have some 60 MB.
    expected = stream.size or 60_000_000
    if group and size + expected > limit:
      yield tuple(group)
      group, size = [], 0
    group.append(stream)
    size += expected
  yield tuple(group)


def _estimate(
  found: sources.Source, choice: spool.Choice, destination: Path, direct: bool
) -> dict[str, Any]:
  """What packing would take; rates are measured on some photos of the source."""
  count = size = 0
  if found.root:
    for entry in found.entries():
      if choice.label(entry.synset, entry.where) is not None:
        count += 1
        with contextlib.suppress(FileNotFoundError):
          size += entry.where.stat().st_size
  else:
    size = sum(stream.size for stream in found.streams)
  photos = itertools.chain.from_iterable(stream.photos() for stream in found.streams)
  start = os.times()
  tried = tried_bytes = 0
  for photo in itertools.islice(photos, 500):
    tried += 1
    tried_bytes += len(photo.data)
    with contextlib.suppress(repair.Rejected):
      choice.prepared(photo.data)
  seconds = os.times().elapsed - start.elapsed
  count = count or round(size * tried / max(tried_bytes, 1))
  existing = next(
    p for p in (destination, *destination.absolute().parents) if p.exists()
  )
  return {
    "dry_run": True,
    "photos": count,
    "source_bytes": size,
    "scratch_bytes": 0 if direct else size,
    "free_bytes": shutil.disk_usage(existing).free,
    "core_hours": round(seconds / max(tried, 1) * count / 3600, 4),
  }


def _part(part: str | None) -> tuple[int, int]:
  """Index and number of parts of `i/n`."""
  if part is None:
    return 0, 1
  first, slash, second = part.partition("/")
  if not (slash and first.isdigit() and second.isdigit()):
    raise ValueError(f"part is {part!r}, but must be i/n, such as 1/4")
  if not 1 <= int(first) <= int(second):
    raise ValueError(f"part is {part!r}, but i must lie between 1 and n")
  return int(first) - 1, int(second)


def _remap(path: Path | None) -> dict[str, str | None]:
  if path is None:
    return {}
  found: dict[str, str | None] = {}
  for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
    fields = line.split()
    if len(fields) != 2:
      raise ValueError(f"{path} line {number}: not two synsets, but {line[:80]!r}")
    found[fields[0]] = None if fields[1] == "-" else fields[1]
  return found


def _hashes(path: Path | None) -> frozenset[bytes]:
  if path is None:
    return frozenset()
  found = set()
  for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
    word = line.split()[0] if line.strip() else ""
    try:
      digest = bytes.fromhex(word)
    except ValueError:
      digest = b""
    if len(digest) != 32:
      raise ValueError(f"{path} line {number}: no SHA-256 of 64 digits: {line[:80]!r}")
    found.add(digest[:16])
  return frozenset(found)


def _keys(path: Path | None) -> frozenset[bytes]:
  return frozenset(path.read_bytes().splitlines()) if path else frozenset()


def _digest(path: Path | None) -> str | None:
  return hashlib.sha256(path.read_bytes()).hexdigest() if path else None


@contextlib.contextmanager
def _writer(path: Path) -> Iterator[ArrayRecordWriter]:
  """A writer that is closed at the end, with errors such as a full disk as OSError."""
  try:
    writer = ArrayRecordWriter(str(path), records.WRITER_OPTIONS)
    yield writer
    writer.close()
  except RuntimeError as error:
    raise OSError(str(error)) from error


def text(result: dict[str, Any]) -> str:
  """The result of `pack` for people."""
  if "waiting" in result:
    return (
      f"part {result['part']} is done; {result['waiting']:,} tasks of other parts are "
      "not: give the same command again when those parts have ended"
    )
  if "dry_run" in result:
    return (
      f"{result['photos']:,} photos, {result['source_bytes'] / 1e9:,.2f} GB; scratch "
      f"{result['scratch_bytes'] / 1e9:,.2f} GB, shards at most as much as the source; "
      f"{result['free_bytes'] / 1e9:,.2f} GB free; some {result['core_hours']:,.2f} "
      "hours of one core"
    )
  return (
    f"packed {result['train']:,} train and {result['eval']:,} held-out photos of "
    f"{result['classes']:,} classes into {result['shards']:,} shards "
    f"({result['bytes'] / 1e6:,.1f} MB); {result['rejected']:,} rejected\n"
    f"manifest: {result['manifest']}"
  )
