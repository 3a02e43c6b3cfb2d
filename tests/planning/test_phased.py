"""A run with phases: memory of the largest step, time of all, a line for each."""

import dataclasses

import pytest

from im21k.planning import cards, comparison, compiler, phased, plan, wording
from im21k.training import configs

CARD, RESERVE = cards.get("gtx1650"), 512 << 20
GROWING = {
  "devices": 2, "image_size": 64, "batch_size": 32, "total": {"steps": 1000},
  "model.remat": "none",
  "phases": {"image_sizes": [32, 48], "until": {"steps": [400, 600]}},
}  # fmt: skip


@pytest.fixture
def made(compiled, monkeypatch):
  """A compiler whose programs need 10 KiB for each pixel of a batch of a GPU."""
  asked = []

  def compile_one(self, experiment, batch):
    asked.append((experiment.image_size, batch, experiment.model["remat"]))
    need = batch * experiment.image_size**2 * 10 << 10
    return dataclasses.replace(
      compiled, experiment=experiment, card=self.card, batch=batch, limit=self.limit,
      memory={**compiled.memory, "peak_memory_in_bytes": need},
    )  # fmt: skip

  monkeypatch.setattr(compiler.Compiler, "_compile_as_it_is", compile_one)
  monkeypatch.setattr(compiler, "_describe", lambda *_: [])
  one = compiler.Compiler(CARD, RESERVE)
  one.asked = asked
  return one


def growing(**settings):
  return configs.load("demo", {**GROWING, **settings})


def test_memory_is_that_of_the_largest_and_time_that_of_all(made):
  found = phased.compile(made, growing())
  assert found.steps == (400, 200, 400)
  assert [(p.experiment.image_size, p.batch) for p in found.parts] == [
    (32, 16), (48, 16), (64, 16),
  ]  # fmt: skip
  report = found.report()
  assert report["needed_mib"] == 64**2 * 16 * 10 / 1024
  assert report["examples"] == 1000 * 32 == sum(r["examples"] for r in report["phases"])
  for end in (0, 1):
    of_each = [
      part.report()["step_s"][end] * steps
      for part, steps in zip(found.parts, found.steps, strict=True)
    ]
    assert report["days"][end] * 86400 == pytest.approx(sum(of_each), abs=100)
  assert report["phases"][1]["needed_mib"] == 48**2 * 16 * 10 / 1024
  low, high = report["images_per_s"]
  each = [row["images_per_s"] for row in report["phases"]]
  assert min(e[0] for e in each) <= low <= max(e[0] for e in each)
  assert low < high < report["images_per_s_peak"]


def test_the_largest_step_need_not_be_the_last(made):
  """Large batches of small photos; what the run does not come to is left out."""
  found = phased.compile(
    made,
    growing(
      phases={"image_sizes": [32, 64], "batch_sizes": [256, 8],
              "until": {"steps": [400, 2000]}},
    ),
  )  # fmt: skip
  assert found.steps == (400, 600)
  assert [part.batch for part in found.parts] == [128, 4]
  assert found.needed == 128 * 32**2 * 10 << 10
  assert found.report()["examples"] == 400 * 256 + 600 * 8


def test_what_fits_is_decided_for_the_largest_step(made, monkeypatch):
  chosen = []

  def for_memory(config, batch, limit, needed):
    chosen.append((config.image_size, batch))
    return config.changed({"model.remat": "block"})

  monkeypatch.setattr(compiler.policies, "for_memory", for_memory)
  phased.compile(made, growing(**{"model.remat": "fit"}))
  assert chosen == [(64, 16)]
  assert made.asked.pop(0) == (64, 16, "block"), "which is compiled once"
  assert sorted(made.asked) == [(32, 16, "block"), (48, 16, "block")]


def test_epochs_of_phases_are_of_the_photos(made, packed):
  found = phased.compile(
    made,
    growing(
      data=str(packed), total={"epochs": 4},
      phases={"image_sizes": [32], "until": {"epochs": [2]}},
    ),
  )  # fmt: skip
  assert found.steps == (9, 8)  # Of 139 photos in batches of 32, 17.4 steps.
  assert found.report()["photos"] == 139


def test_a_plan_has_a_line_for_each_phase(made, tmp_path, monkeypatch):
  path = tmp_path / "grows.py"
  path.write_text(
    "from im21k.training import configs\n"
    "def get_config():\n"
    "  config = configs.get_config('demo')\n"
    "  config.model.remat = 'none'\n"
    "  config.total = dict(steps=1000)\n"
    "  config.phases = dict(image_sizes=[32], until=dict(steps=[400]))\n"
    "  return config\n"
  )
  result = plan.plan(config=path, devices=1, dump=tmp_path / "dump")
  shown = wording.text(result).splitlines()
  start = next(i for i, line in enumerate(shown) if line.startswith("phases, in order"))
  assert "32 pixels" in shown[start + 1] and "400 steps" in shown[start + 1]
  assert "600 steps" in shown[start + 2] and shown[start + 3] == ""
  fastest = max(row["images_per_s"][1] for row in result["phases"])
  cores = next(line for line in shown if line.startswith("processor cores"))
  assert f" at {wording._rounded(fastest)} images/s" in cores
  assert "largest_batch" not in result and result["advice"]
  for number in (1, 2):
    assert (tmp_path / "dump" / f"phase{number}" / "memory.json").is_file()
  fewer = plan.plan(config=path, devices=1, batch=4)
  assert [row["batch"] for row in fewer["phases"]] == [4, 4]
  with pytest.raises(ValueError, match="--sweep is for a run of one size of photos"):
    plan.plan(config=path, sweep=True, dump=tmp_path / "sweep")
  with_batches = path.read_text().replace("[32],", "[32], batch_sizes=[8],")
  path.write_text(with_batches)
  with pytest.raises(ValueError, match=r"batch is what phases\.batch_sizes says"):
    plan.plan(config=path, batch=4)


def test_cards_are_compared_by_the_whole_run(made):
  found = phased.compile(made, growing())
  other = cards.get("rtx4090")
  result = comparison.compare(
    lambda card: found.on(card, card.memory - RESERVE), [CARD, other], RESERVE, {}, None
  )
  rows = {row["gpu"]: row for row in result["gpus"]}
  moved = found.on(other, other.memory - RESERVE)
  assert rows["rtx4090"]["days"] == moved.report()["days"]
  assert rows[CARD.name]["needed_mib"] == found.report()["needed_mib"]
  assert result["examples"] == 32_000
