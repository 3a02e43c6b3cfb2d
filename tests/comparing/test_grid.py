"""What is varied, as it is typed -> runs with names and checked configs."""

import copy

import pytest

from im21k.comparing import grid
from im21k.training.config import Config
from im21k.training.values import Text

from .conftest import DOCUMENT


def made(*lines, seeds=1, **settings):
  return grid.runs(DOCUMENT, settings, grid.over("\n".join(lines)), seeds)


@pytest.mark.parametrize(
  ("line", "values"),
  [
    ("a=1,2", ["1", "2"]),
    ("a= 1 , 2 ", ["1", "2"]),
    ("a=[1,2],[3,4]", ["[1,2]", "[3,4]"]),
    ("a=(1,2),3", ["(1,2)", "3"]),
    ("a=1,2;3", ["1,2", "3"]),
    ("a=1,2;", ["1,2"]),
    ("a=conv1=block,3a=norm;none", ["conv1=block,3a=norm", "none"]),
    ("--config.a=1", ["1"]),
  ],
)
def test_values_are_split_at_commas_or_semicolons(line, values):
  assert grid.over(line) == {"a": values}


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("a", "must be KEY=VALUE"),
    ("=1", "must be KEY=VALUE"),
    ("a=", "must be KEY=VALUE"),
    ("a=1,,2", "empty value"),
    ("a=1,", "empty value"),
    ("a=[1,2", "brackets do not match"),
    ("a=1]", "brackets do not match"),
    ("a=1;[2", "brackets do not match"),
    ("a=1,1", "a=1 twice"),
    ("a=1\na=2", "has a twice"),
    ("a=1\n", "must be KEY=VALUE"),
  ],
)
def test_what_is_no_list_of_values_is_refused(text, message):
  with pytest.raises(ValueError, match=message.replace("[", r"\[")) as caught:
    grid.over(text)
  assert "\n" not in str(caught.value)


def test_every_combination_has_the_same_seeds_and_the_first_seed_comes_first():
  runs = made("optimizer.momentum=0.5,0.9", "batch_size=8,16", seeds=2)
  assert [(run.cell, run.seed) for run in runs] == [
    *((cell, 3) for cell in range(4)), *((cell, 4) for cell in range(4)),
  ]  # fmt: skip
  assert runs[1].values == {"optimizer.momentum": "0.5", "batch_size": "16"}
  assert runs[1].name == "optimizer.momentum=0.5,batch_size=16,seed=3"
  wanted = {"optimizer.momentum": 0.5, "batch_size": 16, "seed": 4}
  assert runs[5].config == Config.from_dict(DOCUMENT, wanted)
  assert [run.name for run in made()] == ["seed=3"]


@pytest.mark.parametrize(
  ("line", "settings", "names"),
  [
    ("total.epochs=3,6", {}, ["total.epochs=3", "total.epochs=6"]),
    ("schedule.rates=[1,0.1];[0.50,5e-2]", {}, ["schedule.rates=1+0.1",
                                               "schedule.rates=0.5+0.05"]),
    ("short_side=none,256", {"image_size": 128}, ["short_side=none", "short_side=256"]),
    (
      "augment.mirror=true,alternating",
      {},
      ["augment.mirror=true", "augment.mirror=alternating"],
    ),
    ("augment.mirror=1,false", {}, ["augment.mirror=true", "augment.mirror=false"]),
    ("init.weights=/a/b,/a-b", {}, ["init.weights=-a-b~4c0f20",
                                   "init.weights=-a-b~8a3a15"]),
    ("loss.name=cross_entropy,smoothed", {}, ["loss.name=cross_entropy",
                                             "loss.name=smoothed"]),
    ("model.remat=conv1=block,3a=norm;none", {}, ["model.remat=conv1=block+3a=norm",
                                                 "model.remat=none"]),
  ],
)  # fmt: skip
def test_values_are_those_of_the_command_line(line, settings, names):
  runs = made(line, **settings)
  found = [run.name.removesuffix(",seed=3") for run in runs]
  assert [name.split("~")[0] for name in found] == [n.split("~")[0] for n in names]
  assert len({*found}) == len(found)
  key, values = next(iter(grid.over(line).items()))
  for run, value in zip(runs, values, strict=True):
    assert run.config == Config.from_dict(DOCUMENT, {**settings, key: Text(value)})


def test_names_are_names_of_files_whatever_the_values_are():
  weights = ["../x", "a" * 300, "a" * 299 + "b", "é\udce9", "a+b", "a b"]
  runs = made(f"init.weights={','.join(weights)}", "data=" + "y" * 200 + ",z")
  names = [run.name for run in runs]
  assert len({*names}) == len(names) == 12
  assert all(len(n) < 200 and "/" not in n and n.isascii() for n in names)


@pytest.mark.parametrize(
  ("lines", "settings", "seeds", "message"),
  [
    (["optimizer.momentum=0.5,2"], {}, 1, r"^optimizer\.momentum=2: .*but must be"),
    (["optimizer.momentun=0.5"], {}, 1, "did you mean 'optimizer.momentum'"),
    (["seed=1,2"], {}, 1, "over varies seed, as --seeds does"),
    (["batch_size=8"], {"batch_size": "16"}, 1, "is set by --config.batch_size and"),
    (["total.steps=8", "total.epochs=1"], {}, 1, "given in 2 units"),
    (["optimizer.momentum=0.5,0.50"], {}, 1, "=0.5 and .*=0.50 are the same run"),
    (["short_side=none,256"], {}, 1, "are the same run"),
    ([], {}, 0, "seeds is 0, but must be at least 1"),
    ([], {}, 2_001, "has 2,001 runs, but must have at most 2,000"),
    ([], {"seed": 2**32 - 1}, 2, "seed is 4294967296, but must be at most"),
  ],
)
def test_what_a_run_would_refuse_is_refused(lines, settings, seeds, message):
  with pytest.raises(ValueError, match=message):
    made(*lines, seeds=seeds, **settings) if lines else grid.runs(
      DOCUMENT, settings, {}, seeds
    )


def test_a_share_is_every_nth_run():
  assert grid.share(None, 5) == [0, 1, 2, 3, 4]
  assert [grid.share(f"{i}/2", 5) for i in (1, 2)] == [[0, 2, 4], [1, 3]]
  assert grid.share("3/3", 2) == []
  for part in ("0/2", "3/2", "1", "1/0", "a/b", "1/2/3", "-1/2", "1/1001", ""):
    with pytest.raises(ValueError, match="must be I/N"):
      grid.share(part, 5)


def test_the_document_stays_as_it_is():
  before = copy.deepcopy(DOCUMENT)
  made("optimizer.momentum=0.5,0.9", "total.epochs=1,2", seeds=2)
  assert before == DOCUMENT
