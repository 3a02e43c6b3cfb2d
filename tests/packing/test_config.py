"""Every option of `pack` has an effect, and a resumed run must not change it."""

import collections
import dataclasses
import hashlib
import io
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from im21k.packing import beam, external_shuffle, workers
from im21k.packing.config import PackOptions, with_changes
from im21k.packing.pack import pack

FISH, SHARK, RAY = "n01440764", "n01484850", "n01496331"
TEDDY = "n04399382"  # in ILSVRC2012, not in ImageNet-21k
OPTIONS = [field.name for field in dataclasses.fields(PackOptions)]


class Case:
  """Photos, and two settings that differ in one option.

  `first` and `second` are settings of the option; `always` are other options.
  """

  def __init__(
    self, first: Any, second: Any, source: Path | None = None, **always: Any
  ):
    self.first, self.second, self.source, self.always = first, second, source, always


def of_text(folder: Path, name: str, text: str) -> Path:
  (folder / name).write_text(text)
  return folder / name


def tsv(folder: Path) -> tuple[Path, Path]:
  """A TSV of the photos, and a second root with one of them missing."""
  lines = [f"{p.relative_to(folder)}\t{p.parent.name}\n" for p in folder.glob("*/*")]
  other = folder.with_name("other")
  for path in list(folder.glob("*/*"))[1:]:
    (other / path.parent.name).mkdir(parents=True, exist_ok=True)
    (other / path.relative_to(folder)).write_bytes(path.read_bytes())
  return of_text(folder.parent, "list.tsv", "".join(lines)), other


def other_photos(folder: Path) -> Path:
  """One photo of the same class elsewhere."""
  path = folder.with_name("val") / FISH / "a.jpg"
  path.parent.mkdir(parents=True)
  path.write_bytes(next(folder.glob("*/*")).read_bytes())
  return folder.with_name("val")


def cut(folder: Path) -> Path:
  """A tar of the photos whose end is missing."""
  path = folder.with_name("cut.tar")
  with tarfile.open(path, "w") as tar:
    tar.add(folder, "photos")
    end = tar.offset
  os.truncate(path, end)
  return path


def numbered_tar(folder: Path) -> Path:
  """A flat tar of photos whose labels a file has to give."""
  path = folder.with_name("flat.tar")
  with tarfile.open(path, "w") as tar:
    for i, photo in enumerate(sorted(folder.glob("*/*"))[:2], 1):
      info = tarfile.TarInfo(f"ILSVRC2012_test_{i:08d}.JPEG")
      info.size = photo.stat().st_size
      tar.addfile(info, io.BytesIO(photo.read_bytes()))
  return path


def tfds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
  """A prepared TFDS folder whose split has one photo of its own."""
  images = {
    split: [{"image": path.read_bytes(), "label": 0}]
    for split, path in zip(("train", "test"), folder.glob("*/*"), strict=False)
  }
  builder = SimpleNamespace(
    info=SimpleNamespace(features={"label": SimpleNamespace(names=[FISH])}),
    as_data_source=lambda split, decoders: images[split],
  )
  module = SimpleNamespace(
    builder_from_directory=lambda path: builder,
    decode=SimpleNamespace(SkipDecoding=lambda: None),
  )
  monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
  prepared = folder.with_name("prepared")
  prepared.mkdir()
  of_text(prepared, "dataset_info.json", "{}")
  return prepared


def damaged(folder: Path) -> Path:
  """The same folder with a photo whose damage only decoding shows."""
  path = next(folder.glob("*/*"))
  data = bytearray(path.read_bytes())
  middle = data.index(b"\xff\xda") + 40  # inside the coded pixels
  data[middle : middle + 100] = b"\xff\xd5" * 50
  path.write_bytes(data)
  return folder


def twice(folder: Path) -> Path:
  """The same folder with a photo and its copy."""
  path = next(folder.glob("*/*"))
  path.with_name("twice.jpg").write_bytes(path.read_bytes())
  return folder


def unlisted(folder: Path) -> Path:
  """The same folder with a photo of a class outside the class list."""
  (folder / TEDDY).mkdir()
  (folder / TEDDY / "a.jpg").write_bytes(next(folder.glob("*/*")).read_bytes())
  return folder


def case_of(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
  """The case of an option; a new option has to be added here."""
  key = next(folder.glob("*/*")).relative_to(folder)
  digest = hashlib.sha256((folder / key).read_bytes()).hexdigest()
  temporary = folder.parent
  cases: dict[str, Callable[[], Case]] = {
    "classes": lambda: Case(
      "imagenet21k", str(of_text(temporary, "two.txt", f"{SHARK}\n{FISH}\n"))
    ),
    "eval": lambda: Case(None, other_photos(folder)),
    "root": lambda: Case(folder, tsv(folder)[1], tsv(folder)[0]),
    "labels": lambda: Case(
      of_text(temporary, "a.txt", f"{FISH}\n{SHARK}\n"),
      of_text(temporary, "b.txt", f"{SHARK}\n{FISH}\n"),
      numbered_tar(folder),
    ),
    "source_split": lambda: Case(None, "test", tfds(folder, monkeypatch)),
    "shards": lambda: Case(2, 3),
    "seed": lambda: Case(0, 1),
    "eval_fraction": lambda: Case(0.0, 0.5),
    "eval_per_class": lambda: Case(0, 1),
    "eval_min_class_size": lambda: Case(None, 4, eval_per_class=1),
    "eval_keys": lambda: Case(None, of_text(temporary, "keys", f"{key}\n")),
    "exclude_hashes": lambda: Case(None, of_text(temporary, "hashes", f"{digest}\n")),
    "remap": lambda: Case(None, of_text(temporary, "remap", f"{SHARK}\t{FISH}\n")),
    "unlisted": lambda: Case("error", "skip"),
    "duplicates": lambda: Case("keep", "drop", twice(folder)),
    "resize": lambda: Case(None, 16),
    "quality": lambda: Case(90, 50, resize=16),
    "check": lambda: Case("decode", "header", damaged(folder)),
    "allow_damaged_archives": lambda: Case(False, True, cut(folder)),
    "shuffle": lambda: Case("direct", "external"),
    "memory": lambda: Case(1e-6, 1e-3, shuffle="external"),
    "part": lambda: Case("1/2", "1/3"),
    "runner": lambda: Case("local", "beam"),
    "beam_options": lambda: Case(None, "--parallelism=2", runner="beam"),
    "dry_run": lambda: Case(False, True),
    "workers": lambda: Case(1, 3),
  }
  return cases[name]()


@pytest.fixture
def folder(photos):
  return photos({FISH: 5, SHARK: 3})


@pytest.fixture
def observe(tmp_path, monkeypatch):
  """Packs; returns results, the bytes of all files, and which tasks ran how."""
  runs = 0

  def run_local(function, tasks, count, shared):
    tasks = list(tasks)
    seen["run"].append(("local", function.func.__name__, count))
    yield from map(function, tasks)

  def run_beam(function, tasks, destination, *, options, workers, places, part):
    seen["run"].append(("beam", options, workers))
    collections.deque(map(function, tasks), maxlen=0)

  monkeypatch.setattr(workers, "run_local", run_local)
  monkeypatch.setattr(beam, "check", lambda options: None)
  monkeypatch.setattr(beam, "run", run_beam)
  written = external_shuffle.write_runs

  def write_runs(folder, *rest):
    written(folder, *rest)
    seen["runs"] = len(list(folder.glob("run-*.bin")))

  write_runs.__name__ = "write_runs"
  monkeypatch.setattr(external_shuffle, "write_runs", write_runs)
  seen: dict[str, Any] = {}

  def observe(source: Path, **options: Any) -> dict[str, Any]:
    nonlocal runs, seen
    runs, seen = runs + 1, {"run": []}
    out = tmp_path / f"out{runs}"
    try:
      result = pack(source, out, **{"workers": 1, **options})
    except ValueError as error:
      return {"error": str(error)}
    if "failed" in result:  # It names the folder.
      result["failed"] = True
    for changing in ("manifest", "core_hours", "hours", "free_bytes"):
      result.pop(changing, None)
    files = {
      path.name: path.read_bytes()
      for path in out.glob("*")
      if path.is_file() and path.name != "manifest.json"
    }
    return {"result": result, "files": files, **seen}

  return observe


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_an_effect(name, folder, observe, monkeypatch):
  case = case_of(name, folder, monkeypatch)
  source = unlisted(folder) if name == "unlisted" else case.source or folder
  first = observe(source, **case.always, **{name: case.first})
  assert first == observe(source, **case.always, **{name: case.first})
  assert first != observe(source, **case.always, **{name: case.second})


# They may differ when a run is resumed.
FREE = {"runner", "beam_options", "dry_run", "workers", "allow_damaged_archives"}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_resumed_run_must_have_the_same_options(
  name, folder, tmp_path, monkeypatch, begun, engine
):
  case = case_of(name, folder, monkeypatch)
  source, out = case.source or folder, tmp_path / "out"
  options = {"workers": 1, **case.always}
  first = case.first if name != "dry_run" else False
  begun(source, out, **{**options, name: first})
  before = sorted(path.name for path in out.rglob("*"))
  if name in FREE:
    pack(source, out, **{**options, name: case.second})
    return
  with pytest.raises(FileExistsError, match=rf"another way \(.*{name}.* differ\)"):
    pack(source, out, **{**options, name: case.second})
  assert sorted(path.name for path in out.rglob("*")) == before
  assert pack(source, out, **{**options, name: case.first})


def test_an_unknown_option_gives_the_nearest_name(folder, tmp_path):
  with pytest.raises(TypeError, match="no option 'shard': did you mean 'shards'"):
    pack(folder, tmp_path / "out", shard=1)


def test_options_and_changes_combine():
  options = PackOptions(seed=3, shards=2)
  assert with_changes(options, {"shards": 4}) == PackOptions(seed=3, shards=4)
  assert with_changes(None, {}) == PackOptions()


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"check": "decod"}, "'decode' or 'header': did you mean 'decode'"),
    ({"duplicates": "all"}, "'all', but must be 'keep', 'drop' or 'multi-label'$"),
    ({"eval_keys": Path("a"), "eval_per_class": 1}, "give eval_keys, or one of"),
    ({"quality": 101}, "quality is 101, but must be between 1 and 100"),
    ({"quality": 0}, "quality is 0, but must be between 1 and 100"),
    ({"memory": 0.0}, "memory is 0.0 GB, but must be more than 0"),
    ({"memory": float("nan")}, "memory is nan GB"),
    ({"memory": float("inf")}, "memory is inf GB, but this machine has "),
    ({"seed": 1 << 127}, "but must fit 128 bits"),
    ({"seed": -(1 << 128)}, "but must fit 128 bits"),
    ({"beam_options": "--runner=X"}, "no effect without runner 'beam'"),
    ({"part": "²/4"}, "part is '²/4', but must be i/n"),
    ({"quality": 89}, "quality has no effect without resize"),
    ({"resize": 0}, "resize is 0, but must be at least 1"),
    ({"part": "3"}, "part is '3', but must be i/n, such as 1/4"),
    ({"part": "5/4"}, "part is '5/4', but i must be between 1 and n"),
    ({"part": "0/4"}, "part is '0/4', but i must be between 1 and n"),
  ],
)
def test_an_option_out_of_range_is_named(changes, message):
  with pytest.raises(ValueError, match=message):
    PackOptions(**changes)


def test_every_text_is_a_sentence():
  for field in dataclasses.fields(PackOptions):
    text = field.metadata["help"]
    assert text.endswith("."), field.name
    assert "  " not in text and "`" not in text, field.name
