"""Reading the text of a scheduled program."""

import pytest

from im21k.planning import hlo


def test_an_instruction_and_its_parts(text):
  conv, dot = (
    next(i for i in hlo.instructions(text) if i.name == name)
    for name in ("conv.1", "dot")
  )
  assert conv.opcode == "custom-call" and conv.operands == ("x", "w")
  assert conv.shapes == (("f32", (16, 8, 5, 5)), ("u8", (1024,)))
  assert conv.bytes == 16 * 8 * 5 * 5 * 4 + 1024
  assert conv.origin == "jit(step)/jvp(net)/conv1/conv"
  assert (conv.kind, dot.kind) == ("forward", "product")
  assert not conv.is_backprop and not conv.is_recomputed


def test_what_is_recomputed_and_what_is_backprop(text):
  found = {i.name: i for i in hlo.instructions(text)}
  assert [n for n, i in found.items() if i.is_recomputed] == ["again"]
  assert [n for n, i in found.items() if i.is_backprop] == ["dw"]


def test_the_computations_that_fusions_call(text):
  found = hlo.computations(text)
  assert found.keys() == {"sum", "branch"}  # and not `main`
  assert found["sum"].arguments == ("a", "b")
  arguments, body = found["branch"]
  assert arguments == ("p.1", "p.2")
  assert [one.name for one in body] == ["p.1", "part", "p.2", "total", "both"]
  assert [one.name for one in body if one.is_root] == ["both"]
  part, total = body[1], body[3]
  assert (part.opcode, part.operands, part.bytes) == ("slice", ("p.1",), 16 * 50 * 4)
  assert total.operands == ("part", "p.2") and total.shapes == (("f32", (2,)),)


def test_a_program_without_computations_has_none(text):
  entry = text[text.index("ENTRY") :]
  assert hlo.computations(f"HloModule step, is_scheduled=true\n\n{entry}") == {}


def test_another_text_is_refused():
  with pytest.raises(ValueError, match="not the text of a scheduled XLA program"):
    hlo.instructions("HloModule jit_f\n")
  with pytest.raises(ValueError, match="this line of the program is not understood"):
    hlo.instructions(
      "HloModule m, is_scheduled=true\n\nENTRY %m () -> () {\n  what is this\n}\n"
    )
  with pytest.raises(ValueError, match="this line of the program is not understood"):
    hlo.computations("%f (x: f32[]) -> f32[] {\n  what is this\n}\n")
