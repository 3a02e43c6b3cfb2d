"""Where tasks run: in processes of this machine, or as an Apache Beam pipeline."""

import collections
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any


def local(
  function: Callable[[Any], Any], tasks: Iterable[Any], workers: int
) -> Iterator[Any]:
  """Results of `function(task)` in the tasks' order; two tasks a worker are in hand."""
  if workers == 1:
    yield from map(function, tasks)
    return
  # Not fork: the process may hold threads of JAX.
  context = multiprocessing.get_context("forkserver")
  with futures.ProcessPoolExecutor(
    workers, mp_context=context, initializer=die_with_parent
  ) as pool:
    waiting: collections.deque[futures.Future] = collections.deque()
    for task in tasks:
      waiting.append(pool.submit(function, task))
      if len(waiting) >= 2 * workers:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()


def beam(
  function: Callable[[Any], Any], tasks: Iterable[Any], workers: int
) -> Iterator[Any]:
  """As a pipeline; yields nothing, for the tasks leave what they did on the disk."""
  import apache_beam  # the extra `beam`
  from apache_beam.options.pipeline_options import PipelineOptions

  options = PipelineOptions(
    flags=[],
    runner="DirectRunner" if workers == 1 else "FnApiRunner",
    direct_num_workers=workers,
    direct_running_mode="in_memory" if workers == 1 else "multi_processing",
  )
  with apache_beam.Pipeline(options=options) as pipeline:
    (
      pipeline
      | apache_beam.Create(list(tasks))
      | apache_beam.Reshuffle()
      | apache_beam.Map(function)
    )
  yield from ()


def die_with_parent() -> None:
  """Ends a worker when its parent is killed: else it would work beside the next run."""
  parent = multiprocessing.parent_process()
  if parent is None:
    return

  def wait() -> None:
    parent.join()
    os._exit(1)

  threading.Thread(target=wait, daemon=True).start()
