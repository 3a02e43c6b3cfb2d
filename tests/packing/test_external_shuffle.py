"""The external shuffle: any source, any order of arrival, the same bytes."""

import errno
import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from im21k.dataset import records
from im21k.packing import disk, estimate, shard_writer
from im21k.packing.pack import pack

ROOT = Path(__file__).parents[2]
SMALL_DISKS = (
  shutil.which("unshare")
  and not subprocess.run(
    ["unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "x", "/mnt"],
    capture_output=True,
  ).returncode
)
FISH, SHARK, RAY = "n01440764", "n01484850", "n01496331"


def contents(folder):
  return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def tar_of(folder, path, mode="w"):
  """A tar of one tar for each synset folder, as ImageNet's downloads are."""
  with tarfile.open(path, mode) as outer:
    for synset in sorted(os.listdir(folder)):
      data = io.BytesIO()
      with tarfile.open(fileobj=data, mode="w") as inner:
        for photo in sorted((folder / synset).iterdir()):
          inner.add(photo, photo.name)
      info = tarfile.TarInfo(f"{synset}.tar")
      info.size = data.tell()
      data.seek(0)
      outer.addfile(info, data)
  return path


def sources_of(kind, fishes, tmp_path):
  match kind:
    case "tar":
      return tar_of(fishes, tmp_path / "fall11_whole.tar"), {}
    case "tar.gz":
      return tar_of(fishes, tmp_path / "winter21_whole.tar.gz", "w:gz"), {}
    case "flat tar":
      with tarfile.open(tmp_path / "flat.tar", "w") as tar:
        tar.add(fishes, "photos")
      return tmp_path / "flat.tar", {}
    case "folder of tars":
      with tarfile.open(tar_of(fishes, tmp_path / "all.tar")) as tar:
        tar.extractall(tmp_path / "tars", filter="data")
      return tmp_path / "tars", {}
    case "tsv":
      files = sorted(fishes.glob("*/*"), reverse=True)
      lines = [f"{p.relative_to(fishes)}\t{p.parent.name}\n" for p in files]
      (tmp_path / "list.tsv").write_text("".join(lines))
      return tmp_path / "list.tsv", {"root": fishes}
    case "lst":
      files = sorted(fishes.glob("*/*"))
      order = (FISH, SHARK, RAY)
      lines = [
        f"{i}\t{order.index(p.parent.name)}\t{p.relative_to(fishes)}\n"
        for i, p in enumerate(files)
      ]
      (tmp_path / "list.lst").write_text("".join(lines))
      return tmp_path / "list.lst", {"root": fishes}
    case _:
      return fishes, {"shuffle": "external"}


KINDS = ["folder", "tar", "tar.gz", "flat tar", "folder of tars", "tsv", "lst"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_the_bytes_of_the_direct_way(fishes, tmp_path, kind):
  classes = tmp_path / "three.txt"
  classes.write_text(f"{FISH}\n{SHARK}\n{RAY}\n")
  same = {"classes": str(classes), "eval_per_class": 2, "shards": 3, "workers": 1}
  pack(fishes, tmp_path / "direct", shuffle="direct", **same)
  source, options = sources_of(kind, fishes, tmp_path)
  # 2 kB a run makes many runs.
  options |= {"memory": 2e-6} if kind not in ("tsv", "lst") else {}
  pack(source, tmp_path / "out", **same, **options)
  assert contents(tmp_path / "out") == contents(tmp_path / "direct")


def test_parts_and_workers_give_the_same_bytes(fishes, tmp_path):
  source = tar_of(fishes, tmp_path / "all.tar")
  pack(source, tmp_path / "one", shards=3, workers=1)
  pack(source, tmp_path / "two", shards=3, workers=2, memory=1e-5)
  options = {"shards": 3, "workers": 1, "memory": 1e-5}
  assert pack(source, tmp_path / "p", part="1/2", **options)["waiting"]
  assert pack(source, tmp_path / "p", part="2/2", **options)["waiting"]
  assert pack(source, tmp_path / "p", part="1/2", **options)["train"] == 24
  one = contents(tmp_path / "one")
  assert contents(tmp_path / "two") == one
  assert contents(tmp_path / "p") == one


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", ["direct", "external"])
@pytest.mark.parametrize("at", [1, 9, 20])
def test_killed_it_goes_on_and_repeats_no_finished_shard(fishes, tmp_path, shuffle, at):
  options = {"shards": 4, "workers": 1, "shuffle": shuffle}
  options |= {"memory": 2e-6} if shuffle == "external" else {}
  pack(fishes, tmp_path / "unbroken", **options)
  out = tmp_path / "out"
  script = f"""
import os, pathlib, signal
from im21k.packing.pack import pack
from im21k.dataset import records
seen = []
head = records.head
def kills(key, label):
  seen.append(1)
  if len(seen) == {at}:
    os.kill(os.getpid(), signal.SIGKILL)
  return head(key, label)
records.head = kills
pack(pathlib.Path({str(fishes)!r}), pathlib.Path({str(out)!r}), **{options!r})
"""
  killed = subprocess.run([sys.executable, "-c", script], check=False)
  assert killed.returncode == -signal.SIGKILL
  with pytest.raises(FileExistsError, match=r"another way \(shards differ\)"):
    pack(fishes, out, **{**options, "shards": 3})
  before = {p.name: p.stat().st_ino for p in out.glob("train-*")}
  pack(fishes, out, **options)
  assert contents(out) == contents(tmp_path / "unbroken")
  assert before == {name: (out / name).stat().st_ino for name in before}


def test_hostile_members_are_refused_and_listed(jpeg, tmp_path):
  names = ["/etc/n01440764/a.jpg", "../n01440764/b.jpg", "n01440764/c.jpg"]
  with tarfile.open(tmp_path / "bad.tar", "w") as tar:
    for name in names:
      info = tarfile.TarInfo(name)
      info.size = len(jpeg())
      tar.addfile(info, io.BytesIO(jpeg()))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
      info = tarfile.TarInfo(f"n01440764/special{kind!r}.jpg")
      info.type, info.linkname = kind, "/etc/passwd"
      tar.addfile(info)
  result = pack(tmp_path / "bad.tar", tmp_path / "out", workers=1)
  assert (result["train"], result["rejected"]) == (1, 6)
  text = (tmp_path / "out" / "rejected.tsv").read_text()
  assert text.count("refused path") == 2 and text.count("link or device") == 4


@pytest.mark.parametrize("damage", ["cut", "header"])
def test_a_damaged_archive_is_listed_and_the_rest_is_packed(fishes, tmp_path, damage):
  source, _ = sources_of("folder of tars", fishes, tmp_path)
  path = source / f"{SHARK}.tar"
  data = bytearray(path.read_bytes())
  if damage == "cut":
    data = data[: len(data) // 2]
  else:
    with tarfile.open(path) as tar:
      at = tar.getmembers()[3].offset_data - 512
    data[at + 148 : at + 156] = b"garbage!"
  path.write_bytes(data)
  result = pack(source, tmp_path / "out", workers=1)
  assert 9 + 7 < result["train"] < 24
  text = (tmp_path / "out/rejected.tsv").read_text()
  assert f"\n{SHARK}.tar at byte " in text and "\tdamaged archive\t" in text
  assert result["failed"].startswith(f"{SHARK}.tar is damaged")


def test_a_rec_is_packed_without_a_re_encode(jpeg, tmp_path):
  import struct

  photos = {i: jpeg(i) for i in range(5)}
  with (tmp_path / "a.rec").open("wb") as file:
    for i, photo in photos.items():
      data = struct.pack("<IfQQ", 0, i % 2, i, 0) + photo
      file.write(struct.pack("<II", 0xCED7230A, len(data)) + data)
      file.write(bytes(-len(data) % 4))
  pack(tmp_path / "a.rec", tmp_path / "out", shards=1, workers=1)
  (shard,) = (tmp_path / "out").glob("train-*")
  reader = read_all(shard)
  for example in map(records.decode, reader):
    assert example.jpeg == photos[int(example.key.partition("/")[2])]
  assert len(reader) == 5


def read_all(shard):
  from array_record.python.array_record_module import ArrayRecordReader

  reader = ArrayRecordReader(str(shard))
  read = reader.read_all()
  reader.close()
  return read


def test_a_run_that_fits_no_photo_still_holds_one(fishes, tmp_path):
  pack(fishes, tmp_path / "one", shards=2, workers=1)
  options = {"shards": 2, "workers": 1, "shuffle": "external", "memory": 1e-9}
  pack(fishes, tmp_path / "out", **options)
  assert contents(tmp_path / "out") == contents(tmp_path / "one")


@pytest.mark.parametrize("shuffle", ["direct", "external"])
@pytest.mark.parametrize("at", [1, 6_000, 12_000])
def test_out_of_space_it_stops_says_what_is_missing_and_goes_on(
  fishes, tmp_path, monkeypatch, shuffle, at
):
  """The writers' own calls fail, after `at` bytes, as on a full disk."""
  options = {"shards": 4, "workers": 1, "shuffle": shuffle}
  options |= {"memory": 1e-5} if shuffle == "external" else {}
  pack(fishes, tmp_path / "unbroken", **options)
  out, left = tmp_path / "out", at

  def take(size, error):
    nonlocal left
    left -= size
    if left < 0:
      raise error

  class Writer(shard_writer.ArrayRecordWriter):
    def write(self, record):
      take(len(record), RuntimeError("Failed to write: No space left on device"))
      super().write(record)

  writev = os.writev

  def write_some(file, pieces):
    take(sum(map(len, pieces)), OSError(errno.ENOSPC, "No space left on device"))
    return writev(file, pieces)

  with monkeypatch.context() as patch:
    patch.setattr(shard_writer, "ArrayRecordWriter", Writer)
    patch.setattr(disk.os, "writev", write_some)
    usage = shutil.disk_usage(tmp_path)
    patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    patch.setattr(estimate, "check_space", lambda *args: None)
    with pytest.raises(OSError, match=r"is full: 0\.000 MB are free") as error:
      pack(fishes, out, **options)
  missing = 1e6 * float(re.findall(r"at most ([\d.]+) MB more", str(error.value))[0])
  total = sum(path.stat().st_size for path in fishes.glob("*/*"))
  # Four shards of 5 kB, and each byte once; or runs of 10 kB, and each byte twice.
  step, times = (5_000, 1) if shuffle == "direct" else (10_000, 2)
  done = at // step * step
  # The message has three digits behind a MB's point.
  assert times * total - done - 2_500 < missing < times * total - 0.8 * done + 600
  assert error.value.errno == errno.ENOSPC
  assert not [p for p in out.rglob("*") if p.name.startswith(".writing-")]
  assert pack(fishes, out, **options)["train"] == 24
  assert contents(out) == contents(tmp_path / "unbroken")


@pytest.mark.slow
@pytest.mark.skipif(not SMALL_DISKS, reason="no small disk can be mounted here")
@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_a_disk_that_is_really_full(jpeg, tmp_path, shuffle):
  source = tmp_path / "photos" / FISH
  source.mkdir(parents=True)
  for i in range(60):
    (source / f"{i}.jpg").write_bytes(jpeg(i, 300, 400, quality=95) + bytes(40_000))
  size = sum(path.stat().st_size for path in source.iterdir())
  pack(source.parent, tmp_path / "unbroken", shards=4, workers=1)
  script = f"""
cd {tmp_path} && mount -t tmpfs -o size={int(size * 0.7)} tmpfs disk || exit 9
pack() {{ {sys.executable} -m im21k.cli pack photos disk/out --shards 4 --workers 1 \\
  --shuffle {shuffle} {"--memory 0.001" if shuffle == "external" else ""}; }}
pack; echo "status $?"; ls -A disk/out/.packing | grep -c ^.writing-
mount -o remount,size={size * 4} disk && pack; echo "status $?"
cp -r disk/out out
"""
  (tmp_path / "disk").mkdir()
  path = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
  done = subprocess.run(
    ["unshare", "--mount", "--map-root-user", "bash", "-c", script],
    capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path},
  )  # fmt: skip
  assert re.findall(r"status (\d)\n(?:(\d)\n)?", done.stdout) == [
    ("1", "0"),
    ("0", ""),
  ], done.stderr
  assert "MB more" in done.stderr and done.stderr.count("\n") == 1
  assert contents(tmp_path / "out") == contents(tmp_path / "unbroken")


def test_a_killed_parts_files_are_removed_by_that_part_alone(fishes, tmp_path):
  source, out = tar_of(fishes, tmp_path / "all.tar"), tmp_path / "out"
  options = {"shards": 4, "workers": 1, "memory": 1e-5}
  pack(source, tmp_path / "one", **options)
  assert pack(source, out, part="1/2", **options)["waiting"]
  names = [
    f".writing-1-{name}"
    for i in range(2)
    for name in (
      f"run-{i:05d}-00003.bin",
      f"train-{i:05d}-of-00004.array_record",
      f"train-{i:05d}-of-00004.array_record.done",
    )
  ]
  for name in names:
    (out / ".packing" / name).touch()
  for part, gone in (("1/2", names[:3]), ("2/2", names)):
    pack(source, out, part=part, **options)
    left = {p.name for p in out.rglob(".writing-*")}
    assert left == set(names) - set(gone)
  pack(source, out, part="1/2", **options)
  assert contents(out) == contents(tmp_path / "one")


def test_memory_that_the_first_part_chose_holds_for_all(fishes, tmp_path):
  source, out = tar_of(fishes, tmp_path / "all.tar"), tmp_path / "out"
  pack(source, tmp_path / "one", shards=3, workers=1)
  assert pack(source, out, part="1/2", shards=3, workers=1, memory=1e-5)["waiting"]
  pack(source, out, part="2/2", shards=3, workers=1)
  pack(source, out, part="1/2", shards=3, workers=1)
  assert contents(out) == contents(tmp_path / "one")


@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_killed_while_it_takes_its_state_away_it_is_finished(fishes, tmp_path, shuffle):
  options = {"shards": 2, "workers": 1, "shuffle": shuffle}
  expected = pack(fishes, tmp_path / "out", **options)
  before = contents(tmp_path / "out")
  (tmp_path / "out" / ".packing").mkdir()
  (tmp_path / "out" / ".packing" / "run-00000-00000.bin").touch()
  with pytest.raises(FileExistsError, match="holds a packed data set already"):
    pack(fishes, tmp_path / "out", **options, seed=1)
  assert pack(fishes, tmp_path / "out", **options) == expected
  assert contents(tmp_path / "out") == before
