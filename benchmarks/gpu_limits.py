"""Part (b) of `gpu.py`: the planned batch trains in limited memory, with the same loss.

The limit is that of the pool of JAX's allocator, by its share of the card's memory. It
binds if an array that is larger is refused, and a batch that needs more.
"""

from typing import Any

from gpu_bench import Bench
from gpu_processes import Child, Deadline, Failed
from gpu_programs import Limit, Program

_STEPS = 6
_BEYOND_MIB = 64


def run(bench: Bench, deadline: Deadline) -> None:
  """A row of `gpu-limits` for each limit; all processes run at the same time."""
  started = []
  for limit in bench.sizes.limits:
    with bench.noting("b", f"{limit.mib} MiB"):
      program = planned(bench, limit)
      children = (
        _start(bench, limit, program, limit.mib + _BEYOND_MIB),
        _start(bench, None, program, 0),
        _too_large(bench, limit),
      )
      started.append((limit, program, children))
  for limit, program, children in started:
    with bench.noting("b", f"{limit.mib} MiB"):
      _row(bench, limit, program, children, deadline)


def planned(bench: Bench, limit: Limit) -> Program:
  """The largest candidate whose compiled program fits, or else the smallest.

  Raises:
    Failed: none was compiled.
  """
  found, reason = None, Failed("there are no candidates")
  for program in limit.programs:
    try:
      needed = bench.compiled(program)["needed_mib"]
    except Failed as error:
      reason = error
      continue
    found = program
    if needed is None or needed <= limit.mib:
      return program
  if found is None:
    raise reason
  return found


def _too_large(bench: Bench, limit: Limit) -> Child | Failed:
  try:
    bench.compiled(limit.too_large)
    return _start(bench, limit, limit.too_large, 0)
  except Failed as error:
    return error


def _start(bench: Bench, limit: Limit | None, program: Program, array: int) -> Child:
  """A process that trains; `limit` None: in the whole memory."""
  options = bench.options(
    program, f"{limit.mib if limit else 'un'}limited", steps=_STEPS, array_mib=array
  )
  variables = {}
  if limit and bench.memory:
    variables = {
      "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{limit.mib * 2**20 / bench.memory:.8f}",
      "XLA_PYTHON_CLIENT_PREALLOCATE": "true",
    }
  return bench.child("limited", options, **variables)


def _row(
  bench: Bench,
  limit: Limit,
  program: Program,
  children: tuple[Child, Child, Child | Failed],
  deadline: Deadline,
) -> None:
  own, free, large = children
  array = _answer(own, "array", deadline)
  trained, whole, beyond = (_answer(c, "steps", deadline) for c in children)
  for child in (own, free, large):
    if isinstance(child, Child):
      child.kill()
  bench.rows.write(
    "gpu-limits",
    limit_mib=limit.mib,
    pool_mib=trained.get("limit_mib"),
    **program.columns,
    needed_mib=bench.compiled(program)["needed_mib"],
    peak_mib=trained.get("peak_mib"),
    trained="losses" in trained,
    **compare(trained.get("losses"), whole.get("losses")),
    array_refused="exhausted" in array,
    too_large=str(limit.too_large),
    too_large_refused="exhausted" in beyond,
    reason=trained.get("exhausted", trained.get("failed")),
    reason_in_whole_memory=whole.get("exhausted", whole.get("failed")),
    refusal=beyond.get("exhausted", beyond.get("failed")),
  )


def _answer(child: Child | Failed, name: str, deadline: Deadline) -> dict[str, Any]:
  """What a child says, or why it says nothing: one that fails costs no other's."""
  try:
    if isinstance(child, Failed):
      raise child
    answer: dict[str, Any] = child.receive(deadline.left())[name]
    return answer
  except Failed as error:
    return {"failed": str(error)}


def compare(limited: list[float] | None, whole: list[float] | None) -> dict[str, Any]:
  """Whether two runs have the same losses, to the bit, and how far they differ."""
  if not limited or not whole:
    return {"same_losses": False}
  pairs = list(zip(limited, whole, strict=True))
  return {
    "same_losses": all(a == b for a, b in pairs),
    "largest_difference": max(abs(a - b) / abs(b) for a, b in pairs),
    "last_loss": limited[-1],
  }
