"""The development kit: its ids become synsets, and a damaged kit is one line."""

import gzip
import io
import shutil
import tarfile

import pytest

from im21k.photos import devkit

TENCH, FISH, RAY = "n01440764", "n01443537", "n01496331"
IDS = {TENCH: 3, FISH: 1, RAY: 2}


@pytest.fixture
def kit(ilsvrc2012_like, tmp_path):
  """Writes a kit: (truth, ids or meta.mat) -> its path."""

  def write(truth=(3, 1, 1), meta=IDS, name=devkit.NAME):
    if isinstance(meta, dict):
      meta = ilsvrc2012_like.meta(meta)
    ilsvrc2012_like.write_kit(tmp_path / name, meta, truth)
    return tmp_path / name

  return write


def test_labels_are_the_synsets_of_the_ids_in_the_order_of_the_lines(kit):
  assert devkit.labels(kit()) == (TENCH, FISH, FISH)


def test_an_unpacked_kit_and_one_that_a_browser_unzipped_are_read(kit, tmp_path):
  path = kit()
  with tarfile.open(path) as tar:
    tar.extractall(tmp_path, filter="data")
  (tmp_path / "ILSVRC2012_devkit_t12.tar").write_bytes(
    gzip.decompress(path.read_bytes())
  )
  assert devkit.beside(tmp_path) == path
  path.unlink()
  assert devkit.beside(tmp_path).name == "ILSVRC2012_devkit_t12.tar"
  assert devkit.labels(devkit.beside(tmp_path)) == (TENCH, FISH, FISH)
  devkit.beside(tmp_path).unlink()
  assert devkit.labels(devkit.beside(tmp_path)) == (TENCH, FISH, FISH)
  shutil.rmtree(tmp_path / "ILSVRC2012_devkit_t12")
  assert devkit.beside(tmp_path) is None


def test_the_synsets_above_the_classes_are_no_labels(kit):
  with pytest.raises(ValueError, match=r"ground_truth.txt line 2 is '4', which is"):
    devkit.labels(kit(truth=(1, 4)))


@pytest.mark.parametrize(
  ("line", "shown"), [("0", "'0'"), ("-1", "'-1'"), ("1.0", "'1.0'"), ("", "''"),
                      ("9" * 99, "'" + "9" * 40 + "'"), ("\x1b[2J²", "'\\\\x1b")],
)  # fmt: skip
def test_a_line_that_is_no_id_is_named(kit, line, shown):
  with pytest.raises(ValueError, match=rf"line 2 is {shown}.*none of the 3 classes"):
    devkit.labels(kit(truth=(1, line, 1)))


def test_a_synset_that_is_none_is_named(kit):
  with pytest.raises(ValueError, match=r"meta.mat: row 2: 'teddy' is no synset id"):
    devkit.labels(kit(meta={TENCH: 1, "teddy": 2}))


def test_two_classes_of_one_id_are_refused(kit):
  with pytest.raises(ValueError, match=f"id 1 is that of {TENCH} and {FISH}"):
    devkit.labels(kit(meta={TENCH: 1, FISH: 1}))


def test_a_cut_meta_mat_is_one_line(kit, ilsvrc2012_like):
  meta = ilsvrc2012_like.meta(IDS)
  with pytest.raises(ValueError, match=r"t12.tar.gz: meta.mat: .*cut short; get the"):
    devkit.labels(kit(meta=meta[: len(meta) // 2]))


def test_a_cut_or_foreign_archive_is_one_line(kit, tmp_path):
  path = kit()
  data = path.read_bytes()
  path.write_bytes(data[: len(data) // 2])
  with pytest.raises(ValueError, match=r"is damaged: .*get it again"):
    devkit.labels(path)
  with tarfile.open(path, "w:gz") as tar:
    tar.addfile(tarfile.TarInfo("readme.txt"))
  with pytest.raises(
    ValueError, match=r"has no data/ILSVRC2012_validation_ground_truth"
  ):
    devkit.labels(path)
  path.write_text("<html>Please log in</html>")
  with pytest.raises(ValueError, match=r"t12.tar.gz "):
    devkit.labels(path)


def test_a_bomb_takes_no_memory(tmp_path):
  path = tmp_path / devkit.NAME
  for name, size in (("x/data/meta.mat", 1 << 25), ("x/other", 1 << 40)):
    info = tarfile.TarInfo(name)
    info.size = size
    with gzip.open(path, "wb") as file:
      file.write(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
    with pytest.raises(ValueError, match=r"more than (16|256) MiB"):
      devkit.labels(path)


def test_a_link_in_place_of_a_file_is_refused(tmp_path):
  path = tmp_path / devkit.NAME
  with tarfile.open(path, "w:gz") as tar:
    info = tarfile.TarInfo("x/data/meta.mat")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    tar.addfile(info, io.BytesIO())
  with pytest.raises(ValueError, match=r"meta.mat is there twice, or no file"):
    devkit.labels(path)


def test_a_digit_that_was_flipped_in_the_file_is_found_by_its_checksum(kit):
  """Stored, not compressed, so that the flip changes one digit and nothing else."""
  path = kit(truth=(3, 1, 1, 1))
  data = gzip.decompress(path.read_bytes())
  stored = bytearray(gzip.compress(data, 0))
  stored[stored.index(b"3\n1\n1\n1\n")] = ord("2")
  path.write_bytes(stored)
  with pytest.raises(ValueError, match="is damaged: incorrect data check"):
    devkit.labels(path)
