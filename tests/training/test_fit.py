"""The policies that fit: against all choices, and what is compiled to confirm them."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from im21k.models.remat import LONG_LAG, POLICIES, policies
from im21k.training import fit
from im21k.training.segment_costs import Cost

sizes = st.integers(0, 20)
costs = st.lists(
  st.builds(
    lambda input, convolved, inner, workspace, gradients, flops: Cost(
      {"none": input + convolved + inner, "norm": input + convolved, "block": input},
      input + convolved + inner + workspace, gradients, flops,
    ),
    sizes, sizes, sizes, sizes, st.integers(0, 3), st.integers(0, 50),
  ),
  min_size=1, max_size=6,
)  # fmt: skip


def need(costs, chosen):
  """The largest need over the backward passes of all segments."""
  kept, most = 0, 0
  for index, (cost, policy) in enumerate(zip(costs, chosen, strict=True)):
    reducing = sum(one.gradients for one in costs[index : index + LONG_LAG + 1])
    most = max(most, kept + cost.workspace + reducing)
    kept += cost.kept[policy]
  return most


def again(costs, chosen):
  """FLOPs and bytes recomputed."""
  pairs = list(zip(costs, chosen, strict=True))
  return (
    sum(c.flops for c, p in pairs if p == "block"),
    sum(c.kept["none"] - c.kept[p] for c, p in pairs),
  )


@settings(max_examples=60)
@given(costs, st.integers(0, 160))
def test_no_other_choice_recomputes_less(costs, budget):
  # The last is the head, which keeps everything.
  count = len(costs) - 1
  every = [(*chosen, "none") for chosen in itertools.product(POLICIES, repeat=count)]
  fitting = [chosen for chosen in every if need(costs, chosen) <= budget]
  found = fit.least(costs, count, budget)
  if not fitting:
    assert found is None
    return
  assert found is not None
  least, estimate, chosen = found
  assert (
    least == again(costs, (*chosen, "none")) == min(again(costs, c) for c in fitting)
  )
  assert estimate == need(costs, (*chosen, "none")) <= budget


@settings(max_examples=60)
@given(costs, st.integers(0, 200), st.floats(0.5, 1.5), st.integers(-20, 20))
def test_what_is_chosen_was_compiled_and_fits(costs, limit, factor, offset):
  """However wrong the estimate is; else it is the leanest."""
  segments = [f"s{k}" for k in range(len(costs) - 1)]
  tried = {}

  def needed(remat):
    assert remat not in tried
    chosen = (*policies(remat, segments).values(), "none")
    tried[remat] = round(factor * need(costs, chosen) + offset)
    return tried[remat]

  if not segments:
    return
  found = fit.choose(costs, segments, 10, limit, needed)
  assert len(tried) <= 3
  fitting = [remat for remat, size in tried.items() if size <= limit]
  assert found in fitting if fitting else found == "block"


def test_an_exact_estimate_is_compiled_once_and_a_low_one_twice():
  whole = {"none": 10, "norm": 10, "block": 1}
  nothing = dict.fromkeys(POLICIES, 0)
  costs = [Cost(whole, 12, 0, flops) for flops in (5, 1, 7)] + [Cost(nothing, 1, 0, 0)]
  tried = []

  def needed(remat, more=0):
    tried.append(remat)
    return 100 + need(costs, (*policies(remat, "abc").values(), "none")) + more

  assert fit.choose(costs, "abc", 100, 124, needed) == {"b": "block"}
  assert len(tried) == 1
  assert fit.choose(costs, "abc", 100, 124, lambda r: needed(r, 3)) == {
    "a": "block", "b": "block",
  }  # fmt: skip
  assert len(tried) == 3
  assert fit.choose(costs, "abc", 100, 200, needed) == "none" and len(tried) == 4
  assert fit.choose(costs, "abc", 100, 105, needed) == "block" and len(tried) == 4
