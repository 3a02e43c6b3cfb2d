"""Photos to pack, and packed photos read without the loader."""

import functools
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from array_record.python.array_record_module import ArrayRecordReader

from im21k.dataset import records
from im21k.dataset.manifest import Manifest
from im21k.packing import beam, driver, task_file
from im21k.packing.pack import pack


@pytest.fixture
def fishes(photos):
  """24 photos of three classes, and a broken one."""
  source = photos({"n01440764": 9, "n01484850": 8, "n01496331": 7})
  (source / "n01440764" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
  return source


class Killed(Exception):
  """Stands for the end of a process."""


@pytest.fixture
def begun(monkeypatch):
  """`begun(source, out, **options)`: packs, and is killed before the first shard."""

  def killed(*args, **options):
    raise Killed

  def begun(source, out, **options):
    with monkeypatch.context() as patch:
      patch.setattr(driver.Packer, "_run", killed)
      with pytest.raises(Killed):
        pack(source, out, **options)

  return begun


@pytest.fixture(scope="session")
def read():
  """`read(folder, split)`: every example of a split."""

  def read(folder, split):
    examples = []
    for path in Manifest.load(folder).shard_paths(folder, split):
      reader = ArrayRecordReader(path)
      examples += [records.decode(record) for record in reader.read_all()]
      reader.close()
    return examples

  return read


@pytest.fixture(scope="session")
def keys(read):
  """`keys(folder, split)`: the keys of a split in order."""
  return lambda folder, split: [example.key for example in read(folder, split)]


@pytest.fixture(scope="session")
def beam_python(need):
  """Python of an environment that has Apache Beam and Dask."""
  own = importlib.util.find_spec("apache_beam") and importlib.util.find_spec("dask")
  python = Path(sys.executable) if own else Path(sys.prefix) / "beam" / "bin" / "python"
  code = "import apache_beam, distributed"
  there = (
    python.exists()
    and not subprocess.run([python, "-c", code], capture_output=True).returncode
  )
  need(there, "Apache Beam and Dask are not installed: make test does that")
  return python


@pytest.fixture
def engine(monkeypatch):
  """An engine that runs every group of tasks in this process; gives what it was given.

  `engine.pool` may be replaced: it maps a function over groups.
  """

  class Engine:
    pool = staticmethod(map)

    def __init__(self):
      self.options, self.groups = [], []

  def run(function, tasks, destination, *, options, workers, places, part):
    engine.options.append(options)
    made = task_file.written(destination, function, tasks, places, part)
    with made as (path, groups):
      engine.groups.append(groups)
      done = engine.pool(functools.partial(task_file.run_group, path), groups)
      assert set(done) <= {()}

  monkeypatch.setattr(beam, "check", lambda options: options is not None)
  monkeypatch.setattr(beam, "run", run)
  engine = Engine()
  return engine


@pytest.fixture
def source(photos):
  """36 photos of three classes, and a broken one."""
  folder = photos(dict.fromkeys(("n01440764", "n01484850", "n01496331"), 12))
  (folder / "n01440764" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
  return folder


@pytest.fixture
def command(beam_python, tmp_path):
  """`command(source, out, *words)`: packs through Beam, as a process."""

  def command(source, out, *words, **options):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return [beam_python, "-m", "im21k.cli", "pack", source, out, "--runner=beam",
            "--workers=2", *flags, *words]  # fmt: skip

  return command
