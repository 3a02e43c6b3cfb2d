"""A small scheduled program, written by hand, with every number known."""

import pytest

from im21k.planning import cards
from im21k.planning.compiled import Compiled
from im21k.planning.program import Program
from im21k.training import configs

# A convolution (2·3·3·4·8·16·5·5 FLOPs, 16 images of 5²), its two gradients, a product,
# and a collective that is under way during one of the gradients.
TEXT = """HloModule step, is_scheduled=true, entry_computation_layout={()->f32[]}

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}

%branch (p.1: f32[16,8,5,5], p.2: f32[]) -> (f32[16,2,5,5], /*index=1*/f32[2]) {
  %p.1 = f32[16,8,5,5]{3,2,1,0} parameter(0)
  %part = f32[16,2,5,5]{3,2,1,0} slice(%p.1), slice={[0:16], [4:6], [0:5], [0:5]}
  %p.2 = f32[] parameter(1)
  %total = f32[2]{0} reduce(%part, %p.2), dimensions={0,2,3}, to_apply=%sum
  ROOT %both = (f32[16,2,5,5]{3,2,1,0}, f32[2]{0}) tuple(%part, %total)
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


@pytest.fixture
def text():
  """The program's text in the form of jaxlib 0.10."""
  return TEXT.replace("START", "f32[16,7]{1,0}")


@pytest.fixture(params=["f32[16,7]{1,0}", "(f32[16,7]{1,0}, f32[16,7]{1,0})"])
def program(request):
  """The program in the forms of jaxlib 0.10 and 0.12."""
  return Program(TEXT.replace("START", request.param))


MEMORY = {
  "argument_size_in_bytes": 4000,
  "temp_size_in_bytes": 9000,
  "output_size_in_bytes": 1152,
  "alias_size_in_bytes": 1152,
  "peak_memory_in_bytes": 12_000,
}


@pytest.fixture
def compiled(text):
  """The program by hand as if it were 16 images a GPU of a run of 1,000 steps."""
  return Compiled(
    experiment=configs.load("demo", {"total": {"steps": 1000}}),
    card=cards.get("gtx1650"),
    batch=16,
    limit=1 << 30,
    sizes={"parameters": 1152},
    text=text,
    memory=MEMORY,
  )
