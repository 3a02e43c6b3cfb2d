"""A loop's turns, one after another: a program by hand."""

import re

import pytest

from im21k.planning import hlo, traffic
from im21k.planning.peak import peak
from im21k.planning.program import Program

# A product in each of three turns is added to what a loop carries, of 7 values of 4
# bytes, beside a counter and the weights.
COUNT = ', backend_config={"known_trip_count":{"n":"3"},"known_init_step":{"init":"0"}}'
TEXT = """HloModule step, is_scheduled=true

%body (state: (s32[], f32[7], f32[5,7])) -> (s32[], f32[7], f32[5,7]) {
  %state = (s32[], f32[7]{0}, f32[5,7]{1,0}) parameter(0)
  %number = s32[] get-tuple-element(%state), index=0
  %sum = f32[7]{0} get-tuple-element(%state), index=1
  %weights = f32[5,7]{1,0} get-tuple-element(%state), index=2
  %kept = f32[2,5]{1,0} fusion(%number), kind=kLoop, calls=%f
  %product = f32[2,7]{1,0} custom-call(%kept, %weights), custom_call_target="__cublas$gemm", backend_config={"lhs_contracting_dimensions":["1"]}
  %more = f32[7]{0} fusion(%sum, %product), kind=kInput, calls=%g
  %next = s32[] fusion(%number), kind=kLoop, calls=%h
  ROOT %turned = (s32[], f32[7]{0}, f32[5,7]{1,0}) tuple(%next, %more, %weights)
}

ENTRY %main (w: f32[5,7]) -> f32[7] {
  %w = f32[5,7]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %zeros = f32[7]{0} fusion(), kind=kLoop, calls=%z
  %start = (s32[], f32[7]{0}, f32[5,7]{1,0}) tuple(%zero, %zeros, %w)
  %loop = (s32[], f32[7]{0}, f32[5,7]{1,0}) while(%start), condition=%c, body=%bodyCOUNT
  %found = f32[7]{0} get-tuple-element(%loop), index=1
  ROOT %new = f32[7]{0} fusion(%found), kind=kLoop, calls=%u
}
"""  # noqa: E501


def text(count=COUNT):
  return TEXT.replace("COUNT", count)


def test_every_turn_counts():
  program = Program(text())
  assert program.total_flops() == 3 * 2 * 2 * 7 * 5
  of_turn = 4 + 2 * 5 * 4 + (2 * 5 + 5 * 7 + 2 * 7) * 4 + (7 + 2 * 7 + 7) * 4 + 8
  assert sum(traffic.by_kind(program).values()) == 7 * 4 + 3 * of_turn + 2 * 7 * 4
  names = [one.name for one in program.instructions if one.name.startswith("more")]
  assert names == ["more.loop.0", "more.loop.1", "more.loop.2"]


def test_each_turn_begins_with_what_the_last_has_made():
  by_name = {one.name: one for one in Program(text()).instructions}
  assert by_name["state.loop.0"].operands == ("start",)
  assert by_name["state.loop.2"].operands == ("turned.loop.1",)
  assert by_name["loop"].operands == ("turned.loop.2",)
  assert by_name["more.loop.1"].operands == ("sum.loop.1", "product.loop.1")


def test_the_peak_is_that_of_a_turn():
  """At the product of a turn: itself, what it reads, and what the loop carries."""
  highest = peak(Program(text()))
  carried, product, kept = 7 * 4 + 4, 2 * 7 * 4, 2 * 5 * 4
  assert (highest.gradients, highest.workspace) == (carried, product + kept)


def test_a_loop_that_xla_has_not_counted_stays_one_instruction():
  program = Program(text(""))
  assert program.total_flops() == 0
  assert [one.opcode for one in program.instructions].count("while") == 1


@pytest.mark.parametrize(
  "form", [COUNT, COUNT.replace('"n":"3"', '"n": "3"'), ", known_trip_count={n=3}"]
)
def test_forms_of_the_count(form):
  assert len(Program(text(form)).instructions) == 6 + 3 * 9 + 1


def test_a_loop_in_a_loop():
  inner = re.sub(r"%(\w+)", r"%i_\1", text().split("\n\n")[1])
  state = "(s32[], f32[7]{0}, f32[5,7]{1,0})"
  call = f"  %again = {state} while(%state), body=%i_body{COUNT}\n"
  both = text().replace("  %next = s32[]", call + "  %next = s32[]")
  both = both.replace("\n\nENTRY", f"\n\n{inner}\n\nENTRY")
  assert Program(both).total_flops() == 3 * (1 + 3) * 2 * 2 * 7 * 5
  assert hlo.computations(both).keys() == {"body", "i_body"}
