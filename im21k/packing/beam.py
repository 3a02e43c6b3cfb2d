"""Options as Beam spells them, and tasks -> a pipeline on the engine that they name.

The pipeline is one step over groups of tasks, which every engine of Beam can run; its
workers read tasks from a file on the shared disk, and leave files there.
"""

import argparse
import contextlib
import difflib
import functools
import logging
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from im21k.packing import task_file

# Beam's own list of runners does not have it.
_DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"
_EXTRA = {"dask": "dask", "distributed": "dask"}


def check(text: str | None) -> bool:
  """Checks options before anything is packed; returns whether they name an engine.

  Raises:
    ValueError: Apache Beam or what an engine needs is not installed, or an option is
      unknown or wrong.
  """
  _, is_named = _flags(text, 1)
  return is_named


def run(
  function: Callable[[Any], object],
  tasks: Iterable[Any],
  destination: Path,
  *,
  options: str | None,
  workers: int,
  places: Sequence[task_file.Place] = (),
  part: int = 0,
) -> None:
  """Runs the tasks as a pipeline, and waits for its end.

  Args:
    function: what to do with each task.
    tasks: the tasks; a few are in memory at once.
    destination, places, part: see `task_file.written`.
    options: as Beam spells them; None for its local runner.
    workers: processes of the local runner.

  Raises:
    ValueError: see `check`.
    OSError: a task failed, or the engine did.
  """
  flags, _ = _flags(options, workers)
  import apache_beam
  from apache_beam.options.pipeline_options import PipelineOptions

  with task_file.written(destination, function, tasks, places, part) as (path, groups):
    step = functools.partial(task_file.run_group, path)
    try:
      with apache_beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        (
          pipeline
          | apache_beam.Create(groups)
          | apache_beam.Reshuffle()
          | apache_beam.FlatMap(step)  # Which yields nothing, so nothing comes back.
        )
    except Exception as error:
      raise _explained(error) from error


def _flags(text: str | None, workers: int) -> tuple[list[str], bool]:
  """Checked flags for Beam, and whether they name a runner."""
  try:
    with _quiet():
      import apache_beam.runners.runner  # the extra `beam`
      from apache_beam.options import pipeline_options_validator
      from apache_beam.options.pipeline_options import PipelineOptions
  except ModuleNotFoundError as error:
    raise ValueError(
      f"--runner beam needs Apache Beam: {error}; pip install 'im21k[beam]' into an "
      "environment of its own, or leave --runner out"
    ) from error
  flags = _words(text)
  name = _runner(flags)
  if name is None:
    kind, mode = ("DirectRunner", "in_memory")
    if workers > 1:
      kind, mode = ("FnApiRunner", "multi_processing")
    flags = [
      f"--runner={kind}", f"--direct_num_workers={workers}",
      f"--direct_running_mode={mode}", *flags,
    ]  # fmt: skip
  try:
    # Importing it adds its options to Beam's.
    runner = apache_beam.runners.runner.create_runner(name or kind)
  except (ImportError, AttributeError, ValueError) as error:
    raise ValueError(_no_runner(str(name), error)) from error
  given = _parsed(flags)
  if name == _DASK and not (given.npartitions or given.partition_size):
    flags.append("--dask_partition_size=1")  # By default 128 groups are one task.
  if given.no_wait_until_finish:
    raise ValueError("beam_options has --no_wait_until_finish, but packing has to wait")
  with _quiet():
    validator = pipeline_options_validator.PipelineOptionsValidator(
      PipelineOptions(flags), runner
    )
    errors = validator.validate()
  if errors:
    raise ValueError(f"beam_options: {' '.join('; '.join(errors).split())}")
  return flags, name is not None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Without Beam's warnings about libraries and buckets that nobody asked for."""
  before = logging.root.manager.disable
  logging.disable(logging.WARNING)
  try:
    yield
  finally:
    logging.disable(before)


def _words(text: str | None) -> list[str]:
  """Options as a shell would split them."""
  try:
    return shlex.split(text or "")
  except ValueError as error:
    raise ValueError(f"beam_options is {text!r}: {error}") from error


def _runner(flags: list[str]) -> str | None:
  """The runner that options name; Dask's by its short name is spelled out in them."""
  parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
  parser.add_argument("--runner", nargs="?")
  name = parser.parse_known_args(flags)[0].runner
  if name and name.lower() in ("dask", "daskrunner"):
    name = _DASK
    flags.append(f"--runner={name}")
  return name or None


def _parsed(flags: list[str]) -> argparse.Namespace:
  """The options with their values; ValueError for one that Beam would not take."""
  from apache_beam.options.pipeline_options import PipelineOptions

  parsers: list[argparse.ArgumentParser] = []
  PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
  (parser,) = parsers

  def refuse(message: str) -> None:
    raise ValueError(f"beam_options: {' '.join(message.split())}")

  parser.error = refuse  # type: ignore[method-assign, assignment]
  given, unknown = parser.parse_known_args(flags)
  if unknown:  # Beam itself ignores them.
    known = [word for action in parser._actions for word in action.option_strings]
    word, *_ = unknown[0].split("=")
    close = difflib.get_close_matches(word, known, n=1)
    hint = f": did you mean {close[0]}?" if close else ""
    raise ValueError(f"beam_options has {word!r}, which is no option of Beam{hint}")
  return given


def _no_runner(name: str, error: Exception) -> str:
  if isinstance(error, ModuleNotFoundError) and error.name in _EXTRA:
    extra = _EXTRA[error.name]
    return f"beam_options: {name} needs {error.name}: pip install 'im21k[{extra}]'"
  return f"beam_options: runner {name}: {' '.join(str(error).split())}"


def _explained(error: Exception) -> Exception:
  """An error of an engine as that of the task that failed, in one line."""
  text, cause = [], error
  while cause is not None:
    text.append(str(cause))
    cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
  if found := task_file.report("\n".join(text)):
    return found
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  last = lines[-1] if lines else type(error).__name__
  if "No module named 'im21k" in "\n".join(text):
    last = f"{last}; im21k must be installed on all machines of the engine"
  return ChildProcessError(
    f"the engine failed: {last}; the same command resumes, once it works"
  )
