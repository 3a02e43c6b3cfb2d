"""Results and errors on every kind of stream: whole, or the exit status says so."""

import json
import os
import signal
import subprocess
import sys

import pytest

from im21k import terminal


def bash(line, **environment):
  """Runs a line of bash: status, standard output and standard error, in bytes."""
  done = subprocess.run(
    ["bash", "-c", line.replace("im21k ", f"{sys.executable} -m im21k ")],
    capture_output=True,
    env={**os.environ, **environment},
    check=False,
  )
  return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
  ("line", "status", "error"),
  [
    ("im21k synset fir >/dev/full", 1, "standard output: no space left on device"),
    ("im21k --help >/dev/full", 1, "standard output: no space left on device"),
    ("im21k synset --help >/dev/full", 1, "standard output: no space left on device"),
    (
      "im21k synset fir >&-",
      1,
      "standard output: it is closed; to discard the result,",
    ),
    ("im21k synset fir | true; exit ${PIPESTATUS[0]}", 141, "standard output: it was"),
    ("im21k synset fir >/dev/null 2>/dev/full", 0, ""),
    ("im21k synset fir >/dev/null 2>&-", 0, ""),
    ("im21k synset xyzzy 2>/dev/full", 1, ""),
    ("im21k synset xyzzy <&- >&- 2>&-", 1, ""),
    ("im21k synset 2>&-", 2, ""),
  ],
)
def test_a_stream_that_takes_nothing(line, status, error):
  found, out, err = bash(line)
  assert (found, out) == (status, b"")
  assert err.startswith(f"im21k: {error}".encode() if error else b"")
  assert err.count(b"\n") == bool(error)


@pytest.mark.parametrize(
  "environment",
  [
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
  ],
)
def test_an_ascii_terminal_gets_ascii(environment):
  status, out, err = bash("im21k --help", **environment)
  assert (status, err) == (0, b"") and b"COMMAND ...  (" in out
  status, out, err = bash("im21k synset über", **environment)
  assert (status, out) == (1, b"") and err.count(b"\n") == 1
  assert err.startswith(b"im21k synset: no synset is called '\\") and err.isascii()


@pytest.mark.parametrize(
  ("number", "name"),
  [
    (signal.SIGINT, "interrupted"),
    (signal.SIGTERM, "ended by SIGTERM"),
    (signal.SIGHUP, "ended by SIGHUP"),
  ],
)
def test_a_signal_is_one_line_and_its_status(number, name):
  code = (
    "import sys, types, time; from im21k import cli\n"
    "def wait() -> dict:\n  'Waits.'\n  print('on', flush=True); time.sleep(600)\n"
    "sys.modules['voice'] = types.SimpleNamespace(wait=wait)\n"
    "cli.COMMANDS['wait'] = cli.Command('voice', 'wait')\n"
    "sys.argv = ['im21k', 'wait']; sys.exit(cli.main())"
  )
  with subprocess.Popen(
    [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
  ) as process:
    assert process.stdout.readline() == b"on\n"
    process.send_signal(number)
    assert process.communicate()[1] == f"im21k: {name}\n".encode()
  assert process.returncode == 128 + number


def test_a_forked_process_ends_by_the_signal_itself():
  # In a process of its own: one with threads should not fork.
  code = (
    "import os, signal, time; from im21k import terminal\n"
    "with terminal.signals():\n"
    "  on, write = os.pipe()\n"
    "  child = os.fork()\n"
    "  if not child: os.write(write, b'x'); time.sleep(600)\n"
    "  os.read(on, 1)\n"
    "  os.kill(child, signal.SIGTERM)\n"
    "  print(os.WTERMSIG(os.waitpid(child, 0)[1]))\n"
    "print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)"
  )
  run = [sys.executable, "-c", code]
  done = subprocess.run(run, capture_output=True, text=True, check=True)
  assert (done.stdout, done.stderr) == ("15\nTrue\n", "")


def test_json_is_valid_whatever_it_holds():
  result = {"a\udcff": [float("nan"), float("-inf"), 0.5, ("\ud800ü\x1b", None, True)]}
  text = terminal.as_json(result)
  assert text.isascii()
  assert json.loads(text, parse_constant=pytest.fail) == {
    r"a\xff": [None, None, 0.5, ["\\ud800ü\x1b", None, True]]
  }


def test_texts_of_a_result_hold_nothing_that_moves_the_cursor():
  found = terminal.shown({"a\n": ["b\x1b[2J", {"c": ("\u202e", 1)}], "d": 2.5})
  assert found == {r"a\n": [r"b\x1b[2J", {"c": [r"\u202e", 1]}], "d": 2.5}


def test_an_error_is_one_line_of_bounded_length(capsys):
  terminal.say("im21k: a\nb\r\x1b[2J " + "x" * 100_000 + " end")
  err = capsys.readouterr().err
  assert err.startswith(r"im21k: a b \x1b[2J xxx") and err.endswith("xxx end\n")
  assert err.count("\n") == 1 and len(err) < 2_100


def test_a_warning_is_one_line():
  code = (
    "from im21k import terminal; import logging, warnings\n"
    "terminal.prepare(); logging.getLogger('a').warning('%s', 'c\\nd\\x1b')\n"
    "with terminal.signals(): warnings.warn('a\\nb\\x1b')"
  )
  run = [sys.executable, "-c", code]
  done = subprocess.run(run, capture_output=True, text=True, check=True)
  assert done.stderr == "c d\\x1b\nim21k: warning: a b\\x1b\n"
