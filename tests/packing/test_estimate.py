"""Estimates of memory, disk space and hours, and errors of a disk that is too small."""

import errno
import os
import shutil
import sys
import tarfile

import pytest

from im21k import files
from im21k.packing import estimate, shard_plan
from im21k.packing.pack import pack

# `im21k.packing.pack` is the function; its module has the same name.
packing = sys.modules["im21k.packing.pack"]
FISH, SHARK = "n01440764", "n01484850"


def tar_of(source, path):
  with tarfile.open(path, "w") as tar:
    tar.add(source, ".")
  return path


def test_a_full_disk_is_an_error_before_packing_and_resumable(
  fishes, tmp_path, monkeypatch
):
  source = tar_of(fishes, tmp_path / "all.tar")
  usage = shutil.disk_usage(tmp_path)
  with monkeypatch.context() as patch:
    patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OSError, match=r"has 0\.001 MB free: make space for"):
      pack(source, tmp_path / "out", workers=1)
  assert pack(source, tmp_path / "out", workers=1)["train"] == 24


def test_scratch_of_loose_files_is_checked_too(fishes, tmp_path, monkeypatch):
  usage = shutil.disk_usage(tmp_path)
  monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
  with pytest.raises(OSError, match=r"has 0\.001 MB free: make space for"):
    pack(fishes, tmp_path / "out", workers=1, shuffle="external")


@pytest.mark.parametrize("size", [1e9, 50e9, 1.3e12])
def test_memory_keeps_seeks_below_a_fifth_of_a_hard_disks_time(monkeypatch, size):
  monkeypatch.setattr(estimate.machine, "memory", lambda: 1 << 40)  # a TiB
  memory = estimate.memory(int(size), None, 4) * 1e9
  shards_ = shard_plan.default_shards(int(size / 90_000))
  seconds = size / memory * shards_ * 0.009
  assert seconds <= 0.21 * 4 * size / 170e6
  assert estimate.memory(int(size), None, 1000) * 1e9 <= (1 << 40) / 2 / 1000 + 1e6


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_a_dry_run_prints_an_estimate_and_writes_nothing(photos, tmp_path, kind):
  source = photos({FISH: 30, SHARK: 20})
  size = sum(file.stat().st_size for file in source.glob("*/*"))
  given = source if kind == "folder" else tar_of(source, tmp_path / "all.tar")
  before = sorted(os.listdir(tmp_path))
  options = {"dry_run": True, "workers": 2}
  if kind == "tar":
    options["memory"] = 0.5
  result = pack(given, tmp_path / "out", **options)
  assert sorted(os.listdir(tmp_path)) == before
  if kind == "folder":
    assert (result["photos"], result["source_bytes"]) == (50, size)
    assert result["packed_bytes"] == size
    assert (result["scratch_bytes"], result["memory_gb"]) == (0, 0)
  else:
    assert given.stat().st_size - 2048 <= result["source_bytes"] <= given.stat().st_size
    assert (result["photos"], result["packed_bytes"]) == (50, size)
    assert result["scratch_bytes"] == result["packed_bytes"]
    assert result["memory_gb"] == 0.5
  assert result["core_hours"] > 0 and result["free_bytes"] > 0
  assert set(result["hours"]) == {"processors", "hard_disk", "ssd"}
  text = packing.text(result)
  assert f"{result['photos']} photos" in text and ("of scratch" in text) == (
    kind == "tar"
  )


def test_a_dry_run_knows_how_small_photos_become(photos, jpeg, tmp_path):
  (tmp_path / "photos" / FISH).mkdir(parents=True)
  data = jpeg(1, 300, 400)
  (tmp_path / "photos" / FISH / "a.jpg").write_bytes(data)
  options = {"dry_run": True, "resize": 64, "shuffle": "external", "workers": 1}
  result = pack(tmp_path / "photos", tmp_path / "out", **options)
  assert result["packed_bytes"] == result["scratch_bytes"] < len(data) / 3


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize(
  "name",
  ["files.gz", "begun.json", "00004.array_record", ".done", "rejected.tsv",
   "report.json", "report.txt", "classes.txt", "manifest.json"],
)  # fmt: skip
def test_a_disk_that_is_full_at_any_file_is_told_and_resumable(
  fishes, tmp_path, monkeypatch, name, code
):
  options = {"shards": 4, "workers": 1}
  out, sync = tmp_path / "out", files.sync
  failed = []

  def full(path):
    if path.name.endswith(name) and path.name.startswith(files.TEMPORARY):
      failed.append(path)
      raise OSError(code, os.strerror(code))
    sync(path)

  with monkeypatch.context() as patch:
    patch.setattr(files, "sync", full)
    message = "the disk of .* is full: .* are free" if code == errno.ENOSPC else "quota"
    with pytest.raises(OSError, match=f"{message}.*; make space, and repeat") as error:
      pack(fishes, out, **options)
  assert failed and "\n" not in str(error.value)
  assert not list(out.rglob(f"{files.TEMPORARY}*")) and not list(out.rglob("*.lock"))
  assert not (out / "manifest.json").exists()
  assert pack(fishes, out, **options)["train"] == 24
  assert not (out / ".packing").exists()


def test_a_lock_that_finds_the_disk_full_is_told(fishes, tmp_path, monkeypatch):
  def full(path, flags, *mode):
    if str(path).endswith("pack.lock"):
      raise OSError(errno.ENOSPC, "No space left on device", str(path))
    return opened(path, flags, *mode)

  opened = os.open
  monkeypatch.setattr(os, "open", full)
  with pytest.raises(OSError, match=r"is full: .*; make space"):
    pack(fishes, tmp_path / "out", workers=1)
  assert not (tmp_path / "out").exists()
