"""One holder at a time; nothing that is killed keeps a folder."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from im21k import lock

HOLDER = """
import pathlib, sys
from im21k import lock
with lock.hold(pathlib.Path(sys.argv[1]), "packing"):
  {body}
"""
WAIT = "print('held', flush=True); sys.stdin.readline()"


def held_elsewhere(folder, body=WAIT):
  """A process that holds the folder until a line comes in, or it is killed."""
  process = subprocess.Popen(
    [sys.executable, "-c", HOLDER.format(body=body), folder],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
  )  # fmt: skip
  assert process.stdout.readline() == "held\n"
  return process


def is_free(folder):
  with lock.hold(folder, "looking"):
    return True


def test_a_second_process_is_refused_by_name_until_the_first_ends(tmp_path):
  folder = tmp_path / "new" / "folder"
  with held_elsewhere(folder) as process:
    with pytest.raises(lock.Held) as refused, lock.hold(folder, "training"):
      pass
    text = str(refused.value)
    assert text.startswith(
      f"{folder} is in use (packing by process {process.pid} on {socket.gethostname()} "
      "since 2"
    )
    assert text.endswith(f": kill {process.pid})") and "\n" not in text
    process.communicate("end\n")
    assert process.returncode == 0
  assert not os.listdir(folder), "the lock's file is left"
  assert is_free(folder)


@pytest.mark.parametrize("body", [WAIT, "raise SystemExit(print('held', flush=True))"])
def test_nothing_that_is_killed_or_fails_keeps_the_folder(tmp_path, body):
  with held_elsewhere(tmp_path, body) as process:
    process.kill()
    process.wait()
    assert is_free(tmp_path)
  assert not os.listdir(tmp_path)


FORKS = """
if not __import__("os").fork(): print("held", flush=True)
  __import__("time").sleep(60)
"""
STARTS = """
import multiprocessing, subprocess
  subprocess.Popen(["sleep", "60"], close_fds=False)
  context = multiprocessing.get_context("forkserver")
  context.Process(target=__import__("time").sleep, args=(60,)).start()
  print("held", flush=True); sys.stdin.readline()
"""


@pytest.mark.parametrize("body", [FORKS, STARTS], ids=["fork", "exec"])
def test_children_that_outlive_a_killed_holder_do_not_keep_it(tmp_path, body):
  script = tmp_path / "holder.py"
  script.write_text(HOLDER.format(body=body.strip()))
  folder = tmp_path / "held"
  process = subprocess.Popen(
    [sys.executable, script, folder],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
  )  # fmt: skip
  try:
    assert process.stdout.readline() == "held\n"
    with pytest.raises(lock.Held), lock.hold(folder, "looking"):
      pass
    process.kill()
    process.wait()
    os.killpg(process.pid, 0)  # The child lives.
    assert is_free(folder)
  finally:
    os.killpg(process.pid, signal.SIGKILL)
    process.stdin.close()
    process.stdout.close()


def test_a_child_that_ends_does_not_free_it(tmp_path):
  with lock.hold(tmp_path, "packing"):
    script = "import os; pid = os.fork(); pid and os.waitpid(pid, 0)"
    body = f"{script}\n  if not pid: os._exit(0)\n  {WAIT}"
    with held_elsewhere(tmp_path / "other", body) as process:
      with pytest.raises(lock.Held), lock.hold(tmp_path / "other", "looking"):
        pass
      process.communicate("\n")


@pytest.mark.parametrize("posix", [False, True])
def test_a_second_thread_is_refused(tmp_path, monkeypatch, posix):
  if posix:
    monkeypatch.delattr(fcntl, "F_OFD_SETLK", raising=False)
  refused = []

  def second():
    try:
      with lock.hold(tmp_path, "training"):
        pass
    except lock.Held as error:
      refused.append(str(error))

  with lock.hold(tmp_path, "packing"):
    thread = threading.Thread(target=second)
    thread.start()
    thread.join()
    with pytest.raises(lock.Held), lock.hold(tmp_path, "again"):
      pass
  assert f"packing by process {os.getpid()} " in refused[0]
  assert is_free(tmp_path)


def test_reading_the_file_does_not_end_the_lock(tmp_path):
  """As a lock of `lockf` does when its process closes the file anywhere."""
  script = f"with open(sys.argv[1] + '/{lock.NAME}') as file: file.read()"
  with held_elsewhere(tmp_path, f"{script}\n  {WAIT}") as process:
    with pytest.raises(lock.Held), lock.hold(tmp_path, "looking"):
      pass
    process.communicate("\n")


def test_one_waits_for_the_other(tmp_path):
  order = []

  def second():
    with lock.hold(tmp_path, "second", wait=True):
      order.append("second")

  with lock.hold(tmp_path, "first"):
    thread = threading.Thread(target=second)
    thread.start()
    thread.join(0.2)
    order.append("first")
  thread.join()
  assert order == ["first", "second"]
  assert not os.listdir(tmp_path)


def test_names_are_held_apart(tmp_path):
  with lock.hold(tmp_path, "part 1", "1.lock"), lock.hold(tmp_path, "2", "2.lock"):
    assert sorted(os.listdir(tmp_path)) == ["1.lock", "2.lock"]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_says_so(tmp_path, monkeypatch, capsys, code):
  def cannot(*arguments):
    raise OSError(code, os.strerror(code))

  monkeypatch.setattr(fcntl, "fcntl", cannot)
  for name in ("a.lock", "b.lock"):
    with lock.hold(tmp_path, "packing", name):
      pass
  assert not os.listdir(tmp_path)
  error = capsys.readouterr().err
  assert error.startswith(f"im21k: warning: the file system of {tmp_path} cannot lock")
  assert error.count("\n") == 1


def test_what_cannot_be_written_to_is_named(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(FileExistsError, match="file"), lock.hold(tmp_path / "file", "a"):
    pass
  (tmp_path / lock.NAME).mkdir()
  with pytest.raises(IsADirectoryError, match=lock.NAME), lock.hold(tmp_path, "a"):
    pass


def test_a_folder_that_vanishes_is_no_further_error(tmp_path):
  folder = tmp_path / "a"
  with lock.hold(folder, "packing"):
    (folder / lock.NAME).unlink()
    folder.rmdir()
    # Whoever makes it anew holds the new one, and keeps its file.
    other = held_elsewhere(folder)
  with other:
    with pytest.raises(lock.Held), lock.hold(folder, "looking"):
      pass
    other.communicate("\n")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', "\0" * 10])
def test_a_damaged_lock_file_still_refuses(tmp_path, text):
  body = f"open(sys.argv[1] + '/{lock.NAME}', 'w').write({text!r})\n  {WAIT}"
  with held_elsewhere(tmp_path, body) as process:
    with pytest.raises(lock.Held, match=r"in use \(by another process\): wait"):
      is_free(tmp_path)
    process.communicate("\n")


def test_a_strange_name_in_it_stays_in_one_line(tmp_path):
  holder = {"what": "a\nb", "pid": 3, "host": "\x1b[2J", "since": "now"}
  body = f"open(sys.argv[1] + '/{lock.NAME}', 'w').write({json.dumps(holder)!r})"
  with held_elsewhere(tmp_path, f"{body}\n  {WAIT}") as process:
    with pytest.raises(lock.Held) as refused:
      is_free(tmp_path)
    assert str(refused.value).isprintable()
    process.communicate("\n")


def test_a_folder_that_others_remove_meanwhile_is_made_again(tmp_path, monkeypatch):
  opened, removed = os.open, []

  def remove_and_open(path, flags, *mode):
    if len(removed) < 3 and str(path).endswith(lock.NAME):
      (tmp_path / "a").rmdir()
      removed.append(path)
    return opened(path, flags, *mode)

  monkeypatch.setattr(os, "open", remove_and_open)
  assert is_free(tmp_path / "a") and len(removed) == 3
  monkeypatch.setattr(lock, "_ATTEMPTS", 2)
  removed.clear()
  with pytest.raises(FileNotFoundError, match=lock.NAME):
    is_free(tmp_path / "a")
