"""The share of each argument that computations written by hand read."""

import pytest

from im21k.planning import fusions, hlo

ADD = """%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}
"""


def shares(arguments, *lines):
  """Of a computation with these arguments, each `name: shape`, and these lines."""
  parameters = (
    f"%{name} = {shape} parameter({k})"
    for k, (name, shape) in enumerate(one.split(": ") for one in arguments)
  )
  body = "".join(f"  {line}\n" for line in (*parameters, *lines))
  text = f"{ADD}\n%f ({', '.join(arguments)}) -> f32[] {{\n{body}}}\n"
  return fusions.shares_read(hlo.computations(text)["f"])


IMAGES = "x: f32[2,4,4,6]"  # 192 values
MEAN = "m: f32[6]"

CASES = {
  "all of two tensors": (
    [IMAGES, "y: f32[2,4,4,6]"],
    ["ROOT %z = f32[2,4,4,6] add(%x, %y)"],
    [1, 1],
  ),
  "a slice": (
    [IMAGES],
    ["ROOT %s = f32[2,4,4,2] slice(%x), slice={[0:2], [0:4], [0:4], [1:3]}"],
    [1 / 3],
  ),
  "a slice of another type and form": (
    [IMAGES],
    [
      "%c = bf16[2,4,4,6] convert(%x)",
      "%v = bf16[32,6] bitcast(%c)",
      "%s = bf16[32,3] slice(%v), slice={[0:32], [0:3]}",
      "ROOT %t = bf16[3,32] transpose(%s), dimensions={1,0}",
    ],
    [1 / 2],
  ),
  "one value of each channel, then all": (
    [IMAGES],
    [
      "%s = f32[1,1,1,6] slice(%x)",
      "%b = f32[2,4,4,6] broadcast(%s)",
      "ROOT %z = f32[2,4,4,6] subtract(%x, %b)",
    ],
    [1],
  ),
  "every second pixel of padded images, three times": (
    [IMAGES],
    [
      "%zero = f32[] constant(0)",
      "%p = f32[2,6,6,6] pad(%x, %zero), padding=0_0x1_1x1_1x0_0",
      "%s0 = f32[2,2,2,6] slice(%p)",
      "%s1 = f32[2,2,2,6] slice(%p)",
      "%s2 = f32[2,2,2,6] slice(%p)",
      "%m0 = f32[2,2,2,6] maximum(%s0, %s1)",
      "ROOT %m1 = f32[2,2,2,6] maximum(%m0, %s2)",
    ],
    [3 / 4],
  ),
  "slices that are all of it": (
    [IMAGES],
    [
      *(f"%s{k} = f32[2,4,4,2] slice(%x)" for k in range(4)),
      "ROOT %t = (f32[2,4,4,2], /*index=1*/f32[2,4,4,2]) tuple(%s0, %s1, %s2, %s3)",
    ],
    [1],
  ),
  "some rows of two joined": (
    ["x: f32[4,6]", "y: f32[12,6]"],
    [
      "%c = f32[16,6] concatenate(%x, %y), dimensions={0}",
      "ROOT %s = f32[4,6] slice(%c), slice={[0:4], [0:6]}",
    ],
    [1 / 4, 1 / 4],
  ),
  "all of two joined": (
    ["x: f32[4,6]", "y: f32[12,6]"],
    ["ROOT %c = f32[16,6] concatenate(%x, %y), dimensions={0}"],
    [1, 1],
  ),
  "one value of a vector for all": (
    [MEAN],
    [
      "%s = f32[1] slice(%m), slice={[2:3]}",
      "%v = f32[] bitcast(%s)",
      "ROOT %b = f32[2,4,4] broadcast(%v), dimensions={}",
    ],
    [1 / 6],
  ),
  "a vector along images": ([MEAN], ["ROOT %b = f32[2,4,4,6] broadcast(%m)"], [1]),
  "a sum": (
    [IMAGES],
    ["%zero = f32[] constant(0)", "ROOT %r = f32[6] reduce(%x, %zero), to_apply=%sum"],
    [1],
  ),
  "a sum over sides of one": (
    ["x: f32[1,6]"],
    ["%zero = f32[] constant(0)", "ROOT %r = f32[6] reduce(%x, %zero), to_apply=%sum"],
    [1],
  ),
  "one of the sums": (
    [IMAGES],
    [
      "%zero = f32[] constant(0)",
      "%r = f32[6] reduce(%x, %zero), to_apply=%sum",
      "ROOT %s = f32[1] slice(%r), slice={[0:1]}",
    ],
    [1],
  ),
  "two sums at once": (
    [IMAGES, "y: f32[2,4,4,12]"],
    [
      "%zero = f32[] constant(0)",
      "%s = f32[2,4,4,6] slice(%y)",
      "%r = (f32[6], f32[6]) reduce(%x, %s, %zero, %zero), to_apply=%sum",
      "%r0 = f32[6] get-tuple-element(%r), index=0",
      "%r1 = f32[6] get-tuple-element(%r), index=1",
      "ROOT %t = (f32[6], f32[6]) tuple(%r0, %r1)",
    ],
    [1, 1 / 2],
  ),
  "windows of a part": (
    [IMAGES],
    [
      "%zero = f32[] constant(0)",
      "%w = f32[2,4,4,6] reduce-window(%x, %zero), to_apply=%sum",
      "ROOT %s = f32[2,4,4,1] slice(%w)",
    ],
    [1],
  ),
  "single values": (
    ["x: f32[16,100]", "k: s32[16,1]"],
    ["ROOT %g = f32[16] gather(%x, %k)"],
    [1 / 100, 1],
  ),
  "rows by number": (
    ["x: f32[16,100]", "k: s32[]"],
    ["ROOT %d = f32[4,100] dynamic-slice(%x, %k, %k)"],
    [1 / 4, 1],
  ),
  "a product": (
    ["x: f32[4,6]", "y: f32[6,9]"],
    ["%d = f32[4,9] dot(%x, %y)", "ROOT %s = f32[1,9] slice(%d)"],
    [1, 1],
  ),
  "a part of a square product": (
    ["x: f32[6,6]", "y: f32[6,6]"],
    ["%d = f32[6,6] dot(%x, %y)", "ROOT %s = f32[1,6] slice(%d)"],
    [1, 1],
  ),
  "a part of a convolution": (
    [IMAGES, "w: f32[1,1,6,6]"],
    ["%d = f32[2,4,4,6] convolution(%x, %w)", "ROOT %s = f32[2,4,4,1] slice(%d)"],
    [1, 1],
  ),
  "the first of what is sorted": (
    [MEAN],
    ["%d = f32[6] sort(%m)", "ROOT %s = f32[1] slice(%d)"],
    [1],
  ),
  "a part of what is scattered": (
    [MEAN, "k: s32[3,1]", "u: f32[3]"],
    ["%d = f32[6] scatter(%m, %k, %u), to_apply=%sum", "ROOT %s = f32[1] slice(%d)"],
    [1, 1, 1],
  ),
  "an argument that nothing reads": (
    [IMAGES, MEAN],
    ["ROOT %z = f32[2,4,4,6] negate(%x)"],
    [1, 0],
  ),
  "a sum that nothing reads": (
    [IMAGES, MEAN],
    [
      "%zero = f32[] constant(0)",
      "%r = f32[6] reduce(%x, %zero), to_apply=%sum",
      "ROOT %z = f32[6] negate(%m)",
    ],
    [0, 1],
  ),
  "no values": (["x: f32[0,6]"], ["ROOT %z = f32[0,6] negate(%x)"], [0]),
  "a square of a part": (
    [IMAGES],
    ["%s = f32[2,4,4,2] slice(%x)", "ROOT %z = f32[2,4,4,2] multiply(%s, %s)"],
    [1 / 3],
  ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_share_of_each_argument(name):
  arguments, lines, expected = CASES[name]
  found = shares(arguments, *lines)
  assert found == pytest.approx(expected)
  assert all(0 <= share <= 1 for share in found)


def test_an_argument_that_is_the_result_is_read():
  text = "%f (x: f32[6]) -> f32[6] {\n  ROOT %x = f32[6]{0} parameter(0)\n}\n"
  assert fusions.shares_read(hlo.computations(text)["f"]) == [1]
