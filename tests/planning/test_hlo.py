"""Reading scheduled programs: a small one by hand, with every number known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from im21k.planning import hlo as programs

# A convolution (2·3·3·4·8·16·5·5 FLOPs, 16 images of 5²), its two gradients, a product,
# and a collective that is under way during one of the gradients.
TEXT = """HloModule step, is_scheduled=true, entry_computation_layout={()->f32[]}

%sum (a: f32[], b: f32[]) -> f32[] {
  ROOT %add = f32[] add(%a, %b)
}

ENTRY %main (x: f32[16,4,5,5], w: f32[8,4,3,3]) -> (f32[8,4,3,3]) {
  %x = f32[16,4,5,5]{3,2,1,0} parameter(0)
  %w = f32[8,4,3,3]{3,2,1,0} parameter(1)
  %conv.1 = (f32[16,8,5,5]{3,2,1,0}, u8[1024]{0}) custom-call(%x, %w), window={size=3x3 pad=1_1x1_1}, dim_labels=bf01_oi01->bf01, custom_call_target="__cudnn$convForward", metadata={op_name="jit(step)/jvp(net)/conv1/conv"}
  %y = f32[16,8,5,5]{3,2,1,0} get-tuple-element(%conv.1), index=0
  %dot = f32[16,7]{1,0} custom-call(%y, %w), custom_call_target="__cublas$gemm", backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1","2","3"]}}}
  %wide = (f32[2]{0}, /*index=1*/f32[3]{0}) fusion(%dot), kind=kInput, calls=%f
  %start = START all-reduce-start(%dot), to_apply=%sum, metadata={op_name="jit(step)/transpose(jvp(net))/gradients/psum"}
  %again = f32[16,8,5,5]{3,2,1,0} custom-call(%x, %w), window={size=3x3 pad=1_1x1_1}, dim_labels=bf01_oi01->bf01, custom_call_target="__cudnn$convForward", metadata={op_name="jit(step)/transpose(jvp(net))/checkpoint/rematted_computation/conv1/conv"}
  %dw = (f32[8,4,3,3]{3,2,1,0}, u8[0]{0}) custom-call(%x, %again), window={size=3x3 pad=1_1x1_1}, dim_labels=bf01_oi01->bf01, custom_call_target="__cudnn$convBackwardFilter", metadata={op_name="jit(step)/transpose(jvp(net))/conv1/conv"}
  %dw.0 = f32[8,4,3,3]{3,2,1,0} get-tuple-element(%dw), index=0
  %done = f32[16,7]{1,0} all-reduce-done(%start)
  %late = f32[8,4,3,3]{3,2,1,0} all-reduce(%dw.0), to_apply=%sum, metadata={op_name="jit(step)/gradients/psum"}
  %new = f32[8,4,3,3]{3,2,1,0} fusion(%w, %late, %done), kind=kLoop, calls=%update
  ROOT %out = (f32[8,4,3,3]{3,2,1,0}) tuple(%new)
}
"""  # noqa: E501
CONV = 2 * 3 * 3 * 4 * 8 * 16 * 5 * 5
DOT = 2 * 16 * 7 * 8 * 5 * 5


@pytest.fixture(params=["f32[16,7]{1,0}", "(f32[16,7]{1,0}, f32[16,7]{1,0})"])
def program(request):
  """In the forms of jaxlib 0.10 and 0.12."""
  return programs.Program(TEXT.replace("START", request.param))


def test_flops(program):
  flops = {i.name: program.flops(i) for i in program.instructions}
  assert {name: n for name, n in flops.items() if n} == {
    "conv.1": CONV, "dot": DOT, "again": CONV, "dw": CONV,
  }  # fmt: skip
  assert program.total_flops() == 3 * CONV + DOT
  assert program.recomputed_flops() == CONV


def test_image_gradients_count_as_their_convolution():
  text = TEXT.replace("START", "f32[16,7]{1,0}").replace(
    "%done =",
    '%dx = f32[16,4,5,5]{3,2,1,0} custom-call(%again, %w), dim_labels=bf01_oi01->bf01, '
    'custom_call_target="__cudnn$convBackwardInput"\n  %done =',
  )  # fmt: skip
  program = programs.Program(text)
  assert program.total_flops() == 4 * CONV + DOT
  assert program.all_reduces()[0].convolutions == 2


def test_what_runs_beside_a_collective(program):
  first, second = program.all_reduces()
  # Of the two convolutions between start and end one is backprop's own.
  assert (first.name, first.bytes, first.convolutions) == ("start", 16 * 7 * 4, 1)
  assert first.flops == 2 * CONV
  assert (second.name, second.bytes, second.convolutions) == ("late", 8 * 4 * 9 * 4, 0)
  assert program.has_collectives()


def test_time_by_arithmetic_alone(program):
  """The first collective takes longer than what runs beside it; the second waits."""
  link = 448 / 10.0  # the first's bytes in ten seconds
  computing, waiting = program.seconds(CONV / 3.0, math.inf, link)
  assert computing == pytest.approx(3 * 3 + 3 * DOT / CONV)
  assert waiting == pytest.approx((10 - 6) + 1152 / link)


def test_time_by_traffic(program):
  computing, _ = program.seconds(math.inf, 1.0, math.inf)
  x, w, y = 16 * 4 * 25 * 4, 8 * 4 * 9 * 4, 16 * 8 * 25 * 4
  convolutions = (x + w + y + 1024) + (x + w + y) + (x + y + w)
  assert computing == convolutions + (y + w + 448) + (448 + 20) + (w + w + 448 + w)


def test_the_peak_is_followed_buffer_by_buffer(program):
  peak = programs.peak(program)
  # While `dw` is made: itself and the product, which the new state is made of, and the
  # recomputed output.
  found = (peak.kept, peak.gradients, peak.workspace)
  assert found == (0, 1152 + 448, 16 * 8 * 25 * 4)
  assert "conv1" in peak.at


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
  peak = programs.peak(programs.Program(text))
  total = peak.kept + peak.gradients + peak.workspace
  assert total == brute_peak(list(zip(sizes, last, strict=True)))


def test_a_loop_over_elements_works_in_place():
  text = """HloModule m, is_scheduled=true

ENTRY %main () -> () {
  %a = u8[100]{0} custom-call()
  %b = u8[100]{0} fusion(%a), kind=KIND, calls=%f
  %c = u8[1]{0} custom-call(%b)
  ROOT %out = () tuple()
}
"""
  for kind, expected in (("kLoop", 101), ("kInput", 200)):
    peak = programs.peak(programs.Program(text.replace("KIND", kind)))
    assert peak.workspace + peak.kept == expected


def test_another_text_is_refused():
  with pytest.raises(ValueError, match="not the text of a scheduled XLA program"):
    programs.Program("HloModule jit_f\n")
  with pytest.raises(ValueError, match="this line of the program is not understood"):
    programs.Program(
      "HloModule m, is_scheduled=true\n\nENTRY %m () -> () {\n  what is this\n}\n"
    )
