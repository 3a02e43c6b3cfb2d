"""The progress bar counts what all workers have done."""

import io
import subprocess
import sys
import time

import pytest

from im21k.packing import progress, workers
from im21k.packing.pack import pack
from im21k.packing.workers import Shared

# `im21k.packing.pack` is the function; its module has the same name.
packing = sys.modules["im21k.packing.pack"]
FISH, SHARK = "n01440764", "n01484850"


def last_line(counts, **total) -> str:
  out = io.StringIO()
  with progress.show("pack", counts, file=out, **total):
    time.sleep(0.01)
  return out.getvalue().split("\r")[-1]


def test_photos_are_counted_with_rates_and_rejects():
  line = last_line([30, 60_000_000, 2], photos=40)
  assert "pack:  75%" in line and "30/40" in line
  assert "photos/s" in line and "MB/s" in line and "2 rejected" in line


def test_where_bytes_are_known_they_give_the_time_left():
  line = last_line([30, 500_000_000, 1], size=1_000_000_000)
  assert "50%" in line and "500M/1.00G" in line and "30 photos, " in line
  assert "1 rejected" in line


def test_counts_grow_while_a_task_runs(photos, monkeypatch, tmp_path):
  monkeypatch.setattr(workers, "_FLUSH", 3)
  seen = []
  shared = workers.Shared.of(1)

  class Lock:
    def __enter__(self):
      seen.append(list(shared.counts))

    def __exit__(self, *error):
      pass

  shared = workers.Shared(shared.counts, Lock(), shared.disk)
  monkeypatch.setattr(workers.Shared, "of", lambda workers: shared)
  pack(photos({FISH: 10}), tmp_path / "out", shards=1, workers=1)
  assert [counts[0] for counts in seen] == [0, 3, 6, 9]
  assert shared.counts[0] == 10


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_count_together(photos, monkeypatch, tmp_path, workers):
  source = photos({FISH: 70, SHARK: 80})
  (source / FISH / "bad.jpg").write_text("I am a text.")
  kept = []
  of = Shared.of
  monkeypatch.setattr(
    Shared, "of", lambda workers: kept.append(of(workers)) or kept[-1]
  )
  options = {"shards": 3, "workers": workers, "shuffle": "external"}
  pack(source, tmp_path / "out", **options)
  size = sum(file.stat().st_size for file in source.glob("*/*"))
  read, packed = kept
  assert list(read.counts) == [151, size, 1]
  assert packed.counts[0] == 150


def test_nothing_is_shown_without_a_terminal(photos, tmp_path):
  command = ["pack", photos({FISH: 3}), tmp_path / "out", "--workers", "1"]
  done = subprocess.run(
    [sys.executable, "-m", "im21k.cli", *command], capture_output=True, text=True
  )
  assert done.returncode == 0 and done.stderr == ""
