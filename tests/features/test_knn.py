"""Nearest neighbours against a loop over photos."""

import numpy as np

from im21k.features import knn


def by_hand(train, train_labels, photo, label, classes, k):
  similar = [
    float(x @ photo / np.linalg.norm(x) / np.linalg.norm(photo))
    for x in train.astype(np.float64)
  ]
  votes = np.zeros(classes)
  for at in sorted(range(len(train)), key=lambda at: -similar[at])[:k]:
    votes[train_labels[at]] += np.exp(similar[at] / 0.07)
  if not votes[label]:
    return classes
  return sorted(range(classes), key=lambda c: -votes[c]).index(label)


def test_ranks_are_those_of_a_loop(rng, monkeypatch):
  monkeypatch.setattr(knn, "_BYTES", 4 * 60 * 7)  # Seven photos at a time.
  train = rng.normal(size=(60, 5)).astype(np.float32)
  train_labels = rng.integers(0, 6, 60)
  photos, labels = rng.normal(size=(20, 5)) * 3, rng.integers(0, 6, 20)
  found = knn.ranks(train, train_labels, photos, labels, 6, (1, 10, 60))
  for k, ranks in found.items():
    assert ranks.tolist() == [
      by_hand(train, train_labels, photo, label, 6, k)
      for photo, label in zip(photos, labels, strict=True)
    ]


def test_a_class_without_votes_is_no_answer():
  train = np.array([[1, 0], [0, 1]], np.float16)
  found = knn.ranks(train, np.array([0, 1]), train, np.array([1, 1]), 2, (1,))
  assert found[1].tolist() == [2, 0]


def test_numbers_of_any_size_and_none_at_all_are_compared():
  train = np.array([[1e30, 0], [0, 1e-30], [0, 0]], np.float32)
  labels = np.array([0, 1, 2])
  assert knn.ranks(train, labels, train[:2], labels[:2], 3, (1,))[1].tolist() == [0, 0]


def test_of_equals_the_lower_label_is_first():
  scores = np.array([[1.0, 2.0, 2.0, 0.0]] * 4)
  assert knn.rank(scores, np.arange(4)).tolist() == [2, 0, 1, 3]
