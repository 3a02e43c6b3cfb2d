"""Photos that TFDS prepared: labels and damage (test_every_reader reads real ones)."""

import pytest

from im21k.photos import tfds

TENCH, FISH = "n01440764", "n01443537"


class Examples:
  """A data source, of which one example is damaged."""

  rows = (
    {"image": b"a", "label": 1, "file_name": b"a.jpg"},
    {"image": b"b", "label": -1, "file_name": b"b.jpg"},
    {"image": b"c", "label": 2},
    None,
    {"image": b"e", "label": 0, "file_name": b"\xff.jpg"},
  )

  def __getitem__(self, index):
    if self.rows[index] is None:
      raise RuntimeError("Corrupted\nchunk")
    return self.rows[index]


@pytest.fixture
def prepared(monkeypatch):
  monkeypatch.setattr(tfds, "_load", lambda *args: (Examples(), [FISH, TENCH]))
  return tfds.Prepared("/data/x", False, "test", len(Examples.rows))


@pytest.mark.parametrize("method", ["photos", "located"])
def test_a_label_that_is_none_of_the_names_is_no_class(prepared, method):
  """Not the last class, as -1 would be in Python."""
  found = list(getattr(prepared, method)())
  assert [(p.key, p.synset, p.data) for p in found] == [
    (f"{TENCH}/a.jpg", TENCH, b"a"),
    ("b.jpg", "", b"b"),
    ("test-2", "", b"c"),
    ("test-3", "", b""),
    (f"{FISH}/\udcff.jpg", FISH, b"e"),
  ]
  problem = "unreadable", "/data/x example 3: Corrupted chunk"
  assert [p.problem for p in found] == [None, None, None, problem, None]
