"""The manifest: loading inverts saving, and damage is reported by file and field."""

import json
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im21k.dataset.manifest import Manifest, Shard
from im21k.synsets import ClassListMismatch

SHARDS = st.builds(
  Shard,
  name=st.from_regex(r"[a-z0-9-]{1,20}\.array_record", fullmatch=True),
  count=st.integers(0),
  bytes=st.integers(0),
  xxh3_128=st.text(max_size=64),
)
SPLITS = st.dictionaries(
  st.sampled_from(["train", "eval"]), st.lists(SHARDS, max_size=4).map(tuple)
)


@settings(max_examples=10)
@given(
  manifest=st.builds(
    Manifest,
    class_list=st.text(),
    class_list_hash=st.text(),
    seed=st.integers(),
    options=st.dictionaries(st.text(), st.none() | st.integers() | st.text()),
    splits=SPLITS,
    rejected=st.integers(0),
  )
)
def test_load_undoes_save(tmp_path_factory, manifest):
  folder = tmp_path_factory.getbasetemp()
  manifest.save(folder)
  assert Manifest.load(folder) == manifest
  document = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
  for split, shards in manifest.splits.items():
    assert document["splits"][split]["count"] == sum(s.count for s in shards)
    assert document["splits"][split]["bytes"] == sum(s.bytes for s in shards)


def test_a_folder_without_manifest_tells_how_to_make_one(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"manifest\.json does not .*im21k pack"):
    Manifest.load(tmp_path)


SHARD = {"name": "x", "count": 1, "bytes": 2, "xxh3_128": ""}
FIELDS = {
  "class_list": "a", "class_list_hash": "b", "seed": 0, "options": {}, "rejected": 0,
}  # fmt: skip


def document(**changes):
  shard = {**SHARD, **changes.pop("shard", {})}
  splits = {"train": {"shards": [shard]}}
  return json.dumps({"format_version": 1, **FIELDS, "splits": splits, **changes})


def test_the_undamaged_document_loads(tmp_path):
  (tmp_path / "manifest.json").write_text(document())
  assert Manifest.load(tmp_path).splits == {"train": (Shard("x", 1, 2, ""),)}


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "Expecting value"),
    (document()[:-9], "delimiter"),
    ("[]", "str"),
    ('"manifest"', "pop"),
    ("{}", "format_version"),
    (document(format_version=2), "format version 2, not 1"),
    (document(splits=[]), "items"),
    (document(splits={"train": {}}), "shards"),
    (document(shard={"color": 1}), "color"),
    (document(color=1), "color"),
    (json.dumps({"format_version": 1, "splits": {}}), "class_list"),
    (document(shard={"name": "../x"}), r"shard name '\.\./x' leaves the folder"),
    (document(shard={"name": "/etc/passwd"}), "'/etc/passwd' leaves the folder"),
    (document(shard={"name": 5}), "int"),
  ],
)
def test_a_damaged_manifest_is_refused_by_name(tmp_path, text, message):
  (tmp_path / "manifest.json").write_text(text)
  with pytest.raises(
    ValueError, match=rf"manifest\.json is not a manifest that.*{message}"
  ):
    Manifest.load(tmp_path)


JSON = st.recursive(
  st.none() | st.booleans() | st.integers() | st.text(max_size=5),
  lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(
      st.sampled_from(["format_version", "splits", "train", "shards", *SHARD, *FIELDS]),
      inner,
      max_size=6,
    )
  ),
  max_leaves=12,
)


@settings(max_examples=50)
@given(content=JSON)
def test_any_other_json_is_refused_with_a_value_error(tmp_path_factory, content):
  folder = tmp_path_factory.getbasetemp()
  (folder / "manifest.json").write_text(json.dumps(content))
  with pytest.raises(ValueError, match="is not a manifest that this im21k can read"):
    Manifest.load(folder)


@pytest.fixture
def copied(packed, tmp_path):
  """A copy of the packed sample photos, to be damaged."""
  shutil.copytree(packed, tmp_path / "copied")
  return tmp_path / "copied"


def test_shard_paths_are_those_of_the_split(copied):
  paths = Manifest.load(copied).shard_paths(copied, "train")
  assert paths == [
    str(copied / f"train-{i:05d}-of-00004.array_record") for i in range(4)
  ]


def test_a_shard_cut_short_is_named_with_both_sizes(copied):
  manifest = Manifest.load(copied)
  path = copied / manifest.splits["train"][2].name
  whole = path.stat().st_size
  os.truncate(path, whole - 1)
  message = f"{path} has {whole - 1:,} bytes, but its manifest says {whole:,} bytes"
  with pytest.raises(ValueError, match=message):
    manifest.shard_paths(copied, "train")
  assert manifest.shard_paths(copied, "eval"), "the other split is sound"


def test_a_missing_shard_is_named_with_its_size(copied):
  manifest = Manifest.load(copied)
  path = copied / manifest.splits["eval"][0].name
  size = path.stat().st_size
  path.unlink()
  message = f"{path} is missing, but its manifest says {size:,} bytes"
  with pytest.raises(ValueError, match=message):
    manifest.shard_paths(copied, "eval")


def test_an_unknown_split_is_named_with_the_known_ones(copied):
  with pytest.raises(ValueError, match="no 'test' photos, only train, eval"):
    Manifest.load(copied).shard_paths(copied, "test")


def test_the_class_list_comes_along_with_its_name(copied):
  classes = Manifest.load(copied).classes(copied)
  assert classes.name == "imagenet21k"
  assert len(classes) == 21841


def test_a_class_list_of_another_hash_is_refused(copied):
  lines = (copied / "classes.txt").read_text().splitlines()
  (copied / "classes.txt").write_text("\n".join(lines[1:] + lines[:1]))
  with pytest.raises(ClassListMismatch, match="imagenet21k"):
    Manifest.load(copied).classes(copied)
