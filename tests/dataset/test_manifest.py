"""The manifest: loading inverts saving, and damage is reported by file and field."""

import json
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im21k.dataset.manifest import Manifest, Shard
from im21k.synsets import ClassListMismatch


@st.composite
def splits(draw):
  shards = [
    Shard(f"{name}.array_record", draw(st.integers(0, 99)), 1200 + name, "ab" * 16)
    for name in draw(st.lists(st.integers(0, 99), max_size=8, unique=True))
  ]
  cut = draw(st.integers(0, len(shards)))
  return {"train": tuple(shards[:cut]), "eval": tuple(shards[cut:])}


@settings(max_examples=10)
@given(
  manifest=st.builds(
    Manifest,
    class_list=st.text(max_size=99),
    class_list_hash=st.text("0123456789abcdef", max_size=16),
    seed=st.integers(),
    options=st.dictionaries(st.text(), st.none() | st.integers() | st.text()),
    splits=splits(),
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


SHARD = {"name": "x", "count": 1, "bytes": 20, "xxh3_128": ""}
FIELDS = {
  "class_list": "a", "class_list_hash": "b", "seed": 0, "options": {}, "rejected": 0,
}  # fmt: skip


def split(*shards, **changes):
  sums = {name: sum(int(s[name]) for s in shards) for name in ("count", "bytes")}
  return {**sums, "shards": list(shards), **changes}


def document(**changes):
  shard = changes.pop("shard", {})
  split = {"count": 1, "bytes": 20, "shards": [{**SHARD, **shard}]}
  document = {"format_version": 1, **FIELDS, "splits": {"train": split}, **changes}
  return json.dumps({k: v for k, v in document.items() if v is not None})


def load(folder, text):
  (folder / "manifest.json").write_text(text)
  return Manifest.load(folder)


def test_the_undamaged_document_loads(tmp_path):
  assert load(tmp_path, document()).splits == {"train": (Shard("x", 1, 20, ""),)}
  assert load(tmp_path, "\ufeff" + document())


def test_the_checksum_of_early_versions_is_read(tmp_path):
  shard = {**SHARD, "sha256": "ab" * 32}
  del shard["xxh3_128"]
  (loaded,) = load(tmp_path, document(splits={"train": split(shard)})).splits["train"]
  assert loaded == Shard("x", 1, 20, "ab" * 32)


TRAIN = r"splits\.train"
FIRST = rf"{TRAIN}\.shards\[0\]"


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "Expecting value"),
    (document()[:-9], "delimiter"),
    ("[]", "not a JSON object"),
    ("[" * 50_000, "nested too deeply"),
    ("{" * 9 + "}" * 9, "Expecting property name"),
    ('{"format_version": 1, "format_version": 1}', "'format_version' comes twice"),
    ("{}", "format_version is missing"),
    (document(format_version=2), "format_version is 2, but this im21k reads 1: update"),
    (document(format_version=True), "format_version is True, but must be a whole numb"),
    (document(splits=[]), r"splits is \[\], but must be a JSON object"),
    (document(splits={"train": {}}), rf"{TRAIN}\.shards is missing"),
    (document(splits={"test": split()}), "splits has 'test', not only train and eval"),
    (
      document(splits={"train": split(SHARD, color=1)}),
      rf"{TRAIN}\.color is not a fie",
    ),
    (document(splits={"train": split(SHARD, SHARD)}), f"{TRAIN} has x, .* in train"),
    (
      document(splits={"train": split(SHARD), "eval": split(SHARD)}),
      r"splits\.eval has x, which is already in train",
    ),
    (
      document(splits={"train": split(SHARD, count=7)}),
      rf"{TRAIN}\.count is 7, but its shards have 1",
    ),
    (document(shard={"color": 1}), rf"{FIRST}\.color is not a field"),
    (document(color=1), "color is not a field of this format"),
    (document(class_list=None), "class_list is missing"),
    (document(class_list_hash=7), "class_list_hash is 7, but must be a string"),
    (document(class_list_hash="x" * 10_000), "class_list_hash has 10,000 characters"),
    (document(class_list_hash="a\nb"), r"class_list_hash is 'a\\nb'"),
    (document(seed=0.5), r"seed is 0\.5, but must be a whole number"),
    (document(options=[]), r"options is \[\], but must be a JSON object"),
    (document(rejected=-1), "rejected is -1, but must be a whole number of at least 0"),
    (document(shard={"name": 5}), rf"{FIRST}\.name is 5, but must be a string"),
    (document(shard={"bytes": -20}), rf"{FIRST}\.bytes is -20, but must be"),
    (document(seed=float("nan")), "NaN is not a finite number"),
    *(
      (document(shard={"name": name}), rf"{FIRST}\.name .* must be a file in this fold")
      for name in (
        "../x",
        "/etc/passwd",
        "a/x",
        "..",
        ".",
        "",
        "a\\x",
        "x\0",
        "x\n",
        "\ud800",
      )
    ),
    *(
      (document(shard={"count": count}), rf"{FIRST}\.count is .*must be a whole number")
      for count in (-5, True, 1.0, "1", None, [1], 10**9, 2**64)
    ),
  ],
)
def test_a_damaged_manifest_is_refused_by_field(tmp_path, text, message):
  with pytest.raises(ValueError, match=rf"manifest\.json.*{message}") as error:
    load(tmp_path, text)
  assert "\n" not in str(error.value) and len(str(error.value)) < 500
  assert "copy it again, or pack again" in str(error.value)


def test_a_manifest_of_gigabytes_is_not_read(tmp_path):
  with (tmp_path / "manifest.json").open("wb") as file:
    file.truncate(4 << 30)
  with pytest.raises(
    ValueError, match=r"manifest\.json is damaged: it has more than 16"
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
  with pytest.raises(ValueError, match=r"manifest\.json.*copy it again, or pack again"):
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


@pytest.mark.parametrize(
  ("data", "error"),
  [
    (b"", "holds no classes"),
    (b"\xff\xfen", r"classes\.txt, line 1: not UTF-8 text"),
    (b"n01440764\nn01440764\n", r"line 2: n01440764 occurs already at .*line 1"),
    (b"x" * 10**6, r"line 1: 'x{80}' is a class id of more than 255"),
    (None, "is not a regular file"),
  ],
)
def test_a_damaged_class_list_is_named(copied, data, error):
  path = copied / "classes.txt"
  path.unlink()
  if data is None:
    os.mkfifo(path)  # Would be waited for.
  else:
    path.write_bytes(data)
  with pytest.raises(ValueError, match=error) as caught:
    Manifest.load(copied).classes(copied)
  assert str(caught.value).startswith(str(path))


def test_a_shard_under_two_names_is_found(copied):
  document = json.loads((copied / "manifest.json").read_text())
  held_out = document["splits"]["eval"]["shards"]
  shard = document["splits"]["train"]["shards"][1]
  (copied / "other.array_record").hardlink_to(copied / shard["name"])
  held_out.append({**shard, "name": "other.array_record"})
  for name in ("count", "bytes"):
    document["splits"]["eval"][name] += shard[name]
  (copied / "manifest.json").write_text(json.dumps(document))
  manifest = Manifest.load(copied)
  with pytest.raises(
    ValueError, match=r"other.array_record is the same file as .*train"
  ):
    manifest.check_files(copied)
