"""Time and memory of all answers for 256 photos over the 21,841 classes; JSON rows.

OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 taskset -c 0 python benchmarks/answers.py
"""

import json
import resource
import time

import numpy as np

from im21k import synsets
from im21k.answers import rules
from im21k.synsets import hierarchy


def main() -> None:
  """Measures five times, and reports the median."""
  classes = synsets.imagenet21k()
  start = time.perf_counter()
  graph = hierarchy.over(classes)
  print(json.dumps({"what": "hierarchy built", "s": time.perf_counter() - start}))
  rng = np.random.default_rng(0)
  p = np.exp(2.5 * rng.normal(size=(256, len(classes))).astype(np.float32))
  p /= p.sum(1, keepdims=True)
  allowed = graph.count[graph.label_node] == 1
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  times = []
  for _ in range(5):
    start = time.perf_counter()
    np.argpartition(p, -5, axis=1)
    flat = time.perf_counter()
    nodes = graph.probabilities(p)
    inclusion = time.perf_counter()
    rules.hedged(graph, nodes, 1.0)
    rules.diverse(graph, nodes, 5)
    named = time.perf_counter()
    rules.among(p, allowed)
    times.append(np.diff([start, flat, inclusion, named, time.perf_counter()]))
  parts = ("flat", "probabilities", "hedged, diverse", "among")
  middle = np.median(times, axis=0)
  row = {
    "what": "all answers",
    "photos": 256,
    "ms": 1e3 * float(np.median(np.sum(times, 1))),
  }
  row |= {f"{n}, ms": 1e3 * float(t) for n, t in zip(parts, middle, strict=True)}
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  print(
    json.dumps({**row, "peak MiB": after / 1024, "added MiB": (after - before) / 1024})
  )


if __name__ == "__main__":
  main()
