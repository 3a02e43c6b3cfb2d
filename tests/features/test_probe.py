"""kNN and a linear probe on features whose classes are known."""

import json

import numpy as np
import pytest

from im21k.features.part_files import Parts, Place
from im21k.features.probe import probe, text
from im21k.features.stream import Rows

ASKED = {"weights": "abc", "stage": "features", "shape": [6], "input": {"size": 32}}


@pytest.fixture
def write(tmp_path):
  """(name, values, class ids, changes) -> a folder of features."""

  def write(name, values, ids, first=(), **asked):
    parts = Parts(tmp_path / name, {**ASKED, **asked}, list(first))
    parts.begin()
    keys = [f"{at}.jpg" for at in range(len(ids))]
    rows = Rows(keys, list(ids), values.astype(np.float32), [], len(ids), keys[-1])
    parts.add([rows], Place(0, len(ids), keys[-1]))
    parts.finish()
    return tmp_path / name

  return write


def clouds(counts, seed=0, apart=4.0):
  """Vectors around a centre for each class, and their ids."""
  rng = np.random.default_rng(seed)
  centres = {name: np.eye(6)[at] * apart for at, name in enumerate(sorted(counts))}
  ids = [name for name, count in counts.items() for _ in range(count)]
  return np.array([centres[name] + rng.normal(size=6) for name in ids]), ids


def test_two_files_are_matched_by_class_id_whatever_their_numbers(write):
  train = write("train", *clouds({"a": 30, "b": 20, "my dog": 25}), ["my dog", "b"])
  asked = write("eval", *clouds({"my dog": 12, "a": 10, "b": 8}, 1), ["a", "x", "y"])
  result = probe(asked, train=train)
  assert result["counts"]["train"] == 75 and result["counts"]["eval"] == 30
  assert [row["method"] for row in result["rows"]] == [
    "kNN, k = 10", "kNN, k = 20", "linear"
  ]  # fmt: skip
  for row in result["rows"]:
    assert row["top_1"] > 0.9 and row["top_5"] == 1
    assert row["top_1_low"] < row["top_1"] <= row["top_1_high"] <= 1
  json.dumps(result)
  assert "linear: l2" in text(result)


def test_classes_count_alike_however_many_photos_they_have(write):
  """All photos of `a` are right, and none of `b`, which are where `a` is."""
  values, ids = clouds({"a": 40, "c": 40}, apart=50)
  train = write("train", np.vstack([values, -values[:5]]), [*ids, *"bbbbb"])
  asked = write("eval", values[:20] + 0.1, [*"aaaaaaaaaaaaaaaaaabb"])
  row = probe(asked, train=train)["rows"][0]
  assert row["top_1"] == 0.9 and row["per_class"] == 0.5


def test_photos_are_held_out_by_class_and_none_is_lost(write):
  path = write("f", *clouds({"a": 10, "b": 20, "alone": 1, "": 3}, apart=1.0))
  result = probe(path)
  assert result["counts"] == {
    "train": 25, "eval": 6, "unlabelled": 3, "unknown": 0, "alone": 1, "same": 0
  }  # fmt: skip
  assert result["classes"] == {"train": 3, "eval": 2}
  assert "left out: 3 photos without class" in text(result)
  assert "1 photo alone in their class" in text(result)
  assert probe(path) == result
  others = [probe(path, seed=seed)["rows"] for seed in (1, 2, 3)]
  assert any(rows != result["rows"] for rows in others)
  assert probe(path, eval_fraction=0.5)["counts"]["eval"] == 15
  assert probe(path, eval_per_class=3)["counts"]["eval"] == 6


def test_classes_that_training_lacks_and_photos_in_both_are_counted(write):
  values, ids = clouds({"a": 10, "b": 10})
  train = write("train", values, ids)
  asked = write("eval", np.vstack([values[:4], values[5:8] + 9]), [*"aaaa", *"xxy"])
  result = probe(asked, train=train)
  assert result["unknown"] == {"x": 2, "y": 1}
  counts = result["counts"]
  assert (counts["eval"], counts["unknown"], counts["same"]) == (4, 3, 4)
  assert "left out: 3 photos of classes that training lacks: x (2), y (1)" in text(
    result
  )
  assert "4 answered photos with exactly the features of one to learn" in text(result)


def test_what_makes_no_sense_is_refused(write, tmp_path):
  good = clouds({"a": 4, "b": 4})
  path = write("f", *good)
  for name, line, asked in (
    ("none", "no photo has a class", {"": 4}),
    ("one", "all photos are of class a", {"a": 4}),
    ("single", "every class has one photo", {"a": 1, "b": 1}),
  ):
    with pytest.raises(ValueError, match=line):
      probe(write(name, *clouds(asked)))
  with pytest.raises(ValueError, match=r"has stage 'logits', but .* 'features'"):
    probe(path, train=write("other", *good, stage="logits"))
  with pytest.raises(ValueError, match="none of 2 photos has a class that"):
    probe(write("x", *clouds({"x": 2})), train=path)
  with pytest.raises(ValueError, match="the features that are answered: leave train"):
    probe(path, train=path)
  with pytest.raises(ValueError, match="eval_per_class holds out photos of one file"):
    probe(path, train=path, eval_per_class=1)
  with pytest.raises(ValueError, match="exclude each other"):
    probe(path, eval_fraction=0.1, eval_per_class=1)
  for option in ({"eval_fraction": 1.0}, {"eval_per_class": 0}, {"seed": -1}):
    with pytest.raises(ValueError, match=f"{next(iter(option))} is .*, but must be"):
      probe(path, **option)
  with pytest.raises(ValueError, match="but must be a vector: compute the stage"):
    probe(write("maps", np.zeros((2, 3, 3)), ["a", "b"], stage="conv1"))
  with pytest.raises(FileNotFoundError):
    probe(tmp_path / "missing.npz")
