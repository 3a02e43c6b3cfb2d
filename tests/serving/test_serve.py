"""The command: starts, says where, stops with one line; what is wrong is one line."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from im21k import cli
from im21k.serving import serve


def test_what_is_not_installed_is_named(monkeypatch, capsys, tmp_path):
  monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: name != "uvicorn")
  assert cli.main(["serve", str(tmp_path)]) == 1
  assert capsys.readouterr().err == (
    "im21k serve: serve needs uvicorn, which is not installed: pip install "
    "'im21k[serve]'\n"
  )


def test_a_port_in_use_is_one_line(needs_server, capsys, tmp_path):
  with serve.bound("127.0.0.1", 0) as other:
    other.listen()
    port = other.getsockname()[1]
    assert cli.main(["serve", str(tmp_path), "--port", str(port)]) == 1
  assert capsys.readouterr().err == (
    f"im21k serve: 127.0.0.1 port {port}: address already in use; choose another with "
    "--port or --host\n"
  )


@pytest.mark.parametrize(
  ("host", "reason"),
  [("nowhere.invalid", "must be an address"), ("a b\x1b", "must be an address"),
   ("x" * 300, "must be an address"), ("192.0.2.1", "cannot assign requested address")],
)  # fmt: skip
def test_a_host_that_is_none_is_one_line(needs_server, capsys, tmp_path, host, reason):
  assert cli.main(["serve", str(tmp_path), "--host", host]) == 1
  err = capsys.readouterr().err
  assert reason in err and err.count("\n") == 1 and "\x1b" not in err


def test_weights_that_are_none_are_one_line(needs_server, capsys, tmp_path):
  assert cli.main(["serve", str(tmp_path / "no"), "--port", "0"]) == 1
  assert "holds no weights" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("host", "local"),
  [("127.0.0.1", True), ("127.0.0.9", True), ("::1", True), ("LocalHost", True),
   ("0.0.0.0", False), ("::", False), ("192.168.1.2", False), ("my-host", False)],
)  # fmt: skip
def test_who_can_reach_a_host_is_known(host, local):
  """Names of others are refused where this machine alone should ask."""
  assert serve.is_local(host) == local


def test_addresses_are_those_for_a_browser(needs_server):
  with serve.bound("localhost", 0) as listening:
    assert serve.address_of(listening).startswith("http://")
  if socket.has_ipv6:
    with serve.bound("::1", 0) as listening:
      assert serve.address_of(listening).startswith("http://[::1]:")


@pytest.mark.slow
@pytest.mark.parametrize(
  ("number", "status", "last"),
  [
    (signal.SIGINT, 0, "stopped after 1 photo\n"),
    (signal.SIGTERM, 128 + signal.SIGTERM, "im21k: ended by SIGTERM\n"),
  ],
)
def test_it_serves_until_it_is_stopped(
  needs_server, tiny_weights, tmp_path, sample_photos, number, status, last
):
  tiny_weights.save(tmp_path / "weights")
  line = [sys.executable, "-m", "im21k", "serve", tmp_path / "weights", "--port", "0"]
  with subprocess.Popen(
    line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
  ) as process:
    said = process.stderr.readline()
    assert said.startswith("im21k serve: http://127.0.0.1:") and "Ctrl-C" in said
    photo = min(sample_photos.rglob("*.jpg")).read_bytes()
    kind = {"content-type": "application/octet-stream"}
    asked = urllib.request.Request(f"{said.split()[2]}api/predict", photo, kind)
    with urllib.request.urlopen(asked) as answer:
      assert len(json.load(answer)["photos"][0]["flat"]) == 5
    os.kill(process.pid, number)
    out, err = process.communicate()
  assert process.returncode == status
  assert out + err == last
