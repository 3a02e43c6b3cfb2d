"""Work folders of earlier versions: they resume, or are refused in one line.

`formats/run-VERSION.tar.gz` is what the code of that version's tag left after four
steps of the tiny model on the sample photos, without its weights. `DATA` and `CLASSES`
in its config.json stand for paths. A new format of a checkpoint gets a new sample.
"""

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from im21k import weights
from im21k.packing.pack import pack
from im21k.training import log, loop, seal
from im21k.training.config import Config

FORMATS = Path(__file__).parent / "formats"
VERSIONS = sorted(path.name[4:-7] for path in FORMATS.glob("run-*.tar.gz"))


@pytest.fixture(scope="module")
def places(sample_photos, tmp_path_factory):
  root = tmp_path_factory.mktemp("places")
  classes = root / "classes.txt"
  ids = sorted(path.name for path in sample_photos.iterdir() if path.is_dir())
  classes.write_text("\n".join(ids))
  options = {"classes": str(classes), "eval_per_class": 1, "shards": 2, "workers": 1}
  pack(sample_photos, root / "photos", **options)
  return {"DATA": str(root / "photos"), "CLASSES": str(classes)}


def unpacked(version, folder, places):
  """The work folder, and the nested keys of its run."""
  with tarfile.open(FORMATS / f"run-{version}.tar.gz") as archive:
    archive.extractall(folder, filter="data")
  path = folder / "config.json"
  text = path.read_text()
  for word, place in places.items():
    text = text.replace(json.dumps(word), json.dumps(place))
  path.write_text(text)
  document = json.loads(text)
  return {key: document[key] for key in document if key not in ("hashes", "history")}


def test_there_is_a_sample_of_every_version():
  assert "0.1.0" in VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_of_an_earlier_version_resumes(version, tmp_path, places, capsys):
  folder = tmp_path / "run"
  config = Config.from_dict(unpacked(version, folder, places), {"total.steps": 6})
  before = log.read_rows(folder / "metrics.jsonl")
  assert loop.train(config, folder)["finished"]
  said = capsys.readouterr().err
  assert said.count("has no checksums, for an older im21k wrote it") == 1
  assert "continues at step 4 with changes: total was {'steps': 4}" in said
  rows = log.read_rows(folder / "metrics.jsonl")
  assert rows[: len(before)] == before and rows[-1]["step"] == 6
  assert weights.load(folder / "weights").config["step"] == 6
  body = seal.read(folder / "checkpoints" / "6")
  assert body is not None and body["run"]["parameters"] > 800


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
  ("change", "message"),
  [({"seed": 1}, "seed was 0, is 1"), ({"mix.mixup": 0.5}, "mix.mixup was 0.0, is")],
)
def test_another_run_is_refused_there_too(version, change, message, tmp_path, places):
  document = unpacked(version, tmp_path / "run", places)
  config = Config.from_dict(document, change)
  with pytest.raises(ValueError, match=message):
    loop.train(config, tmp_path / "run")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_damaged_checkpoint_of_an_earlier_version_is_one_line(
  version, tmp_path, places
):
  folder = tmp_path / "run"
  config = Config.from_dict(unpacked(version, folder, places))
  shutil.rmtree(folder / "checkpoints" / "4" / "state" / "d")
  with pytest.raises(ValueError, match=r"every checkpoint in .* is damaged") as caught:
    loop.train(config, folder)
  assert "\n" not in str(caught.value) and len(str(caught.value)) < 800
