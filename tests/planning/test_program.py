"""Arithmetic, traffic, overlap and time of a program whose numbers are all known."""

import math

import pytest

from im21k.planning.network import Network, Wires
from im21k.planning.program import Program

CONV = 2 * 3 * 3 * 4 * 8 * 16 * 5 * 5
DOT = 2 * 16 * 7 * 8 * 5 * 5


def test_flops(program):
  flops = {i.name: program.flops(i) for i in program.instructions}
  assert {name: n for name, n in flops.items() if n} == {
    "conv.1": CONV, "dot": DOT, "again": CONV, "dw": CONV,
  }  # fmt: skip
  assert program.total_flops() == 3 * CONV + DOT
  assert program.recomputed_flops() == CONV


def add(text, *lines):
  """The program with lines in front of the collective's end."""
  end = "  %done ="
  return Program(text.replace(end, "".join(f"  {line}\n" for line in lines) + end))


def test_image_gradients_count_as_their_convolution(text):
  program = add(
    text,
    "%dx = f32[16,4,5,5]{3,2,1,0} custom-call(%again, %w), dim_labels=bf01_oi01->bf01, "
    'custom_call_target="__cudnn$convBackwardInput"',
  )
  assert program.total_flops() == 4 * CONV + DOT
  assert program.all_reduces()[0].convolutions == 2


def test_image_gradients_in_the_form_of_a_forward_convolution_count(text):
  """XLA writes those of pointwise kernels so; a recomputed forward one is none."""
  origin = "jit(step)/transpose(jvp(net))/jvp()/checkpoint/conv1/conv/transpose()/conv"
  program = add(
    text,
    "%dx = f32[16,4,5,5]{3,2,1,0} custom-call(%again, %w), dim_labels=bf01_io01->bf01, "
    f'custom_call_target="__cudnn$convForward", metadata={{op_name="{origin}"}}',
  )
  assert program.all_reduces()[0].convolutions == 2
  assert program.recomputed_flops() == CONV


def test_what_runs_beside_a_collective(program):
  first, second = program.all_reduces()
  # Of the two convolutions between start and end one is backprop's own.
  assert (first.name, first.bytes, first.convolutions) == ("start", 16 * 7 * 4, 1)
  assert first.flops == 2 * CONV
  assert (second.name, second.bytes, second.convolutions) == ("late", 8 * 4 * 9 * 4, 0)
  assert program.has_collectives()


def test_time_by_arithmetic_alone(program):
  """The first collective takes longer than what runs beside it, the second waits."""
  link = 448 / 10.0  # the first's bytes in ten seconds
  wires = Wires(2, link / 1e9)  # two devices send each byte once
  computing, waiting = program.seconds(CONV / 3.0, math.inf, wires)
  assert computing == pytest.approx(3 * 3 + 3 * DOT / CONV)
  assert waiting == pytest.approx((10 - 6) + 1152 / link)


def test_time_by_traffic(program):
  computing, _ = program.seconds(math.inf, 1.0, Wires(1, 1.0))
  x, w, y = 16 * 4 * 25 * 4, 8 * 4 * 9 * 4, 16 * 8 * 25 * 4
  convolutions = (x + w + y + 1024) + (x + w + y) + (x + y + w)
  assert computing == convolutions + (y + w + 448) + (448 + 20) + (w + w + 448 + w)


def test_collectives_within_hosts_and_between_them_do_not_wait_for_each_other(text):
  """A gather within hosts begins while the first reduction crosses the network."""
  lines = (
    "%early = (f32[2]{0}, f32[4]{0}) all-gather-start(%part), "
    "replica_groups={{0,1},{2,3}}",
    "%gathered = f32[4]{0} all-gather-done(%early)",
  )
  program = add(
    text, "%part = f32[2]{0} slice(%wide), slice={[0:2]}", *lines,
    "%again.2 = f32[4]{0} reduce-scatter(%gathered), replica_groups={{0,1},{2,3}}",
  )  # fmt: skip
  slow = Wires(2, 1e-9, Network(2, 8e-9))  # a byte a second each
  _, waiting = program.seconds(math.inf, math.inf, slow)
  first = slow.seconds(program.exchanges(2, 2)[0])
  gather, scatter = 16 / 2, 16 / 2
  assert waiting > first > 448 > gather + scatter
  last = slow.seconds(program.exchanges(2, 2)[-1])
  assert waiting == pytest.approx(first + last)
  # Within one host all wait for one link.
  one = Wires(4, 1e-9)
  kinds = [c.kind for c in program.exchanges(4, 1)]
  assert kinds == ["all-reduce", "all-gather", "reduce-scatter", "all-reduce"]
  _, waiting = program.seconds(math.inf, math.inf, one)
  assert waiting == pytest.approx(1.5 * (448 + 1152) + gather + scatter)
  assert program.blocking() == 2 and program.blocking("gradients") == 1


BRANCH = "(f32[16,2,5,5]{3,2,1,0}, f32[2]{0}) fusion"

CASES = f"{BRANCH.removesuffix('fusion')}conditional(%zero, %again, %again)"


def test_a_fusion_reads_the_part_that_it_takes(text):
  program = add(
    text,
    "%zero = f32[] constant(0)",
    f"%two = {BRANCH}(%again, %zero), kind=kInput, calls=%branch",
    f"%lost = {BRANCH}(%again, %zero), kind=kInput, calls=%elsewhere",
    f'%due = {CASES}, metadata={{op_name="jit(take)/average/cond"}}',
    f'%mixed = {CASES}, metadata={{op_name="jit(take)/cond"}}',
  )
  found = {i.name: program.traffic(i) for i in program.instructions}
  assert found["zero"] == found["due"] == 0  # An average is updated in few steps.
  assert found["mixed"] == 4 + 16 * 8 * 25 * 4 + (16 * 2 * 25 + 2) * 4
  assert found["two"] == 16 * 8 * 25 * 4 // 4 + 4 + (16 * 2 * 25 + 2) * 4
  # A computation that the text does not have is taken to read all.
  assert found["lost"] == 16 * 8 * 25 * 4 + 4 + (16 * 2 * 25 + 2) * 4


@pytest.mark.parametrize(("width", "share"), [(2, 1 / 2), (4, 1), (6, 1)])
def test_an_operand_that_is_given_twice_is_read_once_at_most(text, width, share):
  """Of both arguments a slice is read; they may be the same tensor."""
  part = f"f32[16,{width},5,5]{{3,2,1,0}}"
  computation = f"""
%twice (a: f32[16,8,5,5], b: f32[16,8,5,5]) -> f32[] {{
  %a = f32[16,8,5,5]{{3,2,1,0}} parameter(0)
  %b = f32[16,8,5,5]{{3,2,1,0}} parameter(1)
  %a.1 = {part} slice(%a)
  %b.1 = {part} slice(%b)
  ROOT %ab = {part} add(%a.1, %b.1)
}}
"""
  text = text.replace("\nENTRY", f"{computation}\nENTRY")
  program = add(text, f"%two = {part} fusion(%again, %again), calls=%twice")
  (two,) = (i for i in program.instructions if i.name == "two")
  assert program.traffic(two) == 16 * 25 * 4 * (8 * share + width)


def test_a_product_in_a_fusion_counts(text):
  """XLA writes the kernels of products itself on cards from Ampere on."""
  computation = """
%gemm (l: f32[16,8,5,5], r: f32[16,9]) -> f32[8,5,5,9] {
  %l = f32[16,8,5,5]{3,2,1,0} parameter(0)
  %r = f32[16,9]{1,0} parameter(1)
  ROOT %d = f32[8,5,5,9]{3,2,1,0} dot(%l, %r), lhs_contracting_dims={0}, \
rhs_contracting_dims={0}
}
"""
  text = text.replace("\nENTRY", f"{computation}\nENTRY")
  program = add(
    text,
    "%r = f32[16,9]{1,0} bitcast(%dot)",
    "%two = f32[8,5,5,9] fusion(%again, %r), kind=kCustom, calls=%gemm, "
    'metadata={op_name="jit(step)/rematted_computation/dot"}',
  )
  (two,) = (i for i in program.instructions if i.name == "two")
  assert program.flops(two) == 2 * 8 * 25 * 9 * 16
  assert program.total_flops() == 3 * CONV + DOT + program.flops(two)
  assert program.recomputed_flops() == CONV + program.flops(two)
