"""Several sources and photos to evaluate on: each once, under a key of its own."""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from im21k import synsets
from im21k.dataset.manifest import Manifest
from im21k.packing import driver
from im21k.packing.pack import pack
from im21k.packing.verify import verify

packing = sys.modules["im21k.packing.pack"]
FISH, SHARK, RAY, TEDDY = "n01440764", "n01484850", "n01496331", "n04399382"


def contents(folder):
  return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def tar_of(folder, path):
  with tarfile.open(path, "w") as tar:
    for photo in sorted(folder.glob("*/*")):
      tar.add(photo, photo.relative_to(folder))
  return path


@pytest.fixture
def sources(photos, jpeg):
  """Two folders whose photos have the same names; one of the second is broken."""
  train, val = photos({FISH: 5, SHARK: 3}, "train"), photos({FISH: 2, SHARK: 2}, "val")
  for seed, path in enumerate(sorted(val.glob("*/*")), 100):
    path.write_bytes(jpeg(seed))
  (val / SHARK / "broken.jpg").write_text("I am a text.")
  return train, val


def kinds(sources, tmp_path):
  """The same photos as other sources: name -> (train, val, root of keys, options)."""
  train, val = sources
  listed = val.parent / "val.tsv"
  lines = [f"val/{p.relative_to(val)}\t{p.parent.name}\n" for p in val.glob("*/*")]
  listed.write_text("".join(sorted(lines)))
  packed = tmp_path / "packed"
  pack(val, packed, workers=1, shards=1)
  return {
    "folders": (train, val),
    "tars": (tar_of(train, tmp_path / "a.tar"), tar_of(val, tmp_path / "b.tar")),
    "folder and tar": (train, tmp_path / "b.tar"),
    "tar and list": (tmp_path / "a.tar", listed),
    "folder and packed": (train, packed),
  }


NAMES = ["folders", "tars", "folder and tar", "tar and list", "folder and packed"]


@pytest.mark.parametrize("kind", NAMES)
def test_photos_of_eval_are_the_eval_split_from_any_reader(
  sources, tmp_path, read, kind
):
  train, val = kinds(sources, tmp_path)[kind]
  out = tmp_path / "out"
  result = pack(train, out, eval=val, workers=1, shards=2)
  rejected = 0 if kind == "folder and packed" else 1
  assert (result["train"], result["eval"], result["rejected"]) == (8, 4, rejected)
  first, second = result["sources"]
  assert first == {
    "name": train.name, "split": "train", "packed": 8, "rejected": 0, "labels": "",
  }  # fmt: skip
  assert second == {
    "name": val.name, "split": "eval", "packed": 4, "rejected": rejected, "labels": "",
  }  # fmt: skip
  document = json.loads((out / "manifest.json").read_text())
  assert document["sources"] == [first, second]
  lines = (out / "report.txt").read_text().splitlines()
  assert f"train: 8 photos of {train.name}" in lines
  assert packing.text(result).count(f"eval: 4 photos of {val.name}") == 1
  classes = synsets.imagenet21k().synsets
  for split, folder in zip(("train", "eval"), sources, strict=True):
    expected = {path.read_bytes(): path.parent.name for path in folder.glob("*/*.jpg")}
    found = {e.jpeg: classes[e.label] for e in read(out, split)}
    assert found == {
      data: synset for data, synset in expected.items() if data[:2] == b"\xff\xd8"
    }
  keys = [e.key for split in ("train", "eval") for e in read(out, split)]
  assert len(set(keys)) == 12
  assert all(key.startswith((f"{train.name}/", f"{val.name}/")) for key in keys)
  assert verify(out, workers=1)["photos"] == 12
  document["sources"][0]["packed"] += 1
  (out / "manifest.json").write_text(json.dumps(document))
  with pytest.raises(ValueError, match="sources do not sum to the 12 photos"):
    Manifest.load(out)


def test_both_ways_all_workers_and_all_parts_give_the_same_bytes(
  sources, tmp_path, engine
):
  train, val = sources
  pack(train, tmp_path / "first", eval=val, workers=1, shards=2, shuffle="direct")
  expected = contents(tmp_path / "first")
  again = {
    "external": {"shuffle": "external", "memory": 1e-6},
    "two": {"workers": 2},
    "both": {"workers": 2, "shuffle": "external"},
  }
  for name, options in again.items():
    options = {"workers": 1, "shards": 2, **options}
    pack(train, tmp_path / name, eval=val, **options)
    assert contents(tmp_path / name) == expected, name
  for shuffle in ("direct", "external"):
    out = tmp_path / f"parts-{shuffle}"
    for _ in range(3):
      for part in ("1/2", "2/2"):
        if not (out / "manifest.json").exists():
          pack(train, out, eval=val, workers=1, shards=2, part=part, shuffle=shuffle)
    assert contents(out) == expected
  pack(train, tmp_path / "beam", eval=val, workers=1, shards=2, runner="beam")
  assert contents(tmp_path / "beam") == expected


@pytest.mark.parametrize("shuffle", ["direct", "external"])
@pytest.mark.parametrize("changed", [0, 1])
def test_a_killed_run_is_resumed_unless_one_of_its_sources_changed(
  sources, tmp_path, begun, shuffle, changed
):
  train, val = sources
  options = {"eval": val, "workers": 1, "shards": 2, "shuffle": shuffle}
  begun(train, tmp_path / "out", **options)
  kept = tmp_path / "kept"
  shutil.copytree(sources[changed], kept)
  moved = sources[changed] / FISH / f"{FISH}_0.jpg"
  moved.write_bytes(moved.read_bytes() + b"1")
  with pytest.raises(FileExistsError, match=rf"{FISH}_0\.jpg has .* bytes, had"):
    pack(train, tmp_path / "out", **options)
  with pytest.raises(FileExistsError, match=r"another way \(source, .*files differ\)"):
    pack(train, tmp_path / "out", **{**options, "eval": kept})
  shutil.rmtree(sources[changed])
  shutil.copytree(kept, sources[changed])
  pack(train, tmp_path / "out", **options)
  pack(train, tmp_path / "whole", **options)
  assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("changed", [0, 1])
def test_a_change_of_any_source_while_it_is_packed_is_told(
  sources, tmp_path, monkeypatch, changed
):
  train, val = sources
  run = driver.Packer._run

  def changes(self, stage, *args, **options):
    run(self, stage, *args, **options)
    (sources[changed] / FISH / "new.jpg").touch()

  monkeypatch.setattr(driver.Packer, "_run", changes)
  failed = pack(train, tmp_path / "out", eval=val, workers=1, shards=2)["failed"]
  assert failed.startswith(f"{train} and {val} changed while it was packed: {FISH}/new")


def test_several_sources_are_one_set_whose_options_divide_it(sources, tmp_path, keys):
  train, val = sources
  out = tmp_path / "out"
  result = pack(train, val, out, workers=1, shards=2, eval_fraction=0.25)
  assert (result["train"], result["eval"], result["rejected"]) == (8, 4, 1)
  assert [row["packed"] for row in result["sources"]] == [8, 4]
  assert {row["split"] for row in result["sources"]} == {""}
  found = sorted(keys(out, "train") + keys(out, "eval"))
  assert found[0] == f"train/{FISH}/{FISH}_0.jpg" and len(set(found)) == 12
  third = tmp_path / "third"
  result = pack(train, val, tmp_path / "b", third, eval=_more(tmp_path), workers=1)
  assert [row["name"] for row in result["sources"]] == ["train", "val", "b", "val-2"]


def _more(tmp_path):
  """Two more sources, one of them with a name that another one has."""
  for path in (tmp_path / "b", tmp_path / "c" / "val"):
    (path / RAY).mkdir(parents=True, exist_ok=True)
    photo = next((tmp_path / "train" / FISH).iterdir())
    shutil.copy(photo, path / RAY / "a.jpg")
  return tmp_path / "c" / "val"


def test_the_command_line_takes_sources_and_then_the_destination(sources, tmp_path):
  train, val = sources
  call = [sys.executable, "-m", "im21k", "pack", "--json", "--workers", "1"]
  done = subprocess.run(
    [*call, train, val, tmp_path / "out"], capture_output=True, text=True, check=True
  )
  result = json.loads(done.stdout)
  assert (result["train"], len(result["sources"])) == (12, 2)


def test_a_photo_of_both_sources_is_kept_for_evaluation(sources, tmp_path, keys):
  train, val = sources
  shutil.copy(train / FISH / f"{FISH}_0.jpg", val / FISH / "copy.jpg")
  out = tmp_path / "out"
  result = pack(train, out, eval=val, duplicates="drop", workers=1, shards=1)
  assert (result["train"], result["eval"], result["rejected"]) == (7, 5, 2)
  assert f"val/{FISH}/copy.jpg" in keys(out, "eval")


def test_own_classes_are_those_of_the_photos_to_train_on(jpeg, tmp_path):
  def own(counts, name):
    for synset, count in counts.items():
      for i in range(count):
        path = tmp_path / name / synset / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(i))
    return tmp_path / name

  train, val = own({"cat": 2, "dog": 2}, "train"), own({"dog": 1}, "val")
  result = pack(train, tmp_path / "out", eval=val, workers=1)
  assert (result["train"], result["eval"], result["classes"]) == (4, 1, 2)
  other = own({"cow": 1}, "other")
  with pytest.raises(ValueError, match="is in folder cow, which is not among the 2"):
    pack(train, tmp_path / "elsewhere", eval=other, workers=1)
  options = {"workers": 1, "unlisted": "skip"}
  with pytest.raises(ValueError, match=rf"{other} has no photo to pack"):
    pack(train, tmp_path / "elsewhere", eval=other, **options)
  result = pack(train, other, tmp_path / "third", eval=val, workers=1)
  assert result["classes"] == 3


def test_photos_to_evaluate_on_that_are_all_broken_are_an_error(sources, tmp_path):
  train, val = sources
  for path in val.glob("*/*"):
    path.write_text("I am a text.")
  for shuffle in ("direct", "external"):
    out = tmp_path / shuffle
    with pytest.raises(
      ValueError, match=rf"none of the 5 files to evaluate on in {val}"
    ):
      pack(train, out, eval=val, workers=1, shuffle=shuffle)
    assert not (out / "manifest.json").exists()


def test_damage_of_an_archive_is_counted_under_its_name(sources, tmp_path):
  train, val = sources
  (tmp_path / "x").mkdir()
  first, second = (
    tar_of(folder, tmp_path / where / "same.tar")
    for folder, where in ((train, "."), (val, "x"))
  )
  with second.open("ab") as file:
    file.write(b"more" * 200)
  result = pack(first, tmp_path / "out", eval=second, workers=1)
  assert list(result["damaged_archives"]) == ["same.tar-2"]
  assert [row["rejected"] for row in result["sources"]] == [0, 2]


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (
      {"eval_fraction": 0.1},
      "eval_fraction holds out photos to evaluate on, but .*val",
    ),
    ({"eval_per_class": 1}, "eval_per_class holds out photos"),
    ({"eval_keys": Path("keys")}, "eval_keys holds out photos"),
    ({"source_split": "train"}, "source_split has no effect"),
    ({"root": Path()}, "root has no effect"),
    ({"labels": Path("labels.txt")}, "labels are only used for numbered"),
  ],
)
def test_what_does_not_go_together_is_refused(sources, tmp_path, options, message):
  train, val = sources
  with pytest.raises(ValueError, match=message):
    pack(train, tmp_path / "out", eval=val, workers=1, **options)
  assert not (tmp_path / "out").exists()


def test_photos_that_would_be_read_twice_are_refused(sources, tmp_path):
  train, val = sources
  for paths, given in (
    ((train, train), {}),
    ((train,), {"eval": train}),
    ((train,), {"eval": train / FISH}),
    ((tmp_path, val), {}),
  ):
    with pytest.raises(ValueError, match=r"photos would be read twice|names of splits"):
      pack(*paths, tmp_path.parent / "out", workers=1, **given)
  with pytest.raises(ValueError, match=r"is inside the source .*val"):
    pack(train, val / "out", eval=val, workers=1)


def test_a_set_for_evaluation_alone(sources, tmp_path, read):
  _, val = sources
  for shuffle in ("direct", "external"):
    out = tmp_path / shuffle
    options = {"eval_fraction": 1.0, "workers": 1, "shuffle": shuffle}
    estimate = pack(val, out, dry_run=True, **options)
    assert estimate["eval"] == 5 and estimate["shards"] == {"train": 0, "eval": 5}
    result = pack(val, out, **options)
    assert (result["train"], result["eval"], result["rejected"]) == (0, 4, 1)
    assert list(Manifest.load(out).splits) == ["eval"] and len(read(out, "eval")) == 4
    assert verify(out, workers=1)["photos"] == 4
    assert json.loads((out / "report.json").read_text())["train_classes"] == {}
    with pytest.raises(ValueError, match=r"has no 'train' photos, only eval"):
      Manifest.load(out).shard_paths(out, "train")
  for path in val.glob("*/*"):
    path.write_text("I am a text.")
  with pytest.raises(ValueError, match=r"none of the 5 files to evaluate on"):
    pack(val, tmp_path / "out", eval_fraction=1.0, workers=1)


def test_a_dry_run_counts_each_source(sources, tmp_path):
  train, val = sources
  result = pack(train, tmp_path / "out", eval=val, dry_run=True, workers=1)
  assert (result["photos"], result["eval"]) == (13, 5)
  assert result["shards"] == {"train": 8, "eval": 5}
  text = packing.text(result)
  assert "eval: 5 photos of val" in text and "8 train shards and 5 eval shards" in text
  assert not (tmp_path / "out").exists()


def test_classes_that_only_the_eval_split_has_are_counted(photos, sources, tmp_path):
  train, _ = sources
  val = photos({FISH: 1, RAY: 1}, "other")
  result = pack(train, tmp_path / "out", eval=val, workers=1)
  assert result["untrained"] == 1
  assert "1 class to evaluate on without a photo to train on" in packing.text(result)
  assert "untrained" not in pack(train, tmp_path / "one", workers=1, eval_per_class=1)


def test_the_last_of_several_paths_must_be_a_name_in_utf_8(sources, tmp_path):
  with pytest.raises(ValueError, match="must be a name in UTF-8"):
    pack(*sources, tmp_path / "caf\udce9", workers=1)
  assert not (tmp_path / "caf\udce9").exists()


def test_a_folder_of_archives_of_any_names_leads_to_one_of_them(sources, tmp_path):
  (tmp_path / "archives").mkdir()
  for folder in sources:
    tar_of(folder, tmp_path / "archives" / f"{folder.name}.tar")
  first = tmp_path / "archives" / "train.tar"
  message = rf"holds 2 archives, and no photo of a class: .* {first}, and .* --eval"
  with pytest.raises(ValueError, match=message):
    pack(tmp_path / "archives", tmp_path / "out", workers=1)


def test_prepared_data_sets_give_their_splits(sources, tmp_path, monkeypatch):
  images = {
    split: [{"image": p.read_bytes(), "label": 0} for p in folder.glob(f"{FISH}/*.jpg")]
    for split, folder in zip(("train", "validation"), sources, strict=True)
  }
  builder = SimpleNamespace(
    info=SimpleNamespace(features={"label": SimpleNamespace(names=[FISH])}),
    as_data_source=lambda split, decoders: images[split],
    data_path=tmp_path,
  )
  module = SimpleNamespace(
    builder=lambda name, data_dir: builder,
    decode=SimpleNamespace(SkipDecoding=lambda: None),
  )
  monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
  train, val = (Path(f"tfds:photos:{split}") for split in images)
  result = pack(train, tmp_path / "out", eval=val, workers=1)
  assert (result["train"], result["eval"]) == (5, 2)
  assert result["sources"][1]["name"] == "tfds:photos:validation"
  estimate = pack(train, tmp_path / "dry", eval=val, workers=1, dry_run=True)
  assert (estimate["photos"], estimate["eval"]) == (7, 2)
  assert estimate["source_bytes"] == estimate["packed_bytes"] > 0
