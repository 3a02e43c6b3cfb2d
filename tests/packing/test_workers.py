"""Packing as a Beam pipeline on its local multi-process runner: the same bytes."""

import hashlib

import pytest

from im21k.packing.pack import pack

pytest.importorskip("apache_beam", reason="the extra `beam` is not installed")
FISH, SHARK = "n01440764", "n01484850"


@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_a_beam_pipeline_writes_the_same_bytes(photos, tmp_path, shuffle):
  source = photos({FISH: 9, SHARK: 8})
  (source / FISH / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
  options = {"shards": 3, "shuffle": shuffle, "memory": 1e-5, "eval_per_class": 1}
  found = []
  for runner in ("local", "beam"):
    out = tmp_path / runner
    pack(source, out, runner=runner, workers=2, **options)
    found.append(
      {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.iterdir()}
    )
  assert found[0] == found[1]
