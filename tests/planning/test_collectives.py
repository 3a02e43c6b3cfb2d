"""Who takes part in a collective, by the text of a program."""

import numpy as np
import pytest

from im21k.planning import collectives, hlo
from im21k.planning.collectives import Collective


def instruction(opcode, attributes=""):
  return hlo.Instruction("x", opcode, (("f32", (8,)),), ("y",), attributes, False)


def listed(groups):
  inner = ",".join("{" + ",".join(map(str, group)) + "}" for group in groups)
  return f"channel_id=1, replica_groups={{{inner}}}, use_global_device_ids=true"


ALL = np.arange(32).reshape(1, 32)
WITHIN = np.arange(32).reshape(8, 4)
BETWEEN = WITHIN.T


@pytest.mark.parametrize(
  ("groups", "short", "expected"),
  [
    (ALL, "[1,32]<=[32]", (32, 8, 1)),
    (WITHIN, "[8,4]<=[32]", (4, 1, 1)),
    (BETWEEN, "[4,8]<=[8,4]T(1,0)", (8, 8, 4)),
    # Pairs of hosts, as XLA's hierarchical reduction has them.
    (ALL.reshape(4, 2, 4).transpose(0, 2, 1).reshape(16, 2),
     "[16,2]<=[4,2,4]T(0,2,1)", (2, 2, 4)),
    (WITHIN.reshape(4, 2, 2, 2).transpose(0, 2, 1, 3).reshape(8, 4),
     "[8,4]<=[4,2,2,2]T(0,2,1,3)", (4, 2, 2)),
  ],
)  # fmt: skip
def test_groups_of_devices_and_the_hosts_that_they_are_on(groups, short, expected):
  for text in (listed(groups.tolist()), f"replica_groups={short}, channel_id=1"):
    found = collectives.read(instruction("all-reduce-start", text), 100, 4, 8)
    assert found == Collective("all-reduce", 100, *expected), text
  devices, hosts, at_once = expected
  on_first = [group for group in groups if any(device < 4 for device in group)]
  assert len(on_first) == at_once and len(groups[0]) == devices
  assert len({device // 4 for device in groups[0]}) == hosts


def test_without_groups_all_devices_are_together():
  mesh = "replica_groups=mesh['device'=8] {'device'}, dimensions={0}"  # of jax 0.12
  for text in ("", "replica_groups={}, to_apply=%sum", mesh):
    found = collectives.read(instruction("all-reduce", text), 100, 4, 2)
    assert found == Collective("all-reduce", 100, 8, 2, 1)


def test_what_a_gather_has_in_the_end_and_a_scatter_has_at_first():
  text = listed(WITHIN)
  gather = collectives.read(instruction("all-gather-start", text), 100, 4, 8)
  scatter = collectives.read(instruction("reduce-scatter-start", text), 100, 4, 8)
  assert (gather.bytes, scatter.bytes) == (400, 100)


def test_where_collectives_begin_and_end_and_which_hold_up_the_rest():
  begins = {
    name: collectives.kind(instruction(name))
    for name in ("all-reduce", "all-gather-start", "reduce-scatter-done", "add")
  }
  assert begins == {
    "all-reduce": "all-reduce", "all-gather-start": "all-gather",
    "reduce-scatter-done": "", "add": "",
  }  # fmt: skip
  assert collectives.ends(instruction("reduce-scatter-done"))
  assert not collectives.ends(instruction("all-reduce-start"))
  assert collectives.blocks(instruction("all-reduce"))
  assert not collectives.blocks(instruction("all-reduce-start", '"is_sync":false'))
  assert collectives.blocks(instruction("all-reduce-start", '"is_sync":true'))
