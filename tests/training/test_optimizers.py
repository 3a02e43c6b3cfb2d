"""The keys of the rules: what a config says, and what is refused."""

import jax
import jax.numpy as jnp
import pytest

from im21k.training import keys, optimizers
from im21k.training.config import Config


@pytest.mark.parametrize(
  "given", [None, {}, {"momentum": 0.9, "weight_decay": 1e-5, "decay": "all"}]
)
def test_an_optimizer_without_a_name_is_sgd(document, given):
  """As configs and work folders from before there were others have it."""
  if given is not None:
    document = {**document, "optimizer": given}
  assert Config.from_dict(document).optimizer == optimizers.Sgd()


def test_the_state_of_sgd_is_that_of_before_there_were_groups():
  """So that checkpoints from before can be restored."""
  params = {"conv": {"kernel": jnp.ones((2, 2))}, "head": {"kernel": jnp.ones((2, 3))}}
  for rate, places in ((1.0, "[2]"), (0.5, "[3]")):
    state = optimizers.Sgd().make(lambda _: 0.1, rate).init(params)
    names = [jax.tree_util.keystr(k) for k, _ in
             jax.tree_util.tree_leaves_with_path(state)]  # fmt: skip
    assert names == [
      "[1].count",
      *(f"{places}.trace['{part}']['kernel']" for part in ("conv", "head")),
    ]


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_a_name_alone_chooses_a_rule_with_its_defaults(document, name):
  config = Config.from_dict({**document, "optimizer": name})
  assert config.optimizer == optimizers.OPTIMIZERS[name]()
  again = Config.from_dict(config.to_dict())
  assert again == config
  assert keys.document(config)["optimizer"]["name"] == name


@pytest.mark.parametrize(
  ("given", "message"),
  [
    ({"name": "adam"}, "optimizer.name is 'adam'; did you mean 'adamw'"),
    ({"b1": 0.5}, "optimizer.b1 needs optimizer.name adamw or lamb or muon, but it is"),
    ({"name": "lamb", "momentum": 0.5}, "needs optimizer.name sgd or muon, but it is"),
    ({"name": "adamw", "b2": 1.0}, "optimizer.b2 is 1.0, but must be"),
    ({"name": "adamw", "epsilon": 0}, "optimizer.epsilon is 0.0, but must be above 0"),
    ({"name": "muon", "ns_steps": 0}, "optimizer.ns_steps is 0, but must be"),
    ({"groups": {"head_rate": -1}}, "groups.head_rate is -1.0, but must be 0 or more"),
    ({"groups": {"heads_rate": 1}}, "did you mean 'optimizer.groups.head_rate'"),
    ({"groups": 3}, "config key 'optimizer.groups' has keys of its own"),
  ],
)
def test_wrong_keys_are_one_line(document, given, message):
  with pytest.raises(ValueError) as caught:
    Config.from_dict({**document, "optimizer": given})
  assert message in str(caught.value) and "\n" not in str(caught.value)


def test_lamb_and_a_split_head_are_refused_with_the_remedy(document):
  given = {**document, "split_head": True, "optimizer": {"name": "lamb"}}
  with pytest.raises(ValueError, match=r"norm of the whole head.* set split_head to F"):
    Config.from_dict(given)
  for name in ("sgd", "adamw", "muon"):
    assert Config.from_dict({**given, "optimizer": name}).split_head


def test_no_array_of_the_trunk_is_taken_for_one_of_the_head():
  """What a state holds under `head` is split with it: see `split_head.on_head`."""
  params = {"conv": {"kernel": jnp.ones((2, 2))}, "head": {"kernel": jnp.ones((2, 3))}}
  for keys_ in optimizers.OPTIMIZERS.values():
    state = keys_().make(lambda _: 0.1).init(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
      in_head = any(getattr(key, "key", None) == "head" for key in path)
      assert in_head == (leaf.shape == (2, 3)), jax.tree_util.keystr(path)
