"""The logic of benchmarks/recipe.py: its recipes, and means over pairs of seeds."""

import importlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from im21k.dataset.manifest import Manifest
from im21k.training.config import Config

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def recipe(monkeypatch):
  monkeypatch.syspath_prepend(str(BENCHMARKS))
  return importlib.import_module("recipe")


def test_every_recipe_is_a_config_of_its_own(recipe):
  """And what a recipe sets reaches the config: the base does not hold it already."""
  for name, stage in recipe.recipe_cells.STAGES.items():
    runs = recipe.all_runs(stage, Path("data"), 2, None)
    assert len({run.name for run in runs}) == len(runs) == 2 * len(stage.cells)
    first = [json.dumps(run.config.to_dict()) for run in runs if run.seed == 0]
    assert len(set(first)) == len(first), name
    assert runs[0].values == {"recipe": next(iter(stage.cells))}
    for run in runs:
      assert run.config.sizes[0][0] <= stage.image_size
      settings = stage.cells[run.values["recipe"]]
      assert run.config.model["width"] == settings.get("model.width", stage.width)


def test_a_recipe_that_is_not_there_is_named(recipe):
  stage = recipe.recipe_cells.CONFIRM
  with pytest.raises(SystemExit, match="no recipe 'Al'; there are: base, orig"):
    recipe.all_runs(stage, Path("work"), 1, ["base", "Al"])


def test_settings_change_what_they_name_and_nothing_else(recipe):
  cells = recipe.recipe_cells
  before = json.dumps(cells.BASE)
  changed = cells.changed({"schedule.peak": 7, "mix": {"mixup": 1}})
  assert changed["schedule"]["peak"] == 7
  assert changed["mix"] == {"mixup": 1}
  assert {**changed, "schedule": cells.BASE["schedule"]} == {
    **cells.BASE,
    "mix": {"mixup": 1},
  }
  assert json.dumps(cells.BASE) == before
  together = {"schedule": {"peak": 1.0}}
  cells.changed({**together, "schedule.peak": 2.0})
  assert together == {"schedule": {"peak": 1.0}}


@pytest.fixture
def finished(recipe, tmp_path):
  """A stage of two recipes; every run but one of the second is done."""
  stage = recipe.recipe_cells.Stage(32, 0.125, {"a": {}, "b": {"schedule.peak": 0.3}})
  runs = recipe.all_runs(stage, tmp_path / "data", 3, None)
  scores = {"a": (0.1, 0.2, 0.3), "b": (0.2, 0.4)}
  for run in runs:
    if run.seed < len(scores[run.values["recipe"]]):
      place = tmp_path / run.name
      place.mkdir()
      (place / "config.json").write_text(json.dumps(run.config.to_dict()))
      top_1 = scores[run.values["recipe"]][run.seed]
      numbers = {
        "top_1": top_1,
        "top_5": 0.5,
        "loss": 2.0,
        "distance": 3.0,
        "images": 9,
      }
      (place / recipe.EVALUATION).write_text(json.dumps(numbers))
      record = recipe.folders.Record(place)
      for _ in range(2):  # stopped once
        record.begin()
        record.end(70.0, 50.0)
  return stage, runs, tmp_path


def test_gains_are_those_of_pairs_of_seeds(recipe, finished):
  stage, runs, root = finished
  first, second = recipe.rows(stage, root, runs)
  assert (first["recipe"], first["seeds"], first["top_1"], first["top_1_std"]) == (
    "a", 3, 20, 10,
  )  # fmt: skip
  assert (second["seeds"], second["top_1"], second["gain"]) == (2, 30, 15)
  assert second["gain_std"] == pytest.approx(7.071)
  assert first["processor_s"] == 100
  assert first["against"] == second["against"] == "a"


def test_a_part_less_is_compared_with_all_together(recipe):
  stage = recipe.recipe_cells.SCREEN
  assert stage.reference("all, cosine") == "all"
  assert stage.reference("all") == stage.reference("Muon") == "base"
  assert set(recipe.recipe_cells.AROUND) <= set(stage.cells)


def test_scores_of_another_recipe_are_not_taken(recipe, finished):
  stage, runs, root = finished
  path = root / runs[0].name / "config.json"
  other = {**runs[0].config.to_dict(), "batch_size": 3}
  Config.from_dict(other)
  path.write_text(json.dumps(other))
  with pytest.raises(SystemExit, match="holds another recipe"):
    recipe.rows(stage, root, runs)


def test_photos_a_class_are_the_first_by_name(recipe, tmp_path):
  for label in ("n1", "n2"):
    (tmp_path / "train" / label).mkdir(parents=True)
    for name in ("c", "a", "b"):
      (tmp_path / "train" / label / name).write_text(label + name)
  found = recipe.first(tmp_path / "train", tmp_path / "2", 2)
  assert sorted(str(path.relative_to(found)) for path in found.glob("*/*")) == [
    "n1/a", "n1/b", "n2/a", "n2/b",
  ]  # fmt: skip
  assert (found / "n2/a").read_text() == "n2a"
  with pytest.raises(SystemExit, match="n1 has 3 photos, not 4"):
    recipe.first(tmp_path / "train", tmp_path / "4", 4)


def test_a_cell_of_the_scale_has_photos_and_arithmetic_of_its_own(recipe):
  stage = recipe.recipe_cells.SCALE
  names = ("width 0.125, 50 photos, 18 passes", "width 0.25, 100 photos, 3 passes")
  one, two = recipe.all_runs(stage, Path("work"), 1, list(names))
  sizes = {run.values["recipe"]: recipe.size(run.config) for run in (one, two)}
  narrow, wide = (sizes[name] for name in names)
  assert (narrow["width"], narrow["photos"], narrow["passes"]) == (0.125, 50, 18)
  assert (wide["width"], wide["photos"], wide["passes"]) == (0.25, 100, 3)
  # The head's alone: features times classes, a multiplication and an addition each.
  assert narrow["mflop"] > 2 * 128 * 21841 / 1e6
  assert 2 < wide["mflop"] / narrow["mflop"] < 4
  assert {run.config.data for run in (one, two)} == {"work/data-50", "work/data-100"}


def archive(path, names, jpeg):
  with tarfile.open(path, "w") as tar:
    for number, name in enumerate(names):
      data = jpeg(number)
      member = tarfile.TarInfo(name)
      member.size = len(data)
      tar.addfile(member, io.BytesIO(data))
  return path


@pytest.mark.slow
def test_a_data_set_is_of_the_archives_that_are_named(recipe, tmp_path, jpeg):
  """Also where those of another stage, with more photos, were unpacked before."""
  of = "train/n01440764/{}.JPEG train/n01443537/{}.JPEG"
  one = archive(
    tmp_path / "one.tar",
    [*of.format("b", "b").split(), "val/n01440764/v.JPEG"], jpeg,
  )  # fmt: skip
  more = archive(
    tmp_path / "more.tar", [*of.format("a", "a").split(), *of.format("c", "c").split()],
    jpeg,
  )  # fmt: skip
  work = tmp_path / "work"
  for name, tars, photos in (("data-2", [one, more], 4), ("data", [one], 2)):
    for _ in range(2):  # The second time it is there.
      recipe.pack(tars, work, work / name)
    assert Manifest.load(work / name).count("train") == photos
  with pytest.raises(SystemExit, match="n01440764 has 3 photos, not 4"):
    recipe.pack([one, more], work, work / "data-4")
  with pytest.raises(SystemExit, match=r"name the archives of photos: .*data-1 is not"):
    recipe.pack([], work, work / "data-1")
  (tmp_path / "text.tar").write_text("no archive")
  with pytest.raises(SystemExit, match=r"text\.tar cannot be unpacked"):
    recipe.pack([tmp_path / "text.tar"], work, work / "data-1")
  outside = archive(tmp_path / "outside.tar", ["../train/n01440764/a.JPEG"], jpeg)
  with pytest.raises(SystemExit, match=r"outside\.tar cannot be unpacked: .*outside"):
    recipe.pack([outside], work, work / "data-1")
  assert not (tmp_path / "train").exists()
