"""Part (c) of `gpu.py`: images a second, beside PyTorch's with the same net.

Every net is ready in a process of its own; they take turns on the card, round by round,
so that clocks and temperature are the same for all.
"""

import statistics

from gpu_bench import Bench
from gpu_plan import PATIENCE, estimate, warm_up
from gpu_processes import Child, Deadline
from gpu_programs import Program

_LEAST_S = 5.0  # for a round of all nets
_SAME_LOSS = 0.02  # bfloat16 is rounded at other places
OURS, EAGER, COMPILED = "im21k", "PyTorch", "PyTorch, torch.compile"


class Comparison:
  """The processes of PyTorch, started early: `torch.compile` takes a minute or more."""

  def __init__(self, bench: Bench):
    self._bench = bench
    self._torch: dict[tuple[Program, str], Child] = {}
    if "c" not in bench.parts:
      return
    if bench.missing["torch"]:
      bench.rows.missing("c", "PyTorch", "torch cannot be imported: install it")
      return
    for program in bench.sizes.compared:
      for net in (EAGER,) if bench.toy else (COMPILED, EAGER):
        options = bench.options(program, net, torch_compile=net == COMPILED)
        child = bench.child("torch", options, JAX_PLATFORMS="cpu")
        self._torch[program, net] = child

  def run(self, bench: Bench, deadline: Deadline) -> None:
    """Rows of `gpu-speed`: for each program, one for each net."""
    ours: dict[Program, Child] = {}
    for program in bench.sizes.compared:
      with bench.noting("c", f"{OURS} {program}"):
        bench.compiled(program)
        ours[program] = bench.child("measure", bench.options(program, "speed"))
    for number, program in enumerate(bench.sizes.compared):
      with bench.noting("c", f"compare {program}"):
        share = deadline.left() / (len(bench.sizes.compared) - number)
        self._compare(program, ours.get(program), deadline.within(share))

  def _compare(self, program: Program, own: Child | None, deadline: Deadline) -> None:
    """Rounds of all nets that could be made ready; one that fails drops out."""
    nets = {OURS: own} if own else {}
    nets |= {net: child for (of, net), child in self._torch.items() if of == program}
    ready: dict[str, dict] = {}
    seconds: dict[str, list[float]] = {}
    steps: dict[str, int] = {}
    try:
      for net, child in nets.items():
        with self._bench.noting("c", f"{net} {program}"):
          ready[net] = child.receive(deadline.left() * PATIENCE)
      for net in list(ready):
        with self._bench.noting("c", f"{net} {program}"):
          steps[net] = warm_up(nets[net], self._bench.sizes.round_s, deadline)
      for _ in range(self._bench.sizes.rounds):
        if not deadline.has(_LEAST_S):
          break
        for net in list(steps):
          answer: dict = {}
          with self._bench.noting("c", f"{net} {program}"):
            answer = nets[net].ask(deadline.left(60), steps=steps[net])
          if not answer:
            del steps[net]
            continue
          seconds.setdefault(net, []).append(answer["seconds"] / steps[net])
          ready[net] |= answer
    finally:
      for child in nets.values():
        child.kill()
    self._write(program, seconds, ready)

  def _write(
    self, program: Program, seconds: dict[str, list[float]], ready: dict[str, dict]
  ) -> None:
    peers = [net for net in seconds if net != OURS]
    best = min(peers, key=lambda net: statistics.median(seconds[net]), default=None)
    first = {net: ready[net]["first_loss"] for net in seconds}
    if first and max(first.values()) > min(first.values()) * (1 + _SAME_LOSS):
      reason = f"the nets differ: their first losses are {first}"
      self._bench.rows.missing("c", f"compare {program}", reason)
    for net, each in seconds.items():
      rate = program.batch / statistics.median(each)
      own = net == OURS
      compiled = self._bench.compiled(program) if own else ready[net]
      self._bench.rows.write(
        "gpu-speed",
        dtype=program.dtype,
        batch=program.batch,
        net=net,
        images_per_s=round(rate, 1),
        best_images_per_s=round(program.batch / min(each), 1),
        relative=_relative(seconds[best], each) if best and own else None,
        against=best if own else None,
        peak_mib=ready[net].get("peak_mib"),
        compile_s=compiled.get("compile_s"),
        first_loss=round(first[net], 5),
        rounds=len(each),
        **(estimate(compiled, rate) if own else {}),
      )


def _relative(reference: list[float], own: list[float]) -> float:
  """Median over rounds of another's time over ours."""
  pairs = zip(reference, own, strict=False)  # One may have dropped out.
  return round(statistics.median(a / b for a, b in pairs), 3)
