"""Every option of the training loader has an effect, and a wrong one is named."""

import dataclasses
import os

import numpy as np
import pytest

from im21k.loading.config import LoaderOptions
from im21k.loading.train import TrainLoader
from im21k.photos import crops, images

BASE = {"batch_size": 8, "image_size": 16, "workers": 0, "threads": 1}
# Another value of each option, and other options that it needs.
OTHER = {
  "batch_size": (4, {}),
  "devices": (2, {}),
  "image_size": (24, {}),
  "short_side": (64, {}),
  "crop": ("inception", {}),
  "area": ((0.5, 0.6), {"crop": "inception"}),
  "mirror": (False, {}),
  "order": ("global", {}),
  "lanes": (1, {"devices": 2}),
  "seed": (1, {}),
  "max_bad_share": (1.0, {}),
  "threads": (3, {}),
  "workers": (2, {}),
  "host": (1, {"hosts": 2}),
  "hosts": (2, {}),
}


def observed(loader):
  """First batch, threads, and whether a bad photo stops the stream."""
  batch = loader.batch(0)
  try:
    loader.check_bad({0})
    stops = False
  except images.ImageError:
    stops = True
  return batch["image"], batch["label"], loader.threads, loader.workers, stops


@pytest.mark.slow
@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(LoaderOptions)])
def test_every_option_has_an_effect(packed, name):
  value, always = OTHER[name]
  first = observed(TrainLoader(packed, **{**BASE, **always}))
  second = observed(TrainLoader(packed, **{**BASE, **always, name: value}))
  same = [np.array_equal(a, b) for a, b in zip(first, second, strict=True)]
  assert not all(same)


def test_options_and_changes_combine(packed):
  options = LoaderOptions(batch_size=8, image_size=16)
  loader = TrainLoader(packed, options, batch_size=4, seed=7)
  assert loader.options == LoaderOptions(batch_size=4, image_size=16, seed=7)


@pytest.mark.parametrize(
  ("cores", "workers", "threads"), [(1, 0, 1), (8, 0, 8), (9, 1, 8), (32, 4, 8)]
)
def test_threads_and_workers_by_the_cores_that_the_process_may_use(
  monkeypatch, cores, workers, threads
):
  monkeypatch.setattr(os, "cpu_count", lambda: 128)
  monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
  options = LoaderOptions(batch_size=8)
  assert (options.worker_count, options.thread_count) == (workers, threads)


def test_the_area_is_that_of_the_crop():
  made = LoaderOptions(8, crop="inception", area=[0.25, 0.5]).make_crop()
  assert made.scale == (0.25, 0.5)
  usual = LoaderOptions(8, crop="inception").make_crop()
  assert usual == crops.RandomResizedCrop(224) and usual.scale == (0.08, 1.0)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"crop": "round"}, "crop is 'round', but must be one of straight, inception"),
    ({"order": "any"}, "order is 'any', but must be one of blockwise, global"),
    ({"mirror": "sometimes"}, "mirror is 'sometimes', but must be True, False or 'alt"),
    ({"mirror": 1}, "mirror is 1, but must be True, False or 'alternating'"),
    ({"area": (0.5, 1.0)}, "area 0.5, 1 has no effect with crop straight"),
    ({"area": (0.0, 1.0), "crop": "inception"}, "area is 0, 1, but must be two shares"),
    ({"area": (0.2, 1.1), "crop": "inception"}, "area is 0.2, 1.1, but must be two"),
    ({"area": (0.9, 0.2), "crop": "inception"}, "area is 0.9, 0.2, but must be two"),
    ({"host": 2, "hosts": 2}, "host is 2, but must be one of 0 to 1"),
    ({"hosts": 3}, "not divisible by the 3 hosts with 1 device each: use 6 for exam"),
    ({"hosts": 2, "devices": 3}, "by the 2 hosts with 3 devices each: use 6 for exa"),
    ({"lanes": 0}, "lanes is 0, but must be at least 1"),
    ({"devices": 0}, "devices is 0, but must be at least 1"),
    ({"threads": 0}, "threads is 0, but must be at least 1"),
    ({"workers": -1}, "workers is -1, but must be at least 0"),
    ({"devices": 3}, "not divisible by the 3 devices: use 6 for example"),
  ],
)
def test_an_option_out_of_range_is_named(changes, message):
  with pytest.raises(ValueError, match=message):
    LoaderOptions(**{"batch_size": 8, **changes})
