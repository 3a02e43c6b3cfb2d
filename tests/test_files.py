"""Files appear whole or not at all, also when the writer is killed."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

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


def test_containers_of_one_name_have_temporary_files_of_their_own(monkeypatch):
  """Each counts its processes from 1, so the writer of a file may seem to be dead."""
  here = files.temporary_name("a")
  assert here == files.temporary_name("a")
  monkeypatch.setattr(os, "readlink", lambda path: "pid:[1]")
  assert files.temporary_name("a") != here


def test_the_temporary_file_is_in_the_folder_asked_for(tmp_path):
  (tmp_path / "aside").mkdir()
  with files.whole(tmp_path / "a", tmp_path / "aside") as aside:
    aside.write_text("x")
    assert aside.parent == tmp_path / "aside"
  assert (tmp_path / "a").read_text() == "x"
  assert not os.listdir(tmp_path / "aside")


def test_the_next_writer_removes_what_killed_ones_left(tmp_path):
  path = tmp_path / "a-b.png"
  script = f"""
import os, pathlib, signal
from im21k import files
with files.whole(pathlib.Path({str(path)!r})) as aside:
  aside.write_text("half")
  os.kill(os.getpid(), signal.SIGKILL)
"""
  subprocess.run([sys.executable, "-c", script], check=False)
  (left,) = os.listdir(tmp_path)
  assert left.endswith("-a-b.png") and left.startswith(files.TEMPORARY)
  host, own = files._host(), os.getpid()
  kept = {
    f".writing-{host}.1-a-b.png": "its writer lives",
    f".writing-{host}.{own + 1 << 22}-b.png": "of another file",
    ".writing-00000000.1-a-b.png": "of another machine, perhaps alive",
    ".writing-": "no name of a temporary file",
  }
  for name in (*kept, f".writing-ffffffff.{own}-a-b.png"):
    (tmp_path / name).write_text("half")
  yesterday = time.time() - 2 * 86_400
  os.utime(tmp_path / f".writing-ffffffff.{own}-a-b.png", (yesterday, yesterday))
  files.write_text(path, "whole")
  assert set(os.listdir(tmp_path)) == {path.name, *kept}


@pytest.mark.parametrize("length", [200, 255])
@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_long_name_is_no_obstacle(tmp_path, length, letter):
  name = letter * ((length - 4) // len(letter.encode())) + ".png"
  with files.whole(tmp_path / name) as aside:
    assert aside.suffix == ".png"
    aside.write_text("x")
  assert os.listdir(tmp_path) == [name]


def test_a_device_is_written_to_and_stays(tmp_path):
  before = os.stat("/dev/null")
  files.write_text(files.Path("/dev/null"), "gone")
  after = os.stat("/dev/null")
  assert stat.S_ISCHR(after.st_mode) and after.st_ino == before.st_ino
  with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
    files.write_text(files.Path("/dev/full"), "text")
  assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
  assert not [name for name in os.listdir("/dev") if name.startswith(files.TEMPORARY)]


def test_a_pipe_is_written_to_if_somebody_reads(tmp_path):
  pipe = tmp_path / "pipe"
  os.mkfifo(pipe)
  with pytest.raises(OSError, match=r"pipe is a pipe from which nobody reads"):
    files.write_text(pipe, "text")
  got = []
  reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
  reader.start()
  while not got:  # The thread may not have opened it yet.
    try:
      files.write_text(pipe, "text")
      break
    except OSError:
      time.sleep(0.01)
  reader.join()
  assert got == ["text"] and stat.S_ISFIFO(os.stat(pipe).st_mode)


def test_standard_output_gets_what_is_written_to_it(tmp_path):
  """Replaced by its name, a redirected output would lose what is printed later."""
  script = (
    "from im21k import files; print('a', flush=True); "
    "files.write_text(files.Path('/dev/stdout'), 'b\\n'); print('c')"
  )
  with (tmp_path / "out").open("a") as file:
    subprocess.run([sys.executable, "-c", script], stdout=file, check=True)
  assert (tmp_path / "out").read_text() == "a\nb\nc\n"
  piped = subprocess.run([sys.executable, "-c", script], capture_output=True)
  assert piped.stdout == b"a\nb\nc\n"


def test_a_link_stays_and_leads_to_the_new_file(tmp_path):
  (tmp_path / "disk").mkdir()
  for name in ("old", "new"):
    (tmp_path / f"{name}-link").symlink_to(f"disk/{name}")
  (tmp_path / "disk" / "old").write_text("old")
  for name in ("old", "new"):
    files.write_text(tmp_path / f"{name}-link", "new")
    assert (tmp_path / f"{name}-link").is_symlink()
  assert {p.name: p.read_text() for p in (tmp_path / "disk").iterdir()} == {
    "old": "new", "new": "new",
  }  # fmt: skip


def test_what_is_no_file_is_refused_before_anything_is_written(tmp_path, monkeypatch):
  (tmp_path / "folder").mkdir()
  (tmp_path / "loop").symlink_to("loop")
  listening = socket.socket(socket.AF_UNIX)
  monkeypatch.chdir(tmp_path)  # The path of a socket must be short.
  listening.bind("socket")
  for name, message in (
    ("folder", "Is a directory"), ("loop", "Too many levels"), ("socket", "a socket"),
  ):  # fmt: skip
    with pytest.raises(OSError, match=message), files.whole(tmp_path / name):
      raise AssertionError("entered")
  listening.close()
  assert sorted(os.listdir(tmp_path)) == ["folder", "loop", "socket"]


def test_a_folder_appears_when_all_is_written(tmp_path):
  path = tmp_path / "new" / "folder"
  with files.whole_folder(path) as aside:
    (aside / "file").write_text("all")
    assert not path.exists() and aside.parent == path.parent
  assert (path / "file").read_text() == "all"
  assert os.listdir(path.parent) == ["folder"]


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_after_an_error_there_is_no_folder(tmp_path, error):
  with pytest.raises(error), files.whole_folder(tmp_path / "folder") as aside:
    (aside / "file").write_text("half")
    raise error
  assert not os.listdir(tmp_path)


def test_a_folder_that_is_there_stays(tmp_path):
  path = tmp_path / "folder"
  path.mkdir()
  with pytest.raises(FileExistsError, match="folder"), files.whole_folder(path):
    pass
  path.rmdir()
  with pytest.raises(OSError), files.whole_folder(path) as aside:
    (aside / "file").write_text("mine")
    path.mkdir()
    (path / "file").write_text("theirs")
  assert (path / "file").read_text() == "theirs"
  assert os.listdir(tmp_path) == ["folder"]
