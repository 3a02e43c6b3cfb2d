"""The permutation and the split: complete, exact, a function of keys and seed alone."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from im21k.packing import shard_plan
from im21k.packing.photo_index import PhotoIndex
from im21k.packing.shard_plan import shard_tasks
from im21k.photos import sources


def index_of(sizes: list[int], seed: int, shuffled: bool = False) -> PhotoIndex:
  """The index of so many photos of each class, of which no file exists."""
  classes = [f"n{i:08d}" for i in range(len(sizes))]
  entries = [
    sources.Entry(f"{synset}/{i}.jpg", synset, "nowhere")
    for synset, size in zip(classes, sizes, strict=True)
    for i in range(size)
  ]
  if shuffled:
    random.Random(0).shuffle(entries)
  labels = {synset: label for label, synset in enumerate(classes)}
  return PhotoIndex.read(entries, lambda synset, path: labels[synset], seed)


SIZES = st.lists(st.integers(0, 12), min_size=1, max_size=8).filter(any)
SEEDS = st.integers(-(2**40), 2**40)


@given(sizes=SIZES, seed=SEEDS, wanted=st.integers(0, 5), count=st.integers(1, 9))
def test_splits_are_disjoint_complete_and_exact_in_every_class(
  sizes, seed, wanted, count
):
  photos = index_of(sizes, seed)
  held_out = photos.lowest_ranks(lambda size: wanted * (size >= 2 * wanted))
  train = [
    k for task in shard_tasks(photos, "train", ~held_out, count) for k in task.keys
  ]
  held = [k for task in shard_tasks(photos, "eval", held_out, None) for k in task.keys]
  assert len(set(train + held)) == len(train) + len(held) == sum(sizes)
  of_class = Counter(int(key[1:9]) for key in held)
  for label, size in enumerate(sizes):
    assert of_class[label] == (wanted if size >= 2 * wanted else 0)


@given(sizes=SIZES, seed=SEEDS)
def test_splits_and_order_depend_on_keys_and_seed_alone(sizes, seed):
  def order(photos, name):
    mask = photos.lowest_ranks(lambda size: size // 3)
    tasks = shard_tasks(photos, name, mask if name == "eval" else ~mask, 3)
    return [(task.name, task.keys, task.labels.tolist()) for task in tasks]

  for name in ("train", "eval"):
    arrived_otherwise = index_of(sizes, seed, shuffled=True)
    assert order(index_of(sizes, seed), name) == order(arrived_otherwise, name)


@given(sizes=SIZES, count=st.integers(1, 20))
def test_shards_are_of_equal_size_and_never_empty(sizes, count):
  photos = index_of(sizes, 0)
  tasks = list(shard_tasks(photos, "train", np.ones(len(photos), bool), count))
  counts = [len(task.keys) for task in tasks]
  assert len(tasks) == min(count, len(photos))
  assert sum(counts) == len(photos)
  assert min(counts) >= 1 and max(counts) - min(counts) <= 1
  for index, task in enumerate(tasks):
    assert task.name == f"train-{index:05d}-of-{len(tasks):05d}.array_record"
    assert [int(key[1:9]) for key in task.keys] == task.labels.tolist()


@pytest.mark.parametrize(
  ("photos", "shards"), [(10, 10), (16, 16), (80, 16), (1600, 16), (1601, 17)]
)
def test_shards_by_default_are_sixteen_and_more_of_many_photos(
  monkeypatch, photos, shards
):
  assert shard_plan._PHOTOS_PER_SHARD == 8192
  monkeypatch.setattr(shard_plan, "_PHOTOS_PER_SHARD", 100)
  everything = np.ones(photos, bool)
  assert (
    len(list(shard_tasks(index_of([photos], 0), "train", everything, None))) == shards
  )
