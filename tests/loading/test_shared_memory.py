"""Batches that do not fit into shared memory are refused before workers start."""

import collections
import contextlib
import shutil

import pytest

from im21k.loading import shared_memory
from im21k.loading.train import TrainLoader

Usage = collections.namedtuple("Usage", "total used free")


@pytest.fixture
def free(monkeypatch, tmp_path):
  """`free(size)`: so many bytes are left."""
  monkeypatch.setattr(shared_memory, "FOLDER", tmp_path)

  def free(size):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(size, 0, size))

  return free


def test_two_workers_hand_over_fourteen_batches(free):
  free(14_000_000)
  shared_memory.check(2, 1_000_000)
  with pytest.raises(ValueError, match=r"14 MB free.* 14 batches.*--shm-size=15m"):
    shared_memory.check(2, 1_000_001)


def test_threads_and_other_systems_need_none(free, monkeypatch, tmp_path):
  free(0)
  shared_memory.check(0, 1_000_000)
  monkeypatch.setattr(shared_memory, "FOLDER", tmp_path / "missing")
  shared_memory.check(2, 1_000_000)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_looks_before_it_starts(packed, free, workers):
  free(64)  # bytes
  loader = TrainLoader(packed, batch_size=4, image_size=32, workers=workers, threads=1)
  if workers:
    with pytest.raises(ValueError, match="--shm-size"):
      loader.iter_from(0)
  else:
    with contextlib.closing(loader.iter_from(0)) as batches:
      assert len(next(batches)["label"].ravel()) == 4
