"""The kind of work of instructions written by hand, in the form that XLA gives them."""

import pytest

from im21k.planning import traffic
from im21k.planning.program import Program

NET = "jit(step)/jvp(Net)/jvp(block_3a)"
BACK = "jit(step)/transpose(jvp(Net))/transpose(jvp(block_3a))"
NORM = "3x3/3x3.rectified/bn.own"

# Computations that XLA would call in fusions: the lines behind two arguments.
BODIES = {
  "sum": ["ROOT %r = f32[8] reduce(%a, %b), to_apply=%add"],
  "mask": ["%z = pred[2,4,4,8] compare(%a, %a)", "ROOT %r = f32[2] select(%z, %a, %a)"],
  "masked_sum": [
    "%z = f32[2,4,4,8] multiply(%a, %a)",
    "%s = f32[8] reduce(%z, %b), to_apply=%add",
    "ROOT %r = (f32[2,4,4,8], f32[8]) tuple(%z, %s)",
  ],
  "join": [
    "%z = bf16[2,4,4,8] convert(%a)",
    "ROOT %r = bf16[2,4,4,16] concatenate(%z, %z)",
  ],
  "joined_masks": [
    "%z = f32[2,4,4,8] maximum(%a, %a)",
    "ROOT %r = f32[2,4,4,16] concatenate(%z, %z)",
  ],
  "edge": ["ROOT %r = f32[2,6,6,8] pad(%a, %b), padding=0_0x1_1x1_1x0_0"],
  "window": ["ROOT %r = f32[2,4,4,8] reduce-window(%a, %b), to_apply=%add"],
  "windows": [
    "%z = f32[2,6,6,8] pad(%a, %b), padding=0_0x1_1x1_1x0_0",
    "%s = f32[2,2,2,8] slice(%z)",
    "ROOT %r = f32[2,2,2,8] maximum(%s, %s)",
  ],
  "product": ["ROOT %r = f32[4,4,8] dot(%a, %c), lhs_contracting_dims={0}"],
  # XLA leaves some fusions without an origin, and gives their constants a vague one.
  "late_sum": [
    '%k = f32[] constant(1), metadata={op_name="jit(step)"}',
    f'%z = f32[8] multiply(%a, %a), metadata={{op_name="{NET}/{NORM}/mul"}}',
    "ROOT %r = f32[8] reduce(%z, %b), to_apply=%add",
  ],
  "late_edge": [
    '%k = f32[] constant(1), metadata={op_name="jit(step)"}',
    "ROOT %r = f32[2,4,4,16] pad(%a, %k)",
  ],
  "late_update": [
    f'%z = f32[8] multiply(%a, %a), metadata={{op_name="{BACK}/mul"}}',
    '%y = f32[8] add(%z, %a), metadata={op_name="jit(step)/add"}',
    "ROOT %r = (f32[8]) tuple(%y)",
  ],
}


def kinds(line, origin):
  """The kind of one line of ENTRY, and the bytes of all kinds."""
  computations = "".join(
    f"%{name} (a: f32[2,4,4,8], b: f32[], c: f32[2]) -> f32[] {{\n"
    + "".join(
      f"  {one}\n"
      for one in (
        "%a = f32[2,4,4,8] parameter(0)",
        "%b = f32[] parameter(1)",
        "%c = f32[2] parameter(2)",
        *lines,
      )
    )
    + "}\n\n"
    for name, lines in BODIES.items()
  )
  metadata = f', metadata={{op_name="{origin}"}}' if origin else ""
  program = Program(
    "HloModule step, is_scheduled=true\n\n"
    f"{computations}ENTRY %main (x: f32[2,4,4,8]) -> f32[] {{\n"
    "  %x = f32[2,4,4,8] parameter(0)\n"
    "  %k = f32[] constant(0)\n"
    "  %v = f32[2] parameter(1)\n"
    f"  %one = {line}{metadata}\n"
    "  ROOT %out = f32[] bitcast(%one)\n}\n"
  )
  (one,) = (i for i in program.instructions if i.name == "one")
  found = traffic.by_kind(program)
  name = traffic.kind(program, one)
  assert {name: program.traffic(one)} == {k: n for k, n in found.items() if n}
  assert tuple(found) == traffic.KINDS
  return name


def convolution(target):
  labels = "window={size=1x1}, dim_labels=b01f_01io->b01f"
  call = f'custom_call_target="__cudnn$conv{target}"'
  return f"(f32[2,4,4,8], u8[64]) custom-call(%x, %x), {labels}, {call}"


@pytest.mark.parametrize(
  ("target", "origin", "kind"),
  [
    ("Forward", f"{NET}/3x3/conv", traffic.FORWARD),
    ("BiasActivationForward", f"{NET}/3x3/conv", traffic.FORWARD),
    ("Forward", f"{BACK}/checkpoint/rematted_computation/conv", traffic.FORWARD),
    # XLA gives the gradients of pointwise convolutions this form.
    ("Forward", f"{BACK}/3x3/conv", traffic.IMAGES),
    ("BackwardInput", f"{BACK}/3x3/conv", traffic.IMAGES),
    ("BackwardFilter", f"{BACK}/3x3/conv", traffic.KERNELS),
  ],
)
def test_convolutions(target, origin, kind):
  assert kinds(convolution(target), origin) == kind


@pytest.mark.parametrize(
  ("computation", "origin", "kind"),
  [
    ("sum", f"{NET}/{NORM}/reduce", traffic.SUMS),
    ("masked_sum", f"{BACK}/{NORM}/gt", traffic.SUMS),
    ("late_sum", "", traffic.SUMS),
    ("sum", "", traffic.SUMS),
    ("mask", f"{BACK}/{NORM}/select_n", traffic.PASSES),
    ("mask", "jit(step)/transpose(jvp(Net))/jit(_where)/select_n", traffic.PASSES),
    ("mask", "jit(step)/jvp(Net)/jvp()/sub", traffic.PASSES),
    ("joined_masks", f"{NET}/concatenate", traffic.PASSES),
    ("window", f"{NET}/reduce_window_sum", traffic.POOLS),
    ("windows", f"{NET}/select_n", traffic.POOLS),
    ("join", f"{NET}/concatenate", traffic.MOVES),
    ("edge", f"{NET}/split", traffic.MOVES),
    ("late_edge", "", traffic.MOVES),
    ("product", "jit(step)/jvp(Net)/jvp(head)/dot_general", traffic.PRODUCTS),
    ("mask", "jit(step)/jvp(Net)/jvp(head)/convert", traffic.LOSS),
    ("sum", "jit(step)/transpose(jvp(Net))/transpose(jvp(head))/sum", traffic.LOSS),
    ("sum", "jit(step)/jvp()/reduce", traffic.LOSS),
    ("mask", "jit(step)/transpose(jvp(jit(take_along_axis)))/add", traffic.LOSS),
    ("mask", "jit(step)/add", traffic.PARAMETERS),
    ("late_update", "", traffic.PARAMETERS),
    ("mask", f"{BACK}/3x3/3x3.weights/mul", traffic.PARAMETERS),
    ("join", "jit(step)/transpose(jvp(Net))/gradients/concat", traffic.PARAMETERS),
    ("mask", f"{NET}/header/mul", traffic.PASSES),
  ],
)
def test_fusions(computation, origin, kind):
  line = f"f32[2,4,4,8] fusion(%x, %k, %v), kind=kLoop, calls=%{computation}"
  assert kinds(line, origin) == kind


@pytest.mark.parametrize(
  ("line", "kind"),
  [
    ('f32[2] custom-call(%x), custom_call_target="__cublas$gemm", '
     '"lhs_contracting_dimensions":["1","2","3"]', traffic.PRODUCTS),
    ("f32[2,4,4,8]{0,1,2,3} copy(%x)", traffic.MOVES),
    ("f32[8,4,4,2] transpose(%x), dimensions={3,1,2,0}", traffic.MOVES),
    ("f32[2,4,4,8] sort(%x), to_apply=%sum", traffic.OTHER),
    ('f32[2] custom-call(%x), custom_call_target="unknown"', traffic.OTHER),
    ("f32[2] all-gather(%x), dimensions={0}", traffic.OTHER),
    ("f32[2] conditional(%x), branch_computations={%sum, %mask}", traffic.OTHER),
    ("f32[2] fusion(%x, %k, %v), calls=%lost", traffic.OTHER),
  ],
)  # fmt: skip
def test_other_instructions(line, kind):
  assert kinds(line, f"{NET}/3x3") == kind


def test_all_kinds_add_up_to_the_traffic_of_the_step(program):
  found = traffic.by_kind(program)
  assert sum(found.values()) == sum(map(program.traffic, program.instructions))
  x, w, y = 16 * 4 * 25 * 4, 8 * 4 * 9 * 4, 16 * 8 * 25 * 4
  assert found == {
    **dict.fromkeys(traffic.KINDS, 0),
    traffic.FORWARD: (x + w + y + 1024) + (x + w + y),
    traffic.KERNELS: x + y + w,
    traffic.PRODUCTS: y + w + 448,
    # These two fusions call computations that the text does not have.
    traffic.OTHER: (448 + 20) + (w + w + 448 + w),
  }
