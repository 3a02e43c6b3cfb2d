"""Photos to pack, and packed photos read without the loader."""

import pytest
from array_record.python.array_record_module import ArrayRecordReader

from im21k.dataset import records
from im21k.dataset.manifest import Manifest
from im21k.packing import driver
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
