"""Hosts with addresses of their own, in network namespaces.

The link between them is good, cut, or slow and loses packets.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from im21k.hosts.watch import STATUS

from .test_training import Runner, difference, ended

pytestmark = pytest.mark.slow
NAMES = [f"im21k-{os.getpid()}-{host}" for host in range(2)]
PLACES = ["10.213.7.1", "10.213.7.2"]
FAR = ["10.213.8.1", "10.213.8.2"]  # Over the bad link.
BAD_LINK = str(Path(__file__).with_name("bad_link.py"))


def ip(*arguments):
  subprocess.run(["ip", *arguments], check=True, capture_output=True)


def there(host, *command, places=PLACES):
  """A command in the namespace of a host, whose name leads to its address."""
  named = ["unshare", "--uts", "sh", "-c", f'hostname {places[host]}; exec "$@"', "sh"]
  return ["ip", "netns", "exec", NAMES[host], *named, *command]


@pytest.fixture(scope="module")
def link():
  """Two namespaces with a link between them."""
  for command in ("ip", "unshare", "hostname"):
    if shutil.which(command) is None:
      pytest.skip(f"needs the command {command}")
  try:
    ip("netns", "add", NAMES[0])
  except subprocess.CalledProcessError as error:
    pytest.skip(f"network namespaces are not allowed here: {error.stderr!r}")
  try:
    ip("netns", "add", NAMES[1])
    ends = [("veth0", "netns", NAMES[0]), ("veth1", "netns", NAMES[1])]
    ip("link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1])
    for host, place in enumerate(PLACES):
      for arguments in (
        ("addr", "add", f"{place}/24", "dev", f"veth{host}"),
        ("link", "set", f"veth{host}", "up"),
        ("link", "set", "lo", "up"),
      ):
        subprocess.run(there(host, "ip", *arguments), check=True)
    yield
  finally:
    for name in NAMES:
      subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.fixture(scope="module")
def bad_link(link):
  """Another link: 20 ms in each direction, and every hundredth packet is lost."""
  ends = [word for pair in zip(NAMES, FAR, strict=True) for word in pair]
  command = [sys.executable, BAD_LINK, "20", "0.01", *ends]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
    if process.stdout.readline() != "ready\n":
      pytest.skip("TUN devices are not allowed here")
    yield process
    process.kill()


@pytest.fixture(scope="module")
def runner(tmp_path_factory, packed):
  return Runner(tmp_path_factory.mktemp("namespaces"), packed)


@pytest.fixture(scope="module")
def together(runner):
  """Arrays of the run on one machine."""
  ended(runner.launch("together"))
  return runner.arrays("together")


def start(runner, name, heartbeat, *settings, places=PLACES):
  hosts = ["--coordinator", f"{places[0]}:7000", "--hosts", "2"]
  hosts += ["--heartbeat", f"{heartbeat}", *settings]
  commands = [runner.command(name, *hosts, "--host", f"{host}") for host in range(2)]
  return [
    runner.start(there(host, *command, places=places))
    for host, command in enumerate(commands)
  ]


def test_over_a_network_as_on_one_machine(link, runner, together):
  for process in start(runner, "apart", 120):
    ended(process)
  assert difference(runner.arrays("apart"), together) == 0


def test_over_a_slow_link_that_loses_packets_too(bad_link, runner, together):
  for process in start(runner, "far", 120, places=FAR):
    ended(process)
  assert difference(runner.arrays("far"), together) == 0
  assert bad_link.poll() is None


@pytest.mark.parametrize("cut", [0, 1])
def test_a_cut_link_ends_both(link, runner, cut):
  processes = start(runner, f"cut-{cut}", 15, "--config.total.steps=100000")
  while "checkpoint saved at step 4" not in processes[0].stdout.readline():
    assert processes[0].poll() is None
  subprocess.run(there(cut, "ip", "link", "set", f"veth{cut}", "down"), check=True)
  outs = [process.communicate()[0] for process in processes]
  subprocess.run(there(cut, "ip", "link", "set", f"veth{cut}", "up"), check=True)
  assert [process.returncode for process in processes] == [STATUS] * 2, outs
  for host, out in enumerate(outs):
    assert f"im21k: host {1 - host} (" in out, out
    assert "has not been heard of for" in out
    assert "the last checkpoint is that of step" in out
