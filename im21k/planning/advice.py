"""The result of `plan` -> one sentence: what to change, or that nothing need be."""

from typing import Any

from im21k.planning import hosts

_SMALL = 0.05  # A gain below a twentieth is within what the estimate cannot tell.


def advise(result: dict[str, Any]) -> str:
  """One sentence from figures that were compiled; nothing is guessed from others."""
  r = result
  largest = r.get("largest_batch")
  if not r["fits"]:
    missing = r["needed_mib"] - r["limit_mib"]
    if largest:
      return f"It needs {missing:,.0f} MiB too much: --batch {largest} fits."
    less = "a smaller --batch, " if largest is None else ""
    return (
      f"It needs {missing:,.0f} MiB too much: try {less}--remat block, --dtype "
      "bfloat16 or a card with more memory."
    )
  free = r["limit_mib"] - r["needed_mib"]
  if r["waiting_share"] > _SMALL and r["hosts"] > 1:
    return hosts.advise(r)
  if r["waiting_share"] > _SMALL:
    return (
      f"Up to {r['waiting_share']:.0%} of the step waits for gradients: a larger "
      "--batch or a faster link (--link-gbs) shortens that."
    )
  if r["recomputed_share"] > _SMALL and free > r["needed_mib"] / 2:
    return (
      f"{free:,.0f} MiB stay free while {r['recomputed_share']:.1%} of the arithmetic "
      "is done again: --remat fit does no more of it than the memory asks for."
    )
  if "fastest" in r:
    best = r["fastest"]
    gain = best["images_per_s_peak"] / r["images_per_s_peak"] - 1
    if gain > _SMALL:
      return f"--batch {best['batch']} is {gain:.0%} faster."
    return f"It fits, and no batch is faster by more than {_SMALL:.0%}."
  if largest and largest > r["batch"] and "at_largest_batch" in r:
    gain = r["at_largest_batch"]["images_per_s_peak"] / r["images_per_s_peak"] - 1
    if gain > _SMALL:
      return f"--batch {largest} fits too, and is {gain:.0%} faster."
    return f"It fits, and a larger batch is not faster by more than {_SMALL:.0%}."
  return "It fits."
