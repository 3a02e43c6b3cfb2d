"""The command `report`: a run's work folder, or packed photos -> one page about it."""

from pathlib import Path
from typing import Any

from im21k import targets
from im21k.dataset.manifest import MANIFEST
from im21k.evaluation import inputs
from im21k.pages import data_page, run_page


def report(
  folder: Path,
  *,
  data: Path | None = None,
  split: inputs.Split | None = None,
  images: int = 2_000,
  batch_size: int = 64,
  page_file: Path | None = None,
) -> dict[str, Any]:
  """Writes a page about a run or about packed photos; needs no network.

  A run's page shows curves, cost, scores, mistakes and configuration; that of packed
  photos their classes and sizes, what packing repaired and rejected, and thumbnails.

  Args:
    folder: Work folder of a run, or a folder from `im21k pack`. Of an unfinished run
      its best weights until now are evaluated; before it has any, data, split, images
      and batch_size have no effect.
    data: Photos: a folder from `im21k pack`, of class folders (n01440764/…), of tars or
      of photos; a photo, tar, tar.gz, .rec, .lst or .tsv; a folder prepared by TFDS, or
      tfds:NAME:SPLIT; by default the photos that the run was trained on.
    split: Split of packed photos to evaluate a run on, eval by default.
    images: Maximum number of photos to evaluate, of which each takes 87 KB of memory
      with 21,841 classes; of packed photos, the number to look at.
    batch_size: Photos in a batch that is evaluated.
    page_file: HTML file to write; by default report.html in folder.

  Returns:
    Of a run: `page`: the file; `finished`: whether the run has ended; `step`: of the
    run whose weights were evaluated (None: unknown); `images`: how many photos were
    evaluated; `top_1` of these (None: there are none); `counts` (None: the same): how
    many `photos` were read, and of these how many were `used`, of `unknown` classes,
    and `bad`. `failed`, if a part of an archive could not be read. Of packed photos:
    `page`; `photos`: in all; `classes`: how many have photos; `sampled`: how many
    photos were looked at; `bad`: how many of these cannot be decoded.

  Raises:
    FileNotFoundError: folder holds neither, or there are no such photos.
    ValueError: a file is damaged, the photos have other classes, or data or split is
      given for packed photos.
  """
  if images < 1:
    raise ValueError(f"images is {images}, but must be at least 1")
  if not (folder / MANIFEST).is_file():
    return run_page.write(
      folder, data, split, images=images, batch_size=batch_size, page_file=page_file
    )
  for name, given in (("data", data), ("split", split)):
    if given:
      raise ValueError(
        f"{name} is for the page of a run, but {folder} holds packed photos: leave "
        f"{name} out"
      )
  target = page_file or folder / "report.html"
  targets.check([folder / MANIFEST], page_file=target)
  return data_page.write(folder, target, images)


def text(result: dict[str, Any]) -> str:
  """The result of `report` for people."""
  return data_page.text(result) if "sampled" in result else run_page.text(result)
