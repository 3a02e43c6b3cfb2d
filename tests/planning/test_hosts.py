"""Several hosts: how the batch is shared, and what each way to send gradients costs."""

import dataclasses
import json
import types

import pytest

from im21k.planning import advice, compiler, hosts, network, plan, wording
from im21k.planning.hosts import AS_IT_IS, HIERARCHICAL, TOGETHER
from im21k.planning.network import Network
from im21k.training import configs

WIRE, SPLIT = "wire_dtype bfloat16", "split_head True"
NARROW = {"model.width": 0.125, "image_size": 32, "model.remat": "none"}


@pytest.fixture
def asked(compiled, monkeypatch):
  """What the compiler is asked for; its programs are the one by hand."""
  calls = []

  def compile_one(self, experiment, batch):
    calls.append((experiment.wire_dtype, experiment.split_head, batch, self.network))
    text = compiled.text
    if experiment.wire_dtype == "bfloat16":  # Whose arrays are half as long.
      text = text.replace("%dot = f32[16,7]", "%dot = bf16[16,7]")
    return dataclasses.replace(
      compiled, text=text, experiment=experiment, card=self.card, batch=batch,
      limit=self.limit, network=self.network,
    )  # fmt: skip

  monkeypatch.setattr(compiler.Compiler, "_compile_as_it_is", compile_one)
  monkeypatch.setattr(compiler, "_describe", lambda *given: calls.append(given[1:]))
  return calls


def config(tmp_path, **settings):
  path = tmp_path / "config.py"
  document = configs.load("demo", {"total": {"steps": 1000}, **settings}).to_dict()
  path.write_text(f"def get_config():\n  return {document!r}\n")
  return path


def build_of(made, batch):
  return lambda each, on: made.among(on).compile_all([(one, batch) for one in each])


def test_one_host_is_a_plan_without_hosts(asked, tmp_path):
  path = config(tmp_path, batch_size=64)
  plain = plan.plan(config=path, batch=16)
  for given in ({"hosts": 1}, {"hosts": 1, "network_gbs": 10.0}):
    one = plan.plan(config=path, batch=16, **given)
    assert json.dumps(one) == json.dumps(plain)
    assert plan.text(one) == plan.text(plain)
  assert "host" not in plan.text(plain) and plain["hosts"] == 1


def test_hosts_are_described_with_their_devices(monkeypatch):
  topology = {}

  def describe(name, **fields):
    topology.update(fields)
    return types.SimpleNamespace(devices=[])

  monkeypatch.setattr(compiler, "_check_compiler", lambda: None)
  monkeypatch.setattr(compiler.topologies, "get_topology_desc", describe)
  compiler._describe(plan.cards.get("gtx1650"), 4, 8)
  assert topology["topology"] == "8x1x4"


def test_each_way_is_compiled_once_for_the_hosts(asked, tmp_path):
  path = config(tmp_path, batch_size=256)
  result = plan.plan(config=path, batch=16, hosts=8, network_gbs=25.0)
  described = [one for one in asked if len(one) == 2]
  assert described == [(4, 8), (4, 8)]  # four devices on each of eight hosts
  eight = Network(8, 25.0)
  assert sorted(one for one in asked if len(one) == 4 and one[3] == eight) == [
    ("bfloat16", False, 16, eight), ("bfloat16", True, 16, eight),
    ("float32", False, 16, eight), ("float32", True, 16, eight),
  ]  # fmt: skip
  (hierarchical,) = [o for o in asked if len(o) == 4 and o[3].is_hierarchical]
  assert hierarchical[:3] == ("float32", False, 16) and hierarchical[3].hosts == 8
  ways = [row["way"] for row in result["over_network"]]
  assert ways == [AS_IT_IS, WIRE, SPLIT, TOGETHER, HIERARCHICAL]
  assert {row["gbit_s"] for row in result["over_network"]} == {25.0}


def test_a_config_that_has_a_way_already_is_compared_with_going_without(asked):
  made = compiler.Compiler(plan.cards.get("gtx1650"), 0, Network(2))
  own = configs.load("demo", {"wire_dtype": "bfloat16", "loss.name": "smoothed"})
  result = hosts.report(made.compile(own, 8), build_of(made, 8))
  ways = dict.fromkeys(row["way"] for row in result["over_network"])
  assert [*ways] == [AS_IT_IS, "wire_dtype float32", HIERARCHICAL]
  assert "split_head divides them" in result["no_way"][SPLIT]
  alone = own.changed({"devices": 1})
  rows = hosts.report(made.compile(alone, 8), build_of(made, 8))["over_network"]
  assert HIERARCHICAL not in {row["way"] for row in rows}  # There is nothing within.


def test_without_a_speed_there_is_a_table_of_four(asked, tmp_path):
  path = config(tmp_path, batch_size=256)
  result = plan.plan(config=path, batch=16, hosts=8)
  rows = [row for row in result["over_network"] if row["way"] == AS_IT_IS]
  assert [row["gbit_s"] for row in rows] == [1, 10, 25, 100]
  assert rows[1]["step_s"] == result["step_s"] and result["network_gbit_s"] == 10
  shares = [row["waiting_share"] for row in rows]
  assert shares == sorted(shares, reverse=True) and shares[0] > shares[-1] > 0
  text = plan.text(result)
  for part in (
    "8 hosts of 4 x gtx1650, 16 images each", "as no --network-gbs is given",
    "1 Gbit/s (0.125 GB/s)", "100 Gbit/s (12.5 GB/s)", "at 10 Gbit/s between hosts",
    "compiled for 8 described hosts", "2 collectives of gradients, 1 asynchronous",
  ):  # fmt: skip
    assert part in text, part
  given = plan.text(plan.plan(config=path, batch=16, hosts=8, network_gbs=10.0))
  assert "no --network-gbs" not in given and "12.5 GB/s" not in given


def test_half_the_bytes_wait_shorter(asked, tmp_path):
  path = config(tmp_path, batch_size=256)
  rows = plan.plan(config=path, batch=16, hosts=8, network_gbs=0.001)["over_network"]
  plain, wire = (next(r for r in rows if r["way"] == w) for w in (AS_IT_IS, WIRE))
  whole, half = 448 + 1152, 224 + 1152
  assert wire["step_s"][0] < plain["step_s"][0]
  for row, size in ((plain, whole), (wire, half)):
    assert row["mb"] == round(2 * size / 1e6, 1)


def test_figures_are_over_all_hosts(asked, tmp_path, monkeypatch):
  monkeypatch.setattr(network, "HOP_S", 0.0)
  monkeypatch.setattr(network, "NETWORK_HOP_S", 0.0)
  path = config(tmp_path, batch_size=256, total={"steps": 10**9})
  one = plan.plan(config=path, batch=16, price="gtx1650=1", link_gbs=1e5)
  eight = plan.plan(
    config=path, batch=16, hosts=8, network_gbs=1e5, price="gtx1650=1", link_gbs=1e5
  )
  assert eight["examples"] == 8 * one["examples"]
  assert eight["images_per_s"][0] == pytest.approx(8 * one["images_per_s"][0], rel=0.2)
  assert eight["dollars"][0] == round(8 * 4 * 24 * eight["days"][0], 2) > 1


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"hosts": 3}, "batch_size 64 is over all hosts, and not divisible by 3 hosts "
     "times 4 devices: use 60 for example, or give --batch"),
    ({"hosts": 8, "accumulate": 4}, "64 is not divisible by 32 devices times accum"),
    ({"hosts": 2, "phases": {"image_sizes": [32, 48], "batch_sizes": [60, 64],
                             "until": {"steps": [1, 2]}}},
     "phases.batch_sizes 60 is over all hosts, and not divisible by 2 hosts times 4"),
  ],
)  # fmt: skip
def test_a_batch_that_hosts_cannot_share_is_refused(settings, message):
  settings = {"batch_size": 64, **settings}
  count = settings.pop("hosts")
  with pytest.raises(ValueError, match=message):
    hosts.images_each(configs.load("demo", settings), count)


def test_the_batch_is_over_all_hosts():
  own = configs.load("demo", {"batch_size": 64, "devices": 4})
  assert [hosts.images_each(own, count) for count in (1, 2, 4, 16)] == [16, 8, 4, 1]
  # One host goes on as ever.
  assert hosts.images_each(own.changed({"batch_size": 66}), 1) == 16


def test_phases_are_of_all_hosts_and_their_waiting_of_the_whole_run(asked, tmp_path):
  phases = {"image_sizes": [32, 48], "until": {"steps": [400, 600]}}
  path = config(tmp_path, image_size=64, batch_size=64, phases=phases)
  result = plan.plan(config=path, hosts=2, network_gbs=1.0)
  assert result["examples"] == 1000 * 64
  assert [row["batch"] for row in result["phases"]] == [8, 8, 8]
  assert 0 < result["waiting_share"] < 1
  mean = result["days"][0] * 86400 / 1000
  assert result["step_s"][0] == pytest.approx(mean, rel=0.1, abs=0.05)
  assert len(result["over_network"]) == 5
  bigger = plan.plan(config=path, hosts=2, network_gbs=1.0, batch=16)
  assert [row["batch"] for row in bigger["phases"]] == [16, 16, 16]


def test_all_cards_have_the_hosts_too(asked, tmp_path):
  path = config(tmp_path, batch_size=64)
  result = plan.plan(config=path, gpu="all", hosts=2, network_gbs=25.0)
  assert result["hosts"] == 2 and result["batch"] == 8
  text = plan.text(result)
  assert text.startswith("2 hosts of 4 of each, 8 images each")
  assert "25 Gbit/s (3.125 GB/s)" in text
  assert "over_network" not in result


@pytest.mark.parametrize(
  ("way", "sentence"),
  [
    (WIRE, "Up to 50% of the step waits for the network of 10 Gbit/s (1.25 GB/s): "
     "with wire_dtype bfloat16 the step is 25% shorter."),
    (TOGETHER, "with both wire_dtype and split_head changed the step is 25% shorter"),
    (HIERARCHICAL, f"with XLA_FLAGS={network.HIERARCHICAL}=4 the step is 25% shorter"),
  ],
)  # fmt: skip
def test_the_advice_names_what_shortens_the_step(way, sentence):
  row = {"gbit_s": 10.0, "fits": True}
  rows = [
    {**row, "way": AS_IT_IS, "step_s": [1.0, 2.0]},
    {**row, "way": way, "step_s": [0.75, 2.0]},
    {**row, "way": SPLIT, "step_s": [0.1, 2.0], "fits": False},
    {**row, "way": SPLIT, "step_s": [0.1, 2.0], "gbit_s": 100.0},
  ]
  result = {
    "fits": True, "hosts": 2, "devices": 4, "waiting_share": 0.5, "needed_mib": 1.0,
    "limit_mib": 2.0, "network_gbit_s": 10.0, "step_s": [1.0, 2.0],
    "over_network": rows,
  }  # fmt: skip
  assert sentence in advice.advise(result)
  slow = {**result, "over_network": [rows[0]]}
  assert advice.advise(slow).endswith("a faster network shortens that.")


@pytest.fixture(scope="module")
def two():
  """A narrow net for two hosts of two: programs, each compiled once, and rows."""
  own = configs.load("inception_bn_21k", {**NARROW, "devices": 2})
  made = compiler.Compiler(plan.cards.get("gtx1650"), 0, Network(2))
  programs = []

  def build(experiments, network):
    found = build_of(made, 16)(experiments, network)
    programs.extend(found)
    return found

  compiled = made.compile(own, 16)
  rows = hosts.report(compiled, build, [10.0])
  return compiled, programs, {**compiled.report(), **rows}


@pytest.mark.slow
def test_two_described_hosts_send_beside_backprop(two):
  """A narrow net; eight hosts of four are in docs/planning.md."""
  compiled, _, result = two
  assert result["overlapped_share"] >= 0.97
  assert result["asynchronous"] >= len(result["all_reduces"]) - 1
  gradients = [e for e in compiled.program.exchanges(2, 2) if e.bytes > 1e6]
  assert all(e.devices == 4 and e.hosts == 2 for e in gradients) and gradients
  rows = {row["way"]: row for row in result["over_network"]}
  plain = rows[AS_IT_IS]
  assert rows[WIRE]["mb"] == pytest.approx(plain["mb"] / 2, rel=0.05)
  for way in (WIRE, SPLIT, TOGETHER):
    assert rows[way]["step_s"][0] < plain["step_s"][0]
  # Of two trees between two hosts, or hierarchical: each byte once.
  assert rows[HIERARCHICAL]["mb"] <= 1.02 * plain["mb"]
  text = wording.text({**result, "advice": ""}, hosts.lines(result))
  assert text.splitlines()[1].startswith("2 hosts of 2 x gtx1650, 16 images each")


@pytest.mark.slow
def test_the_hierarchical_flag_reduces_within_hosts_first(two):
  _, programs, _ = two
  (found,) = [one for one in programs if one.network.is_hierarchical]
  kinds = {(e.kind, e.hosts) for e in found.program.exchanges(2, 2) if e.bytes > 1e6}
  assert {("reduce-scatter", 1), ("all-reduce", 2), ("all-gather", 1)} == kinds


def test_numbers_out_of_range():
  for given, message in (
    ((0, None), "hosts is 0, but must be from 1 to 256"),
    ((257, None), "hosts is 257, but must be from 1 to 256"),
    ((2, 0.0), "network_gbs is 0.0, but must be above 0 and at most 100000 Gbit/s"),
    ((2, float("nan")), "network_gbs is nan"),
    ((None, 10.0), "network between hosts: give --hosts too"),
  ):
    with pytest.raises(ValueError, match=message):
      hosts.of(*given)
  assert hosts.of(None, None) == hosts.of(1, 25.0) == network.ONE
