"""Files appear whole or not at all, also when the writer is killed."""

import os
import signal
import subprocess
import sys

import pytest

from im21k import files


def test_a_file_appears_when_all_is_written(tmp_path):
  path = tmp_path / "new" / "folder" / "file"
  with files.whole(path) as aside:
    aside.write_bytes(b"first half")
    assert not path.exists()
    assert aside.parent == path.parent, "a rename must not cross file systems"
  assert path.read_bytes() == b"first half"
  assert os.listdir(path.parent) == ["file"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
  path = tmp_path / "file"
  path.write_text("old")
  with files.whole(path) as aside:
    aside.write_text("new")
    assert path.read_text() == "old"
  assert path.read_text() == "new"


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path, error):
  path = tmp_path / "file"
  path.write_text("old")
  with pytest.raises(error), files.whole(path) as aside:
    aside.write_text("half")
    raise error
  assert path.read_text() == "old"
  assert os.listdir(tmp_path) == ["file"]


def test_nothing_written_is_an_error(tmp_path):
  with pytest.raises(FileNotFoundError), files.whole(tmp_path / "file"):
    pass
  assert not os.listdir(tmp_path)


def by_whole(path):
  with files.whole(path) as aside:
    aside.write_text("x")


@pytest.mark.parametrize(
  "write",
  [
    by_whole,
    lambda path: files.write_text(path, "x"),
    lambda path: files.create_text(path, "x"),
  ],
  ids=["whole", "write_text", "create_text"],
)
def test_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch, write):
  """A power failure leaves no name without its bytes, and no bytes without a name."""
  done = []
  real = {name: getattr(os, name) for name in ("fsync", "replace", "link")}

  def fsync(descriptor):
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    size = os.fstat(descriptor).st_size if os.path.isfile(path) else None
    done.append(("fsync", path, size))
    real["fsync"](descriptor)

  def named(name):
    def named(source, target):
      done.append(("name", str(source), str(target)))
      real[name](source, target)

    return named

  monkeypatch.setattr(os, "fsync", fsync)
  monkeypatch.setattr(os, "replace", named("replace"))
  monkeypatch.setattr(os, "link", named("link"))
  path = tmp_path / "file"
  write(path)
  temporary = done[0][1]
  assert os.path.basename(temporary).startswith(files.TEMPORARY)
  assert done == [
    ("fsync", temporary, 1),
    ("name", temporary, str(path)),
    ("fsync", str(tmp_path), None),
  ]


def test_a_killed_writer_leaves_a_leftover_that_is_removed(tmp_path):
  path = tmp_path / "file"
  path.write_text("old")
  script = f"""
import os, pathlib, signal
from im21k import files
with files.whole(pathlib.Path({str(path)!r})) as aside:
  aside.write_text("half")
  os.kill(os.getpid(), signal.SIGKILL)
"""
  killed = subprocess.run([sys.executable, "-c", script], check=False)
  assert killed.returncode == -signal.SIGKILL
  assert path.read_text() == "old"
  assert len(os.listdir(tmp_path)) == 2
  files.remove_leftovers(tmp_path)
  assert os.listdir(tmp_path) == ["file"]


def test_text_is_utf_8_whatever_the_locale(tmp_path):
  files.write_text(tmp_path / "file", "a × b\n")
  assert (tmp_path / "file").read_bytes() == b"a \xc3\x97 b\n"


def test_a_file_is_created_once(tmp_path):
  files.create_text(tmp_path / "a", "first")
  files.create_text(tmp_path / "a", "second")
  assert (tmp_path / "a").read_text() == "first"
  assert os.listdir(tmp_path) == ["a"]


def test_the_temporary_file_is_in_the_folder_asked_for(tmp_path):
  (tmp_path / "aside").mkdir()
  with files.whole(tmp_path / "a", tmp_path / "aside") as aside:
    aside.write_text("x")
    assert aside.parent == tmp_path / "aside"
  assert (tmp_path / "a").read_text() == "x"
  assert not os.listdir(tmp_path / "aside")


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_a_file_is_read_whole_even_if_a_read_ends_early(tmp_path, monkeypatch, size):
  data = os.urandom(size)
  (tmp_path / "a").write_bytes(data)
  assert files.read(str(tmp_path / "a")) == data
  read = os.read
  monkeypatch.setattr(
    files.os, "read", lambda file, count: read(file, min(count, 9999))
  )
  assert files.read(os.fsencode(tmp_path / "a")) == data


@pytest.mark.parametrize("text", ["{", "[]", "3", "\x00"])
def test_a_file_without_a_json_object_is_named(tmp_path, text):
  path = tmp_path / "a.json"
  path.write_text('{"a": [1]}')
  assert files.read_json(path) == {"a": [1]}
  path.write_text(text)
  with pytest.raises(ValueError, match=r"a\.json is damaged: "):
    files.read_json(path)


@pytest.mark.parametrize(
  ("data", "reason"),
  [
    (b'{"a": 1, "b": 2, "a": 3}', "the field 'a' comes twice"),
    (b'{"a": NaN}', "NaN is not a finite number"),
    (b'{"a": -Infinity}', "-Infinity is not a finite number"),
    (b'{"a": 1e999}', "1e999 is not a finite number"),
    (b'{"a": ' + 5 * 10**4 * b"[", "it is nested too deeply"),
    (b'{"a": ' + 10**4 * b"9" + b"}", "Exceeds the limit"),
    (b'{"a": "\xff"}', "can't decode byte 0xff"),
    (b'{"a": "' + 10**6 * b"b" + b'"}', "it has more than 100,000 bytes"),
  ],
)
def test_json_that_readers_disagree_about_is_refused(tmp_path, data, reason):
  path = tmp_path / "a.json"
  path.write_bytes(data)
  with pytest.raises(ValueError) as error:
    files.read_json(path, "copy it again", largest=10**5)
  message = str(error.value)
  assert message.startswith(f"{path} is damaged: ") and reason in message
  assert message.endswith("; copy it again") and "\n" not in message


def test_json_may_have_a_byte_order_mark(tmp_path):
  path = tmp_path / "a.json"
  path.write_bytes(b'\xef\xbb\xbf{"a": 1.5}')
  assert files.read_json(path) == {"a": 1.5}


def test_what_is_no_regular_file_is_not_read(tmp_path):
  os.mkfifo(tmp_path / "fifo")  # Would be waited for.
  for path in (tmp_path, tmp_path / "fifo"):
    with pytest.raises(ValueError, match="is not a regular file"):
      files.read_json(path)
  with pytest.raises(FileNotFoundError):
    files.read_json(tmp_path / "none")
