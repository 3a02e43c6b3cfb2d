"""What is lost of an archive is in the result, in each report, and a failure."""

import io
import json
import tarfile

import pytest

from im21k import cli
from im21k.packing.pack import pack, text

FISH = "n01440764"


@pytest.fixture
def archive(jpeg, tmp_path):
  """A tar of six photos, and the offset of each header."""
  path = tmp_path / "fish.tar"
  with tarfile.open(path, "w") as tar:
    for number in range(6):
      data = jpeg(number)
      info = tarfile.TarInfo(f"{FISH}/{number}.jpg")
      info.size = len(data)
      tar.addfile(info, io.BytesIO(data))
  with tarfile.open(path) as tar:
    return path, [info.offset for info in tar]


def damage(path, at):
  data = bytearray(path.read_bytes())
  data[at] ^= 1
  path.write_bytes(data)


def test_a_sound_archive_is_not_mentioned(archive, tmp_path):
  result = pack(archive[0], tmp_path / "out", workers=1)
  assert result["train"] == 6 and "failed" not in result
  assert "damaged" not in text(result)
  assert "damaged_archives" not in (tmp_path / "out" / "report.json").read_text()


def test_damage_is_counted_in_bytes_and_fails(archive, tmp_path):
  path, headers = archive
  damage(path, headers[2] + 5)
  out, lost = tmp_path / "out", headers[3] - headers[2]
  result = pack(path, out, workers=1)
  assert (result["train"], result["rejected"]) == (5, 1)
  assert result["damaged_archives"] == {"fish.tar": lost}
  line = f"fish.tar is damaged: {lost:,} bytes of it could not be read"
  assert (
    result["failed"].startswith(line) and "--allow-damaged-arch" in result["failed"]
  )
  assert line in text(result).splitlines()
  assert line in (out / "report.txt").read_text().splitlines()
  assert json.loads((out / "report.json").read_text())["damaged_archives"] == {
    "fish.tar": lost
  }
  assert (out / "rejected.tsv").read_text().splitlines()[1:] == [
    f"fish.tar at byte {headers[2]}\tdamaged archive\tbytes {headers[2]} to "
    f"{headers[3]} cannot be read: what should be a header is none"
  ]


@pytest.mark.parametrize("allowed", [False, True])
def test_the_exit_status_says_whether_all_was_read(archive, tmp_path, capsys, allowed):
  path, headers = archive
  damage(path, headers[2] + 5)
  options = ["--allow-damaged-archives"] if allowed else []
  arguments = ["pack", str(path), str(tmp_path / "out"), "--workers", "1", *options]
  assert cli.main(arguments) == (0 if allowed else 1)
  out, error = capsys.readouterr()
  assert "packed 5 train" in out and "fish.tar is damaged" in out
  assert ("im21k pack: fish.tar is damaged" in error) is not allowed


def test_an_archive_of_nothing_but_damage_says_so(tmp_path):
  (tmp_path / "x.tar").write_bytes(b"<html>not found</html>" * 100)
  with pytest.raises(ValueError, match=r"no photo to pack.*bytes 0 to 2200 cannot be"):
    pack(tmp_path / "x.tar", tmp_path / "out", workers=1)
