"""`remat="fit"`: a config and a device's memory -> the policy of each segment.

In come what each segment keeps and computes, and a way to compile the step. Out come
the policies that recompute least of those whose program fits.
"""

from collections.abc import Callable, Sequence

from im21k.models.remat import LONG_LAG, POLICIES, Remat, canonical
from im21k.training.segment_costs import Cost

# FLOPs and bytes recomputed.
Again = tuple[int, int]
# These, bytes kept, largest need, policies.
_Choice = tuple[Again, int, int, tuple[str, ...]]
_COMPILES = 3
_SLACK = 0.03  # Share of the memory that may stay free without another compilation.


def choose(
  costs: Sequence[Cost],
  segments: Sequence[str],
  fixed: int,
  limit: int,
  needed: Callable[[Remat], int],
) -> Remat:
  """The policies that recompute least of those whose program fits.

  The costs say which; the compiled program confirms it. If it needs more than the
  memory, or leaves much of it, the difference corrects the estimate.

  Args:
    costs: of each segment, in the forward order; any that follow the named ones keep
      everything.
    segments: names of the segments.
    fixed: bytes of parameters, optimizer and batch.
    limit: bytes that the program may need.
    needed: compiles the step with these policies; returns the bytes that it needs.

  Returns:
    Policies for `model.remat`; `block`, if nothing fits.
  """
  best: tuple[Again, Remat] | None = None
  budget = limit - fixed
  tried: set[Remat] = set()
  while len(tried) < _COMPILES:
    found = least(costs, len(segments), budget)
    if found is None:
      break
    again, estimate, policies = found
    remat = canonical(dict(zip(segments, policies, strict=True)), segments)
    if remat in tried or (best and again >= best[0]):
      break
    tried.add(remat)
    needs = needed(remat)
    if needs <= limit:
      best = again, remat
      if not any(again) or limit - needs < _SLACK * limit:
        break
    budget = estimate + limit - needs
  return best[1] if best else "block"


def least(
  costs: Sequence[Cost], count: int, budget: int
) -> tuple[Again, int, tuple[str, ...]] | None:
  """The policies of the first `count` segments that recompute least.

  That is the fewest FLOPs, and of those with as few the fewest bytes: `norm` costs no
  FLOPs, but passes over memory. When a segment's backward pass runs, what the segments
  before it keep is in memory, its own tensors, and the gradients that are being
  reduced. So a choice for the first segments is described by what it recomputes, the
  bytes that it keeps and the largest need until there, and only choices are followed
  that no other beats in all.

  Returns:
    What is recomputed, estimated bytes, policies; None: no choice needs `budget` bytes
    or less.
  """
  choices: list[_Choice] = [((0, 0), 0, 0, ())]
  for index, cost in enumerate(costs):
    reducing = sum(one.gradients for one in costs[index : index + LONG_LAG + 1])
    grown: list[_Choice] = []
    for (flops, size), kept, need, policies in choices:
      most = max(need, kept + cost.workspace + reducing)
      if most > budget:
        continue
      for policy in POLICIES if index < count else ("none",):
        again = (
          flops + (cost.flops if policy == "block" else 0),
          size + cost.kept["none"] - cost.kept[policy],
        )
        grown.append((again, kept + cost.kept[policy], most, (*policies, policy)))
    choices = _unbeaten(grown)
  if not choices:
    return None
  again, _, need, policies = min(choices)
  return again, need, policies[:count]


def _unbeaten(choices: list[_Choice]) -> list[_Choice]:
  """Those for which no other recomputes, keeps and needs as little."""
  left: list[_Choice] = []
  for one in sorted(choices):
    if not any(a[1] <= one[1] and a[2] <= one[2] for a in left):
      left.append(one)
  return left
