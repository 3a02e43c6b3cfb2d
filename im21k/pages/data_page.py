"""A packed folder -> one page: its classes, photos, sizes, and what packing did."""

from pathlib import Path
from typing import Any

from im21k import files, synsets, words
from im21k.dataset.manifest import Manifest
from im21k.pages import charts, histograms, render, settings, survey, ticks
from im21k.synsets import ClassList

_MOST_CLASSES = 2_500  # Rows of the table of classes: more make the page slow.
_LINES = ("train", "held out")


def write(folder: Path, target: Path, images: int) -> dict[str, Any]:
  """Writes the page.

  Args:
    folder: of packed photos.
    target: HTML file.
    images: number of photos in the sample.

  Returns:
    `page`: the file; `photos`: in all; `classes`: how many have photos; `sampled`: how
    many of the photos were looked at; `bad`: how many of these cannot be decoded.

  Raises:
    FileNotFoundError, ValueError: a file is missing or damaged; names it.
  """
  manifest = Manifest.load(folder)
  classes = manifest.classes(folder)
  report = survey.read_report(folder, manifest, classes)
  sample = survey.sample(folder, manifest, classes, images)
  left_out = max(0, len(report.classes) - _MOST_CLASSES)
  page = render.page(
    "data_page",
    name=folder.resolve().name,
    about=f"{classes.name}, {words.counted(len(classes), 'class')}",
    stats=_stats(manifest, classes, report),
    by_size=_by_size(report),
    classes_by_size=histograms.classes_by_size(
      [row.train for row in report.classes], len(classes)
    ),
    sample=sample,
    classes=report.classes[:_MOST_CLASSES],
    left_out=left_out,
    found=[row for row in report.kinds if row.count],
    not_found=[row.kind for row in report.kinds if not row.count],
    skipped=[
      (" ".join(dict.fromkeys((one, synsets.name(one)))), f"{count:,}")
      for one, count in sorted(report.skipped.items(), key=lambda item: -item[1])[:50]
    ],
    damaged=sorted(report.damaged.items()),
    rejections=survey.rejections(folder),
    rejected=manifest.rejected,
    sources=[
      (
        one.name,
        one.split,
        f"{one.packed:,}",
        f"{one.rejected:,}",
        one.labels,
      )
      for one in manifest.sources
    ],
    options=settings.everything(manifest.options),
  )
  files.write_text(target, page)
  return {
    "page": str(target),
    "photos": sum(manifest.count(split) for split in manifest.splits),
    "classes": len(report.classes),
    "sampled": sample.photos + sample.bad,
    "bad": sample.bad,
  }


def text(result: dict[str, Any]) -> str:
  """The result of `write` for people."""
  photos = words.counted(result["photos"], "photo")
  lines = [
    f"page: {result['page']}",
    f"{photos} of {words.counted(result['classes'], 'class')}, "
    f"{result['sampled']:,} looked at",
  ]
  if result["bad"]:
    lines.append(f"{words.counted(result['bad'], 'photo')} of these cannot be decoded")
  return "\n".join(lines)


def _stats(
  manifest: Manifest, classes: ClassList, report: survey.Report
) -> list[tuple[str, str, str]]:
  """Names, values and notes: how much there is, and what packing did."""
  count = {split: manifest.count(split) for split in manifest.splits}
  total = sum(count.values())
  size = sum(shard.bytes for shards in manifest.splits.values() for shard in shards)
  shards = sum(len(shards) for shards in manifest.splits.values())
  held_out = count.get("eval", 0)
  train = [row.train for row in report.classes]
  missing = len(classes) - len(report.classes)
  shown = [
    (
      "Photos",
      f"{total:,}",
      f"{histograms.shown_bytes(size)} in {words.counted(shards, 'shard')}",
    ),
    ("To train on", f"{count.get('train', 0):,}", ""),
    ("Held out", f"{held_out:,}", f"{ticks.share(held_out / max(1, total))} of all"),
    (
      "Classes with photos",
      f"{len(report.classes):,}",
      f"{missing:,} of the list have none" if missing else "all of the list",
    ),
  ]
  if train:
    middle = sorted(train)[len(train) // 2]
    note = f"{min(train):,} to {max(train):,} training photos"
    shown.append(("Median class", f"{middle:,}", note))
  repaired = survey.counted_kinds(report, "repair")
  shown.append(("Rejected", f"{manifest.rejected:,}", "each with its reason, below"))
  shown.append(("Repaired", f"{repaired:,}", "written anew as JPEG; by kind, below"))
  duplicates = {row.kind: row.count for row in report.kinds if "duplicate" in row.kind}
  note = f"in a class; {duplicates.get('duplicate across classes', 0):,} across classes"
  inside = duplicates.get("duplicate in class", 0) + duplicates.get("duplicate", 0)
  return [*shown, ("Duplicates", f"{inside:,}", f"{note}; option {report.duplicates}")]


def _by_size(report: survey.Report) -> charts.Chart | None:
  """Photos of each class, the largest class first."""
  lines: dict[str, charts.Points] = {
    _LINES[0]: [(at, row.train) for at, row in enumerate(report.classes, 1)],
    _LINES[1]: [
      (at, row.held_out)
      for at, row in enumerate(report.classes, 1)
      if row.held_out is not None
    ],
  }
  return charts.chart(
    "Photos of each class, the largest first", lines, x_name="classes", clip=False
  )
