"""Tasks on any worker of an engine, in any order, also twice: the same bytes."""

import errno
import functools
import multiprocessing
import os
import pickle
import re
import signal
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from im21k.packing import estimate, repair, scratch, shard_writer, task_file
from im21k.packing.pack import pack
from im21k.packing.task_file import Place, TaskError

FISH = "n01440764"


def contents(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def options_of(shuffle):
  options = {"shards": 4, "shuffle": shuffle, "eval_per_class": 2}
  return options | ({"memory": 2e-5} if shuffle == "external" else {})


def twice_at_once(function, groups):
  """Both halves of two processes begin every group at the same time."""
  context = multiprocessing.get_context("forkserver")
  with ProcessPoolExecutor(2, mp_context=context) as pool:
    for group in groups:
      yield from pool.map(function, [group, group])


def twice_in_threads(function, groups):
  with ThreadPoolExecutor(4) as pool:
    yield from pool.map(function, [group for group in groups for _ in range(2)])


def backwards_and_again(function, groups):
  yield from map(function, [*reversed(groups), *groups])


def again_without_side_files(function, groups):
  """As if the first worker had been lost between its two files."""
  yield from map(function, groups)
  folder = next(iter(function.args[:1])).rpartition("/")[0]
  for path in Path(folder).glob("*.done"):
    path.unlink()
  for path in sorted(Path(folder).glob("run-*.run")):
    path.unlink()
  yield from map(function, groups)


@pytest.mark.parametrize("shuffle", ["direct", "external"])
@pytest.mark.parametrize(
  "pool",
  [twice_at_once, twice_in_threads, backwards_and_again, again_without_side_files],
)
def test_a_group_that_runs_twice_leaves_the_same_bytes(
  fishes, tmp_path, engine, shuffle, pool
):
  pack(fishes, tmp_path / "local", workers=1, **options_of(shuffle))
  engine.pool = pool
  pack(fishes, tmp_path / "twice", workers=1, runner="beam", **options_of(shuffle))
  assert contents(tmp_path / "twice") == contents(tmp_path / "local")
  assert len(engine.groups[-1]) == 10  # 4 shards to train on, 6 to evaluate on


def killed_in_the_middle(function, groups, at):
  """A process is killed at this photo of each group; then another one runs it."""
  scratch_folder = Path(function.args[0]).parent
  for group in groups:
    pid = os.fork()
    if not pid:
      calls, prepare = [], repair.prepare

      def prepare_one(*args, calls=calls, prepare=prepare):
        calls.append(args)
        if len(calls) == at:
          os.kill(os.getpid(), signal.SIGKILL)
        return prepare(*args)

      repair.prepare = prepare_one
      try:
        function(group)
      finally:
        os._exit(1)  # Never on into pytest.
    os.waitpid(pid, 0)
    for folder, kind, side in (
      (scratch_folder.parent, "*.array_record", "{}.done"),
      (scratch_folder, "*.bin", "{}.run"),
    ):
      for path in folder.glob(kind):
        name = path.name if kind == "*.array_record" else path.stem
        assert (scratch_folder / side.format(name)).exists(), f"{path.name} may be half"
    yield function(group)


@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_a_killed_worker_leaves_nothing_half(fishes, tmp_path, engine, shuffle):
  pack(fishes, tmp_path / "local", workers=1, **options_of(shuffle))
  at = {"direct": 2, "external": 6}[shuffle]  # there behind some runs
  engine.pool = functools.partial(killed_in_the_middle, at=at)
  options = options_of(shuffle) | ({"memory": 4e-6} if shuffle == "external" else {})
  pack(fishes, tmp_path / "killed", workers=1, runner="beam", **options)
  assert contents(tmp_path / "killed") == contents(tmp_path / "local")


class Numbered:
  """A task; of those that are alive there are never more than `most`."""

  most = 0

  def __init__(self, number):
    self.number = number
    alive.add(self)
    Numbered.most = max(Numbered.most, len(alive))


alive = weakref.WeakSet()
ran = []


def note(task):
  ran.append(task.number)


def test_tasks_are_never_all_in_memory_and_groups_are_few(tmp_path):
  (tmp_path / ".packing").mkdir()
  tasks = (Numbered(number) for number in range(25_001))
  with task_file.written(tmp_path, note, tasks, ()) as (path, groups):
    assert Numbered.most <= 2
    assert len(groups) <= 10_000 and {count for _, count in groups} == {3, 2}
    assert len(pickle.dumps((path, groups))) < 200_000
    for group in groups[:2] + groups[-1:]:
      assert task_file.run_group(path, group) == ()
  assert ran == [*range(6), 24_999, 25_000]
  assert not list((tmp_path / ".packing").iterdir())


def test_relative_paths_are_the_same_photos_for_workers_elsewhere(
  fishes, tmp_path, engine, monkeypatch
):
  def elsewhere(function, groups):
    with monkeypatch.context() as patch:
      patch.chdir("/")
      yield from map(function, groups)

  engine.pool = elsewhere
  monkeypatch.chdir(tmp_path)
  source, options = fishes.relative_to(tmp_path), options_of("direct")
  pack(source, Path("local"), workers=1, **options)
  pack(source, Path("beam"), workers=1, runner="beam", **options)
  assert contents(tmp_path / "local") == contents(tmp_path / "beam")


def through_an_engine(error):
  """How Beam passes the error of a worker on."""
  return RuntimeError(f"Traceback …\nTaskError: {error} [while running 'FlatMap(x)']")


@pytest.fixture
def failing(fishes, tmp_path, engine, monkeypatch):
  """`failing(change)`: packs, where workers first call `change`; gives the error."""

  def failing(change, names_worker=True, **options):
    def pool(function, groups):
      for group in groups:
        task_file._function.cache_clear()
        with monkeypatch.context() as patch:
          change(patch)
          try:
            yield function(group)
          except TaskError as error:
            found = task_file.report(str(through_an_engine(error)))
            assert found is not None
            raise found from error

    engine.pool = pool
    with pytest.raises((OSError, ValueError)) as raised:
      pack(fishes, tmp_path / "out", workers=1, runner="beam", shards=2, **options)
    assert (f"(worker {os.uname().nodename})" in str(raised.value)) == names_worker
    assert "\n" not in str(raised.value)
    return raised.value

  return failing


def test_a_worker_that_sees_another_disk_names_its_host_and_the_folder(
  failing, fishes, tmp_path
):
  """Nothing is packed: the first look at the folders fails."""
  hidden = tmp_path / "hidden"

  def other_disk(patch):
    real = open

    def opened(name, *args):
      return real(str(name).replace(str(tmp_path / "out"), str(hidden)), *args)

    patch.setattr("builtins.open", opened)

  error = failing(other_disk, beam_options="--x")
  assert f"{tmp_path}/out/.packing of the driver is not there" in str(error)
  assert not (tmp_path / "out").exists()


def test_a_worker_without_the_source_is_an_error_and_no_rejected_photo(
  failing, fishes, tmp_path
):
  """An empty mount point is there, and each of its photos would be unreadable."""

  def empty(patch):
    patch.setattr(os.path, "lexists", lambda path: False)

  error = str(failing(empty))
  assert re.search(rf"source {fishes} is another one here, without n\d+", error)
  assert not list((tmp_path / "out").glob("*.array_record"))


def test_a_place_is_a_file_of_this_size_or_a_folder_with_these_names(tmp_path):
  tar = tmp_path / "a.tar"
  tar.write_bytes(b"1234")
  place = Place.of(tar)
  place.check()
  tar.write_bytes(b"123")
  with pytest.raises(FileNotFoundError, match="another one here"):
    place.check()
  tar.unlink()
  with pytest.raises(FileNotFoundError, match=r"not there \(No such file"):
    place.check()
  tar.mkdir()
  with pytest.raises(FileNotFoundError, match="another one here"):
    place.check()


@pytest.mark.parametrize("name", ["im21k", "simplejpeg"])
def test_a_worker_with_another_version_is_refused(failing, name):
  here = task_file.versions()

  def other(patch):
    patch.setattr(task_file, "versions", lambda: here | {name: "0"})

  assert f"{name} is 0 here, but {here[name]} where" in str(failing(other))


def test_a_full_disk_of_a_worker_is_a_full_disk(failing):
  def full(patch):
    def fails(*args, **options):
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/shared/x")

    patch.setattr(shard_writer, "write", fails)

  error = failing(full, names_worker=False)
  assert isinstance(error, estimate.FullDisk)
  assert "make space, and repeat the command to resume" in str(error)


def test_what_a_task_raises_is_raised_here():
  for error, kind, text in (
    (ValueError("a.jpg is in\nfolder x"), ValueError, "a.jpg is in folder x (worker "),
    (OSError(errno.EACCES, "No", "/a b"), PermissionError, "/a b: No (worker "),
    (OSError("all"), ChildProcessError, "all (worker "),
    (KeyError("k"), ChildProcessError, "unexpected KeyError: 'k' (worker "),
    (MemoryError(), ChildProcessError, "unexpected MemoryError: (worker "),
  ):
    found = task_file.report(str(through_an_engine(task_file._reported(error))))
    assert type(found) is kind and text in str(found)
    # Some engines show the error of a worker as a literal of Python or of JSON.
    quoted = task_file.report(repr(str(through_an_engine(task_file._reported(error)))))
    assert type(quoted) is kind
  assert task_file.report("Attempted to run on 4 workers") is None


class Ending:
  """A task after which the command that began it has ended."""

  def __init__(self, folder):
    self.folder = folder
    self.number = None


def note_and_end(task):
  ran.append(task.number)
  for path in task.folder.iterdir():
    path.unlink()


def test_a_worker_that_was_given_up_stops_when_the_command_ends(tmp_path, monkeypatch):
  """It may not write when another run, with other options, has begun."""
  monkeypatch.setattr(task_file, "_MOST_GROUPS", 1)
  (folder := tmp_path / ".packing").mkdir()
  ran.clear()
  tasks = [Ending(folder), Ending(folder)]
  with task_file.written(tmp_path, note_and_end, tasks, ()) as (path, groups):
    assert [count for _, count in groups] == [2]
    with pytest.raises(TaskError, match="the command that began this task has ended"):
      task_file.run_group(path, groups[0])
  assert ran == [None]


def test_a_run_is_not_written_into_a_folder_that_is_gone(tmp_path):
  with pytest.raises(FileNotFoundError):
    scratch.save(tmp_path / ".packing" / "x.done", {}, {})
  assert not (tmp_path / ".packing").exists()
