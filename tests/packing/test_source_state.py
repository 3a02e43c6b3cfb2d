"""A source that is not what it was: refused when resumed, told when it ends."""

import hashlib
import os
import re
import shutil
import tarfile

import pytest

from im21k.packing import driver, source_state
from im21k.packing.pack import pack
from im21k.photos import sources

FISH, SHARK, RAY = "n01440764", "n01484850", "n01496331"


class Killed(Exception):
  pass


def contents(folder):
  return {
    path.name: hashlib.sha256(path.read_bytes()).hexdigest()
    for path in folder.iterdir()
  }


def rows(recorded):
  return list(source_state._lines(recorded))


def removed(source):
  shutil.rmtree(source / SHARK)


def gone(source):
  (source / FISH / f"{FISH}_1.jpg").unlink()


def new(source):
  shutil.copy(source / FISH / f"{FISH}_1.jpg", source / FISH / f"{FISH}_1b.jpg")


def new_folder(source):
  (source / RAY).mkdir()
  shutil.copy(source / FISH / f"{FISH}_1.jpg", source / RAY / "a.jpg")


def longer(source):
  path = source / FISH / f"{FISH}_1.jpg"
  path.write_bytes(path.read_bytes() + b"1234")


def touched(source):
  os.utime(source / SHARK / f"{SHARK}_0.jpg", ns=(0, 1_500_000_000_123_456_789))


def strange(source):
  (source / FISH / "a\nb\udce9.jpg").touch()


CHANGES = {
  removed: rf"{SHARK}/{SHARK}_0\.jpg is gone",
  gone: rf"{FISH}/{FISH}_1\.jpg is gone",
  new: rf"{FISH}/{FISH}_1b\.jpg is new",
  new_folder: rf"{RAY}/a\.jpg is new",
  longer: rf"{FISH}/{FISH}_1\.jpg has ([\d,]+) bytes, had ([\d,]+)",
  touched: rf"{SHARK}/{SHARK}_0\.jpg was modified at 2017-07-14 02:40:00\.123457 UTC",
  strange: rf"{FISH}/a\\nb\\udce9\.jpg is new",
}


@pytest.fixture
def source(photos):
  return photos({FISH: 4, SHARK: 3})


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_a_resumed_run_refuses_another_source(
  source, tmp_path, monkeypatch, change, shuffle
):
  out = tmp_path / "out"
  options = {"shuffle": shuffle, "workers": 1, "shards": 2}

  def killed(*args, **options):
    raise Killed

  with monkeypatch.context() as patch:
    patch.setattr(driver.Packer, "_run", killed)
    with pytest.raises(Killed):
      pack(source, out, **options)
  shutil.copytree(source, tmp_path / "kept")  # With its times.
  before = sorted(os.listdir(out / ".packing"))
  change(source)
  with pytest.raises(FileExistsError) as refused:
    pack(source, out, **options)
  text = str(refused.value)
  assert text.startswith(f"{source} is not what it was when packing into {out} began: ")
  assert text.endswith(f"; restore it with its times, or remove {out} and pack again")
  assert "\n" not in text
  match = re.search(CHANGES[change], text)
  assert match, text
  if change is longer:
    had, has = (int(number.replace(",", "")) for number in match.groups()[::-1])
    assert has == had + 4
  assert sorted(os.listdir(out / ".packing")) == before
  shutil.rmtree(source)
  shutil.copytree(tmp_path / "kept", source)
  pack(source, out, **options)
  pack(source, tmp_path / "unbroken", **options)
  assert contents(out) == contents(tmp_path / "unbroken")


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_a_change_while_it_is_packed_is_told(
  source, tmp_path, monkeypatch, change, shuffle
):
  run, changes = driver.Packer._run, []

  def changed(self, stage, *args, **options):
    run(self, stage, *args, **options)
    if stage == "pack":
      changes.append(change(source))

  monkeypatch.setattr(driver.Packer, "_run", changed)
  result = pack(source, tmp_path / "out", shuffle=shuffle, workers=1)
  assert result["train"] == 7 and len(changes) == 1
  failed = result["failed"]
  assert failed.startswith(f"{source} changed while it was packed: ")
  assert re.search(CHANGES[change], failed), failed
  assert failed.endswith(f"remove {tmp_path / 'out'}, and pack again")
  assert not (tmp_path / "out" / ".packing").exists()


def test_a_source_that_stays_is_no_failure(source, tmp_path):
  (source / FISH / "dangling.jpg").symlink_to("nowhere")
  for shuffle in ("direct", "external"):
    assert "failed" not in pack(source, tmp_path / shuffle, shuffle=shuffle, workers=1)


def test_a_folder_that_is_gone_at_the_end_is_told(source, tmp_path, monkeypatch):
  run = driver.Packer._run

  def changed(self, *args, **options):
    run(self, *args, **options)
    shutil.rmtree(source)

  monkeypatch.setattr(driver.Packer, "_run", changed)
  failed = pack(source, tmp_path / "out", shuffle="direct", workers=1)["failed"]
  assert f"{source} does not exist" in failed


def tar_of(folder, path):
  with tarfile.open(path, "w") as tar:
    for photo in sorted(folder.glob("*/*")):
      tar.add(photo, photo.relative_to(folder))
  return path


def appended(path):
  with path.open("ab") as file:
    file.write(bytes(10_240))


@pytest.mark.parametrize("kind", ["tar", "tars", "list", "packed"])
def test_other_sources_are_known_by_their_files(source, tmp_path, monkeypatch, kind):
  given = tmp_path / "given"
  if kind == "tar":
    changing = given = tar_of(source, tmp_path / "photos.tar")
    change, message = appended, r"photos\.tar has [\d,]+ bytes, had"
  elif kind == "tars":
    given.mkdir()
    for synset in (FISH, SHARK):
      with tarfile.open(given / f"{synset}.tar", "w") as tar:
        for photo in sorted((source / synset).iterdir()):
          tar.add(photo, photo.name)
    changing, change = given / f"{SHARK}.tar", os.unlink
    message = rf"{SHARK}\.tar is gone"
  elif kind == "list":
    given = changing = tmp_path / "list.tsv"
    lines = [f"{p.relative_to(tmp_path)}\t{FISH}\n" for p in source.glob("*/*")]
    given.write_text("".join(lines))

    def change(path):
      path.write_text("".join(lines).replace(FISH + "\n", RAY + "\n", 1))

    message = rf"\.jpg is {RAY}, was {FISH}"
  else:
    pack(source, given, workers=1, shards=2)
    changing, message = (
      given / "manifest.json",
      r"manifest\.json is SHA-256_\w{64}, was",
    )

    def change(path):
      path.write_text(path.read_text() + " ")

  def killed(*args, **options):
    raise Killed

  with monkeypatch.context() as patch:
    patch.setattr(driver.Packer, "_run", killed)
    with pytest.raises(Killed):
      pack(given, tmp_path / "out", workers=1, memory=1e-6, shuffle="external")
  change(changing)
  with pytest.raises(FileExistsError, match=message):
    pack(given, tmp_path / "out", workers=1, memory=1e-6, shuffle="external")


def test_a_list_that_was_removed_still_refuses(source, tmp_path, monkeypatch):
  def killed(*args, **options):
    raise Killed

  out = tmp_path / "out"
  with monkeypatch.context() as patch:
    patch.setattr(driver.Packer, "_run", killed)
    with pytest.raises(Killed):
      pack(source, out, workers=1)
  (kept,) = (out / ".packing").glob("files-*")
  kept.write_bytes(b"damaged")
  gone(source)
  with pytest.raises(FileExistsError, match="began: its files differ;"):
    pack(source, out, workers=1)


def test_any_number_of_files_is_compared_by_lines(tmp_path):
  """Also over the borders of the pieces in which they are written and read."""
  paths = []
  for last in ("c", "d"):
    with source_state.recording(tmp_path) as recorder:
      for i in range(3000):
        recorder._lines.append(f"1 2 {FISH} {FISH}/{i}\0")
        if i % 700 == 0:
          recorder._flush()
      recorder._lines.append(f"1 2 {FISH} {last}\0")
      recorder.digest()
      paths.append(tmp_path / last)
      recorder.path.rename(paths[-1])
  assert len(rows(paths[0])) == 3001
  assert source_state.difference(*paths) == "c is gone"
  assert source_state.difference(paths[1], paths[0]) == "d is gone"


def test_a_prepared_data_set_is_known_by_its_files(tmp_path):
  (tmp_path / "data").mkdir()
  (tmp_path / "data" / "dataset_info.json").write_text("{}")
  stream = sources.tfds.Prepared(str(tmp_path / "data"), False, "train", 3)
  with source_state.recording(tmp_path) as recorder:
    assert recorder.add(sources.Source((stream,))) == [stream]
    recorder.digest()
    keys = [line.key for line in rows(recorder.path)]
  assert keys == [
    f"{tmp_path / 'data'}:train", str(tmp_path / "data" / "dataset_info.json")
  ]  # fmt: skip
