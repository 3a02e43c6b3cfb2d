"""The photo index: keys, labels and places of all photos, in any order of arrival."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from im21k.packing.photo_index import PhotoIndex, placer
from im21k.photos.sources import Entry

NAMES = st.binary(min_size=1, max_size=20).map(
  lambda name: name.decode("utf-8", "surrogateescape")
)


def read(names, label_of=lambda synset, path: int(synset), seed=0):
  """The index of photos, given as key and synset."""
  entries = [Entry(key, synset, f"/photos/{key}") for key, synset in names]
  return PhotoIndex.read(entries, label_of, seed)


@given(names=st.lists(NAMES, max_size=20))
def test_keys_are_read_back(names):
  index = read([(name, "7") for name in names])
  expected = [name.encode("utf-8", "surrogateescape") for name in names]
  assert len(index) == len(names)
  assert [index.key(row) for row in range(len(names))] == expected
  backwards = np.arange(len(names))[::-1]
  assert index.keys(backwards) == expected[::-1]
  assert index.labels.tolist() == [7] * len(names)


def test_classes_that_are_left_out_have_no_row():
  asked = []

  def label_of(synset, path):
    asked.append((synset, path))
    return None if synset == "1" else int(synset)

  names = [("a", "0"), ("b", "1"), ("c", "1"), ("d", "2")]
  index = read(names, label_of)
  assert [index.key(row) for row in range(len(index))] == [b"a", b"d"]
  assert index.labels.tolist() == [0, 2]
  assert asked == [("0", "/photos/a"), ("1", "/photos/b"), ("2", "/photos/d")]


def test_places_are_a_keyed_hash():
  """A golden value: another hash would shuffle every data set in another way."""
  expected = hashlib.blake2b(b"a", digest_size=16, key=(3).to_bytes(16, "little"))
  assert placer(3)(b"a") == expected.digest()
  assert placer(0)(b"n01440764/a.jpg").hex() == PLACE
  index = read([("a", "0")], seed=3)
  assert index.places.tobytes() == expected.digest()
  assert placer(-1)(b"a") != placer(1)(b"a")


PLACE = "68ece723c174c6641174e16852f8f78e"


def test_of_equal_keys_the_later_ones_are_repeated():
  names = [("a", "0"), ("b", "0"), ("a", "0"), ("c", "1"), ("a", "1"), ("b", "1")]
  assert read(names).repeated().tolist() == [False, False, True, False, True, True]
  assert not read([]).repeated().any()


def test_the_digest_changes_with_a_key_and_with_a_label():
  digests = {
    read(names).digest()
    for names in ([("a", "0")], [("b", "0")], [("a", "1")], [("a", "0"), ("b", "0")])
  }
  assert len(digests) == 4
  assert read([("a", "0")]).digest() == read([("a", "0")], seed=5).digest()


def test_lowest_ranks_follow_the_second_half_of_the_places():
  index = read([(f"{i}", str(i % 3)) for i in range(30)])
  mask = index.lowest_ranks(lambda size: 4)
  for label in range(3):
    rows = np.flatnonzero(index.labels == label)
    ranks = index.places[rows, 1]
    assert sorted(ranks)[:4] == sorted(index.places[rows[mask[rows]], 1])


def test_photos_are_masked_by_their_keys():
  index = read([("a", "0"), ("b", "0"), ("ab", "1")])
  assert index.with_keys(frozenset([b"b", b"ab", b"x"])).tolist() == [False, True, True]


def test_names_for_messages_are_printable():
  assert read([("caf\udce9", "0")]).name(0) == "caf\\xe9"
