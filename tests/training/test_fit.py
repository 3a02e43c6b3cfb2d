"""The policies that fit: against all choices, and what is compiled to confirm them."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from im21k.models.remat import LAG, policies
from im21k.training import fit
from im21k.training.segment_costs import Cost

sizes = st.integers(0, 20)
costs = st.lists(
  st.builds(
    lambda input, inner, workspace, gradients, flops: Cost(
      input, input + inner, input + inner + workspace, gradients, flops
    ),
    sizes, sizes, sizes, st.integers(0, 3), st.integers(0, 50),
  ),
  min_size=1, max_size=7,
)  # fmt: skip


def need(costs, chosen):
  """The largest need over the backward passes of all segments."""
  kept, most = 0, 0
  for index, (cost, policy) in enumerate(zip(costs, chosen, strict=True)):
    reducing = sum(one.gradients for one in costs[index : index + LAG + 1])
    most = max(most, kept + cost.workspace + reducing)
    kept += cost.kept if policy == "none" else cost.input
  return most


def flops(costs, chosen):
  return sum(c.flops for c, p in zip(costs, chosen, strict=True) if p == "block")


@settings(max_examples=60)
@given(costs, st.integers(0, 160))
def test_no_other_choice_recomputes_less(costs, budget):
  # The last is the head, which keeps everything.
  count = len(costs) - 1
  every = [
    (*chosen, "none") for chosen in itertools.product(("none", "block"), repeat=count)
  ]
  fitting = [chosen for chosen in every if need(costs, chosen) <= budget]
  found = fit.least(costs, count, budget)
  if not fitting:
    assert found is None
    return
  assert found is not None
  least, estimate, chosen = found
  assert (
    least == flops(costs, (*chosen, "none")) == min(flops(costs, c) for c in fitting)
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
  costs = [Cost(1, 10, 12, 0, flops) for flops in (5, 1, 7)] + [Cost(0, 0, 1, 0, 0)]
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
