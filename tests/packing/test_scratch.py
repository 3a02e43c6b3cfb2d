"""The scratch folder: side files are read back whole, other runs are refused."""

import json
import os
import threading
import time

import numpy as np
import pytest

from im21k import lock
from im21k.packing import completion, driver, scratch
from im21k.packing.pack import pack

FISH = "n01440764"
ARRAYS = {
  "empty": np.empty((0, 2), np.uint64),
  "keys": np.frombuffer(b"abc\n\xff", np.uint8),
  "places": np.arange(6, dtype=np.uint64).reshape(3, 2)[::-1],
}


def test_load_inverts_save(tmp_path):
  head = {"last": True, "name": "ü\n"}
  scratch.save(tmp_path / "a", head, ARRAYS)
  assert scratch.load_head(tmp_path / "a") == head
  loaded, arrays = scratch.load(tmp_path / "a")
  assert loaded == head
  assert set(arrays) == set(ARRAYS)
  for name, array in ARRAYS.items():
    assert arrays[name].dtype == array.dtype
    np.testing.assert_array_equal(arrays[name], array)


def test_a_side_file_may_have_no_arrays(tmp_path):
  scratch.save(tmp_path / "a", {"count": 1}, {})
  assert scratch.load(tmp_path / "a") == ({"count": 1}, {})


@pytest.mark.parametrize(
  "damage",
  [
    lambda data: data[:-1],
    lambda data: data[:20],
    lambda data: b"",
    lambda data: b"\xff" * 100,  # a header of 2**64 bytes
    lambda data: b'{"head": {}, "arrays": {}}\n' + bytes(10),  # the format before
  ],
)
@pytest.mark.parametrize("read", [scratch.load, scratch.load_head])
def test_a_damaged_side_file_is_named_with_the_remedy(tmp_path, damage, read):
  path = tmp_path / "a"
  scratch.save(path, {}, ARRAYS)
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(ValueError, match=rf"{path} is damaged .* remove {tmp_path}"):
    read(path)


@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_a_scratch_folder_of_another_version_is_refused(photos, tmp_path, shuffle):
  source, out = photos({FISH: 3}), tmp_path / "out"
  folder = out / ".packing"
  folder.mkdir(parents=True)
  old = {"source": str(source.resolve()), "seed": 0}  # without `format`
  (folder / "begun.json").write_text(json.dumps(old))
  (folder / "run-00000-00000.run").write_bytes(b'{"head": {"last": true}}\n')
  with pytest.raises(FileExistsError) as error:
    pack(source, out, workers=1, shuffle=shuffle)
  assert str(error.value) == (
    f"{folder} was written by another version of im21k and cannot be resumed: remove "
    f"{out}, and pack again"
  )


@pytest.fixture
def begin(tmp_path):
  """`begin(run, part)`: begins in `tmp_path` with a list of no files."""

  def begin(run, part):
    (tmp_path / ".packing").mkdir(exist_ok=True)
    listed = tmp_path / ".packing" / "list"
    listed.touch()
    scratch.begin(tmp_path, {"files": "0", **run}, part, listed)

  return begin


def test_a_run_with_other_options_leaves_temporary_files_alone(begin, tmp_path):
  """They may be those of a run that is still writing."""
  begin({"seed": 0}, (0, 1))
  temporary = tmp_path / ".packing" / ".writing-1-x.run"
  temporary.touch()
  with pytest.raises(FileExistsError, match=r"\(seed differ\)"):
    begin({"seed": 1}, (0, 1))
  assert temporary.exists()
  begin({"seed": 0}, (0, 1))
  assert not temporary.exists()


def test_the_first_of_several_parts_decides(begin, monkeypatch):
  """Both see no folder; one creates the record, the other is held to it."""
  create = scratch.files.create_text

  def late(path, text):
    create(path, json.dumps({"format": 3, "memory": 1.0, "files": "0"}))
    create(path, text)

  monkeypatch.setattr(scratch.files, "create_text", late)
  with pytest.raises(FileExistsError, match=r"\(memory differ\)"):
    begin({"memory": 2.0}, (1, 2))


def test_two_packers_of_one_part_are_refused_by_name(photos, tmp_path, monkeypatch):
  source, out = photos({FISH: 8}), tmp_path / "out"
  run, seen = driver.Packer._run, []

  def beside(self, *args, **options):
    for part in ("1/2", "2/2"):
      try:
        seen.append(pack(source, out, part=part, workers=1, shards=4))
      except lock.Held as error:
        seen.append(str(error))
      monkeypatch.setattr(driver.Packer, "_run", run)
    run(self, *args, **options)

  monkeypatch.setattr(driver.Packer, "_run", beside)
  result = pack(source, out, part="1/2", workers=1, shards=4)
  refused, second = seen
  assert refused.startswith(
    f"{out} is in use (packing part 1/2 by process {os.getpid()}"
  )
  assert second == {"waiting": 2, "part": "2/2"}
  assert result["train"] == 8
  assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_parts_complete_one_after_the_other(photos, tmp_path, monkeypatch):
  """Both are at their end; the second gets the result of the first."""
  source, out = photos({FISH: 8}), tmp_path / "out"
  change, results = completion.change, []

  def other(*args):
    monkeypatch.setattr(completion, "change", change)
    options = {"part": "2/2", "workers": 1, "shards": 4}
    thread = threading.Thread(
      target=lambda: results.append(pack(source, out, **options))
    )
    thread.start()
    while not (out / ".packing" / "1-of-2.lock").exists():
      time.sleep(0.01)
    results.append(thread)
    return change(*args)

  pack(source, out, part="2/2", workers=1, shards=4)
  monkeypatch.setattr(completion, "change", other)
  first = pack(source, out, part="1/2", workers=1, shards=4)
  thread, *_ = results
  thread.join()
  assert results[1] == first and first["train"] == 8
  assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_run_that_fails_at_once_leaves_nothing(photos, tmp_path):
  source, out = photos({FISH: 2}), tmp_path / "a" / "b"
  with pytest.raises(ValueError, match="would be held out"):
    pack(source, out, workers=1, eval_per_class=2, eval_min_class_size=1)
  assert not (tmp_path / "a").exists()
  out.mkdir(parents=True)
  with pytest.raises(ValueError, match="would be held out"):
    pack(source, out, workers=1, eval_per_class=2, eval_min_class_size=1)
  assert not list(out.iterdir())
