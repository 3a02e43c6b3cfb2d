"""Outcomes of photos: counted by kind and class, written in three files, read back."""

import json
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from im21k.packing import outcomes, repair
from im21k.packing.outcomes import Outcomes, Rejection

SYNSETS = ("n01440764", "n01484850", "n01496331")


def of(labels, kinds=None, digests=None, rejections=()):
  """Outcomes with distinct digests and no kinds, where none are given."""
  n = len(labels)
  return Outcomes(
    np.array(labels, np.int32),
    np.array(kinds or [0] * n, np.uint32),
    np.array(digests or [[i, 0] for i in range(n)], np.uint64).reshape(-1, 2),
    list(rejections),
  )


@given(st.lists(st.integers(0, 5)))
def test_groups_are_the_rows_of_equal_digests(numbers):
  digests = np.array([[n % 2, n] for n in numbers], np.uint64).reshape(-1, 2)
  expected = defaultdict(list)
  for row, number in enumerate(numbers):
    expected[number].append(row)
  several = sorted(rows for rows in expected.values() if len(rows) > 1)
  groups = [sorted(rows.tolist()) for rows in outcomes.groups(digests)]
  assert sorted(groups) == several


def test_digests_that_agree_in_one_half_are_different():
  digests = np.array([[1, 2], [1, 3], [4, 2]], np.uint64)
  assert outcomes.groups(digests) == []


def test_arrays_are_read_back():
  rejected = [Rejection("a\udce9\n", SYNSETS[0], "empty", "no bytes")]
  first = of([0, 2], kinds=[1, 4], rejections=rejected)
  second = Outcomes.of(first.arrays())
  assert second.rejections == rejected
  for name in ("labels", "kinds", "digests"):
    np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_outcomes_are_joined_and_masked():
  rejected = Rejection("a", SYNSETS[0], "empty", "no bytes")
  joined = Outcomes.join([of([0, 1], rejections=[rejected]), of([2])])
  assert joined.labels.tolist() == [0, 1, 2]
  assert joined.rejections == [rejected]
  masked = joined.where(np.array([True, False, True]))
  assert masked.labels.tolist() == [0, 2]
  assert masked.rejections == [rejected]


def test_the_report_counts_kinds_by_class(tmp_path):
  grey = outcomes.kind_bits(("grey",))
  both = outcomes.kind_bits(("PNG", "transparent"))
  rejected = [
    Rejection("b", SYNSETS[1], "empty", "no bytes"),
    Rejection("a\tb\x1b[2J", "", "damaged archive", "ends early"),
  ]
  digests = [[1, 1], [1, 1], [1, 1], [2, 2]]
  per_photo = of([0, 0, 1, 2], [grey, 0, both, 0], digests, rejected)
  trained = np.array([0, 0, 2])
  assert outcomes.write(tmp_path, per_photo, SYNSETS, "keep", trained) == 2
  report = json.loads((tmp_path / "report.json").read_text())
  assert (report["packed"], report["rejected"], report["classes"]) == (4, 2, 3)
  assert report["train_classes"] == {SYNSETS[0]: 2, SYNSETS[2]: 1}
  assert list(report["kinds"]) == list(repair.KINDS)
  counts = {k: v["classes"] for k, v in report["kinds"].items() if v["count"]}
  assert counts == {
    "grey": {SYNSETS[0]: 1},
    "PNG": {SYNSETS[1]: 1},
    "transparent": {SYNSETS[1]: 1},
    "duplicate in class": {SYNSETS[0]: 1},
    "duplicate across classes": {SYNSETS[0]: 2, SYNSETS[1]: 1},
    "empty": {SYNSETS[1]: 1},
    "damaged archive": {"": 1},
  }
  assert (tmp_path / "rejected.tsv").read_text().splitlines() == [
    "key\tkind\treason",
    "a\\tb\\x1b[2J\tdamaged archive\tends early",
    "b\tempty\tno bytes",
  ]
  summary = (tmp_path / "report.txt").read_text()
  assert summary.startswith("4 packed, 2 rejected\n")
  assert "reject  damaged archive (no class 1)" in summary


def test_train_photos_are_those_of_the_report(tmp_path):
  assert outcomes.train_photos(tmp_path, SYNSETS) is None
  outcomes.write(tmp_path, of([0, 2]), SYNSETS, "keep", np.array([2, 2]))
  assert outcomes.train_photos(tmp_path, SYNSETS).tolist() == [0, 0, 2]


@pytest.mark.parametrize("text", ["", "[]", '{"train_classes": 3}'])
def test_a_damaged_report_is_named(tmp_path, text):
  (tmp_path / "report.json").write_text(text)
  if text == "[]":
    assert outcomes.train_photos(tmp_path, SYNSETS) is None
    return
  with pytest.raises(ValueError, match=r"report\.json is damaged"):
    outcomes.train_photos(tmp_path, SYNSETS)


def test_an_error_of_the_system_is_a_rejection():
  error = FileNotFoundError(2, "No such file or directory", "/photos/a")
  rejection = outcomes.rejection(b"a\xe9", SYNSETS[0], error)
  reason = "No such file or directory"
  assert rejection[:4] == ("a\udce9", SYNSETS[0], "unreadable", reason)
  rejected = repair.Rejected("too small", "1×1 pixels")
  assert outcomes.rejection(b"a", SYNSETS[0], rejected)[2:4] == (
    "too small",
    "1×1 pixels",
  )
