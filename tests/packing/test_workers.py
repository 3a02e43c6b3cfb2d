"""Workers: as many as the process may use cores, and the same bytes with Beam."""

import hashlib
import importlib.util
import multiprocessing
import os

import pytest

from im21k.packing import workers
from im21k.packing.pack import pack
from im21k.packing.verify import verify

FISH, SHARK = "n01440764", "n01484850"
NO_BEAM = importlib.util.find_spec("apache_beam") is None


def test_one_worker_for_each_core_that_the_process_may_use(
  photos, tmp_path, monkeypatch
):
  """A batch system allots 8 cores of a node that has 128."""
  monkeypatch.setattr(os, "cpu_count", lambda: 128)
  monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
  sizes = []

  class Pool(workers.futures.ThreadPoolExecutor):
    def __init__(self, count, mp_context, initializer, initargs):
      sizes.append(count)
      super().__init__(1)

  monkeypatch.setattr(workers.futures, "ProcessPoolExecutor", Pool)
  monkeypatch.setattr(workers, "_context", lambda: multiprocessing)
  source = photos({FISH: 3})
  pack(source, tmp_path / "direct")
  pack(source, tmp_path / "external", shuffle="external")
  verify(tmp_path / "direct")
  assert sizes == [8, 8, 8, 8]


@pytest.mark.skipif(NO_BEAM, reason="the extra `beam` is not installed")
@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_a_beam_pipeline_writes_the_same_bytes(photos, tmp_path, shuffle):
  source = photos({FISH: 9, SHARK: 8})
  (source / FISH / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
  options = {"shards": 3, "shuffle": shuffle, "memory": 1e-5, "eval_per_class": 1}
  contents = []
  for runner in ("local", "beam"):
    out = tmp_path / runner
    pack(source, out, runner=runner, workers=2, **options)
    contents.append(
      {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.iterdir()}
    )
  assert contents[0] == contents[1]
