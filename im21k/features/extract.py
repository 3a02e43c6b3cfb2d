"""`im21k features`: weights and photos -> a stage of the network for each photo.

Out: an `.npz`, or a folder of `.npy` parts; both are the same bytes, however often the
command was ended and called again.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

from im21k import parallel, targets, weights, words
from im21k import photos as sources
from im21k.evaluation import inputs
from im21k.features import extraction, npz, part_files, stages
from im21k.features.part_files import Parts
from im21k.hosts import agreement, session
from im21k.hosts.commands import over_hosts
from im21k.packing import photo_state
from im21k.weights import document

# A folder of such a name would be taken for what it is not.
_FILES = frozenset({
  ".csv", ".h5", ".hdf5", ".json", ".mat", ".npy", ".parquet", ".pkl", ".pt", ".pth",
  ".safetensors", ".tsv", ".txt", ".zip",
})  # fmt: skip
# Of what was asked for: each host may have copies, which are compared by what they are.
_OWN = "photos", "labels", part_files.STATE


@over_hosts
def features(
  weights_dir: Path,
  photos: Path,
  out: Path,
  *,
  stage: str = stages.FEATURES,
  dtype: stages.DType = "float32",
  split: inputs.Split | None = None,
  labels: Path | None = None,
  batch_size: int = 64,
  devices: int | None = None,
) -> dict[str, Any]:
  """Computes features of photos: the pooled ones, or any stage of the network.

  Every photo gives one row, except those that cannot be decoded, which are listed. The
  same command again resumes where it was ended, and ends in the same bytes.

  Started by im21k launch, or with its environment on several machines, hosts share the
  photos, and the first writes: the bytes are those of one host with as many devices.

  Args:
    weights_dir: Release folder of the weights.
    photos: Photos: a folder from `im21k pack`, of class folders (n01440764/…), of tars
      or of photos; a photo, tar, tar.gz, .rec, .lst or .tsv; a folder prepared by TFDS,
      or tfds:NAME:SPLIT.
    out: File to write, NAME.npz; or a folder, for .npy files of some thousand photos
      each.
    stage: Stage of the network: features (pooled), logits, or one such as conv1 or 5b.
    dtype: Type of the numbers.
    split: Split of packed photos to use; by default all of them.
    labels: Text file with the synset id of photo n in line n, for numbered photos in
      one folder or tar; by default that of ILSVRC2012's validation photos.
    batch_size: Photos at a time, over all devices of all hosts.
    devices: Number of devices of each host; by default all GPUs, or one CPU device.

  Returns:
    `out`, `stage`, `dtype`; `shape` of the array; `counts`: how many `photos` there
    were, and of these how many have a `row` and are `bad`; `unlabelled`: how many rows
    have label -1; `bad`: photos that cannot be decoded, with the reason; `failed`, if
    there are such photos.

  Raises:
    FileNotFoundError: weights, photos or labels are missing.
    ValueError: they are damaged, no photo can be decoded, the model has no such stage,
      batch_size is not divisible by the devices, a number is beyond dtype, or `out` has
      other features.
  """
  if split:
    inputs.split_for(photos, split, split)
  weights_dir = weights.find(weights_dir)
  _check_out(weights_dir, photos, out)
  on = inputs.devices_for(devices)
  released = weights.load(weights_dir)
  inputs.check_batch(batch_size, released.input.size)
  source = sources.open(photos, split=split, labels=labels, classes=released.classes)
  job = extraction.Job(
    released,
    source,
    stage,
    stages.shape_of(released, stage),
    dtype,
    batch_size,
    on,
  )
  asked = {
    "weights": document.read(weights_dir / weights.DOCUMENT).checksum,
    "photos": os.path.realpath(photos),
    "split": split,
    "labels": os.path.realpath(labels) if labels else None,
    part_files.STATE: photo_state.of(photos, source),
    **job.asked(),
  }
  if watch := session.current():
    agreement.check_code(watch)
    own = {name: value for name, value in asked.items() if name not in _OWN}
    photos_are = {"photos, by sizes and times": asked[part_files.STATE]}
    agreement.check(watch, "request", {**own, **photos_are})
  if parallel.host():
    job.help()
    return {}
  if out.suffix != npz.NPZ:
    parts = job.fill(out, asked)
    return _result(out, parts.summary(), parts.bad)
  folder = out.with_name(f"{out.name}.parts")
  if out.exists():
    said = npz.about(out)
    part_files.check_same(said["asked"], asked, out)
    extraction.needs_no_help()
  else:
    parts = job.fill(folder, asked)
    npz.join(parts, out)
    said = npz.about(out)
  if (folder / part_files.BEGUN).exists():
    Parts(folder, asked, released.classes.synsets).remove()
    with contextlib.suppress(OSError):
      folder.rmdir()
  return _result(out, said, said["bad"])


def text(result: dict[str, Any]) -> str:
  """The result of `features` for people."""
  counts, shape = result["counts"], " x ".join(map(str, result["shape"]))
  lines = [
    f"{words.counted(counts['photos'], 'photo')}: {counts['rows']:,} with features, "
    f"{counts['bad']:,} that cannot be decoded",
    f"{result['stage']}: {shape}, {result['dtype']}, in {result['out']}",
  ]
  if result["unlabelled"]:
    rows = words.counted(result["unlabelled"], "row")
    lines.append(f"{rows} without class: label {part_files.NO_LABEL}")
  if result["bad"]:
    shown = [f"{one['photo']} ({one['reason']})" for one in result["bad"][:5]]
    more = "; …" if len(result["bad"]) > len(shown) else ""
    lines.append(f"left out: {'; '.join(shown)}{more}")
  return "\n".join(lines)


def _check_out(weights_dir: Path, photos: Path, out: Path) -> None:
  """ValueError if features cannot be written there."""
  suffix = out.suffix.lower()
  if suffix != npz.NPZ and suffix in _FILES:
    raise ValueError(
      f"out is {out}, but features are written as NAME.npz, or into a folder"
    )
  if out.suffix == npz.NPZ:
    targets.check([weights_dir, photos], out=out)
  else:
    targets.check_folder([weights_dir, photos], out=out)
  for place in (weights_dir, photos):
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(place)):
      raise ValueError(f"out is {out}, in {place}, which is read: name another place")


def _result(
  out: Path, said: dict[str, Any], bad: list[dict[str, Any]]
) -> dict[str, Any]:
  asked = said["asked"]
  return {
    "out": str(out),
    "stage": asked["stage"],
    "dtype": asked["dtype"],
    "shape": [said["rows"], *asked["shape"]],
    "counts": {"photos": said["photos"], "rows": said["rows"], "bad": len(bad)},
    "unlabelled": said["unlabelled"],
    "bad": bad,
    **_failed(said["photos"], bad),
  }


def _failed(photos: int, bad: list[dict[str, Any]]) -> dict[str, str]:
  """`failed`, if there are photos without features, or parts of an archive."""
  if not bad:
    return {}
  first = next((row for row in bad if "lost_bytes" in row), bad[0])
  lost = sum(row.get("lost_bytes", 0) for row in bad)
  what = f"{len(bad):,} of {words.counted(photos, 'photo')} have no features"
  if lost:
    what += f", {words.counted(lost, 'byte')} could not be read"
  return {"failed": f"{what}; {first['photo']}: {first['reason']}"}
