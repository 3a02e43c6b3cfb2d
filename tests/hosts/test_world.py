"""Who this process is, by options and by the environment."""

import pytest

from im21k.hosts import world

ENVIRONMENT = {"IM21K_COORDINATOR": "a:7000", "IM21K_HOSTS": "3", "IM21K_HOST": "2"}


def test_options_environment_and_nothing():
  assert world.described(None, None, None, environ={}) is None
  assert world.described(None, "1", None, environ={}) is None
  found = world.described("10.0.0.1:7000", "2", 1, 5.0, environ={})
  assert found == world.World(1, 2, "10.0.0.1:7000", 5.0)
  assert found.address == ("10.0.0.1", 7000)
  found = world.described(None, None, None, environ=ENVIRONMENT)
  assert found == world.World(2, 3, "a:7000")
  # What is typed counts more.
  found = world.described("[fe80::1]:9", None, 0, environ=ENVIRONMENT)
  assert (found.host, found.hosts, found.address) == (0, 3, ("fe80::1", 9))


@pytest.mark.parametrize(
  ("options", "words"),
  [
    (("a:1", "2", None), "--host missing"),
    ((None, "2", 0), "--coordinator missing"),
    (("a", "2", 0), "coordinator is 'a'"),
    (("a:0", "2", 0), "coordinator is 'a:0'"),
    (("a:99999", "2", 0), "coordinator is"),
    (("a:1", "two", 0), "hosts is 'two'"),
    (("a:1", "0", 0), "hosts is 0"),
    (("a:1", "5000", 0), "hosts is 5000"),
    (("a:1", "2", 2), "host is 2, but must be from 0 to 1"),
    (("a:1", "2", 0, 0.0), "heartbeat is 0"),
    ((None, None, None, 5.0), "heartbeat is for several hosts"),
    ((None, "auto", None), "hosts is auto"),
  ],
)
def test_what_is_wrong_is_named(options, words, monkeypatch):
  for name in ("SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri", "KUBERNETES_SERVICE_HOST"):
    monkeypatch.delenv(name, raising=False)
  with pytest.raises(ValueError, match=words):
    world.described(*options, environ={})


def test_slurm_says_it_all(monkeypatch):
  slurm = {
    "SLURM_JOB_ID": "17", "SLURM_STEP_NODELIST": "node[07-09]", "SLURM_NTASKS": "3",
    "SLURM_PROCID": "1", "SLURM_LOCALID": "0", "SLURM_STEP_NUM_NODES": "3",
  }  # fmt: skip
  for name, value in slurm.items():
    monkeypatch.setenv(name, value)
  found = world.described(None, "auto", None)
  assert (found.host, found.hosts) == (1, 3)
  assert found.address[0] == "node07"
  assert world.described(None, None, None, environ={"IM21K_HOSTS": "auto"}) == found
  assert world.described(None, "1", 0, environ={"IM21K_HOSTS": "auto"}) is None
