"""Counts that workers share -> a progress bar with rates, time left and rejections."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

from tqdm import tqdm

_EVERY = 0.5  # seconds between two updates


@contextlib.contextmanager
def show(
  stage: str,
  counts: Any,
  *,
  photos: int | None = None,
  size: int | None = None,
  file: IO[str] | None = None,
) -> Iterator[None]:
  """Shows a progress bar until the context ends.

  Args:
    stage: name of the stage.
    counts: numbers of photos, bytes and rejected photos, which workers increase.
    photos, size: the total in photos or in bytes, whichever is known.
    file: stream to write to; by default standard error, if it is a terminal.
  """
  bar: tqdm[Any] = tqdm(
    total=photos or size,
    desc=stage,
    unit=" photos" if photos else "B",
    unit_scale=not photos,
    disable=None if file is None else False,
    file=file,
    mininterval=0,
  )
  if bar.disable:
    yield
    return
  start, end = time.monotonic(), threading.Event()

  def update() -> None:
    done, done_bytes, rejected = counts[:3]
    seconds = max(time.monotonic() - start, 1e-3)
    rate, mb = done / seconds, done_bytes / seconds / 1e6
    other = f"{mb:,.0f} MB/s" if photos else f"{done:,} photos, {rate:,.0f}/s"
    bar.set_postfix_str(f"{other}, {rejected:,} rejected", refresh=False)
    bar.update((done if photos else done_bytes) - bar.n)

  def watch() -> None:
    while not end.wait(_EVERY):
      update()

  thread = threading.Thread(target=watch, daemon=True)
  thread.start()
  try:
    yield
  finally:
    end.set()
    thread.join()
    update()
    bar.close()
