"""The largest need of memory: a program by hand, and brute force."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from im21k.planning.peak import peak
from im21k.planning.program import Program


def test_the_peak_is_followed_buffer_by_buffer(program):
  highest = peak(program)
  # While `dw` is made: itself and the product, which the new state is made of, and the
  # recomputed output.
  found = (highest.kept, highest.gradients, highest.workspace)
  assert found == (0, 1152 + 448, 16 * 8 * 25 * 4)
  assert "conv1" in highest.at


def test_what_the_forward_half_made_is_kept(text):
  """Even where XLA put a mask that only backprop needs into a pass of it."""
  mask = (
    "  %mask = pred[16,8,5,5]{3,2,1,0} fusion(%x), kind=kLoop, calls=%f, "
    'metadata={op_name="jit(step)/transpose(jvp(net))/conv1/gt"}\n'
  )
  text = text.replace("  %conv.1 =", f"{mask}  %conv.1 =")
  text = text.replace("custom-call(%x, %again)", "custom-call(%y, %again, %mask)")
  highest = peak(Program(text))
  y = 16 * 8 * 25 * 4
  assert (highest.kept, highest.workspace) == (y + y // 4, y)
  assert "conv1" in highest.at


def brute_peak(steps):
  """Bytes alive at each step of [(size, last use), …], one made at each."""
  alive = [
    sum(size for made, (size, last) in enumerate(steps) if made <= now <= last)
    for now in range(len(steps))
  ]
  return max(alive)


@given(st.integers(0, 999), st.integers(1, 12))
def test_the_peak_equals_brute_force(seed, count):
  """A chain of calls, each reading some of those before."""
  rng = np.random.default_rng(seed)
  lines, last = [], list(range(count))
  sizes = [int(n) for n in rng.integers(1, 50, count)]
  for index in range(count):
    reads = [k for k in range(index) if rng.random() < 0.3]
    for k in reads:
      last[k] = index
    operands = ", ".join(f"%b{k}" for k in reads)
    lines.append(f"  %b{index} = u8[{sizes[index]}]{{0}} custom-call({operands})")
  body = "\n".join(lines)
  text = f"HloModule m, is_scheduled=true\n\nENTRY %main () -> () {{\n{body}\n"
  text += "  ROOT %out = () tuple()\n}\n"
  highest = peak(Program(text))
  total = highest.kept + highest.gradients + highest.workspace
  assert total == brute_peak(list(zip(sizes, last, strict=True)))
