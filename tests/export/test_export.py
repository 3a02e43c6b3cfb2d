"""`im21k export`: whole folders or none, the answers of `predict`, clear errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from im21k import cli
from im21k.export import export as exports
from im21k.export import extras, onnx_file, stablehlo, torch_files
from im21k.export.export import export, make
from im21k.inference.predict import predict
from im21k.weights import Input

NEEDS = {"jax": ["flatbuffers"], "onnx": ["onnx", "onnxruntime"], "torch": ["torch"]}
FORMATS = tuple(NEEDS)


@pytest.fixture
def fifty(sample_photos):
  return sorted(sample_photos.rglob("*.jpg"))[:50]


@pytest.mark.parametrize("format", FORMATS)
def test_hedged_answers_of_50_photos_are_those_of_predict(
  need_for, saved, tmp_path, fifty, format
):
  need_for(format)
  out = tmp_path / "new" / "exported"
  result = export(saved, out, format=format, answers=True)
  assert result["difference"] < 1e-6
  described = json.loads((out / "im21k.json").read_text())
  taken = described["input"]
  shape = Input(taken["size"], taken["short_side"])
  outputs = runner(format, out, described)(shape.prepare(fifty))
  found = [
    (described["answers"]["nodes"]["ids"][node], float(p))
    for node, p in zip(outputs["node"], outputs["node_probability"], strict=True)
  ]
  expected = [
    (top["synset"], pytest.approx(top["probability"], rel=1e-4))
    for photo in predict(saved, *fifty, answer="hedged")["predictions"]
    for top in photo["top"]
  ]
  assert found == expected and len(expected) == 50
  assert len({synset for synset, _ in found}) > 1


def runner(format, out, described):
  match format:
    case "jax":
      return stablehlo.runner((out / "model.stablehlo").read_bytes())
    case "onnx":
      return onnx_file.runner((out / "model.onnx").read_bytes())
  return torch_files.runner(described, load_file(out / "weights.safetensors"))


def test_the_result_says_what_was_written(saved, tmp_path, monkeypatch):
  monkeypatch.setattr(extras, "has", lambda module: False)
  out = tmp_path / "exported"
  result = export(saved, out, format="torch", image_size=96)
  assert result == {
    "out": str(out),
    "format": "torch",
    "bytes": sum(path.stat().st_size for path in out.iterdir()),
    "image_size": 96,
    "outputs": ["logits"],
    "difference": None,
  }
  assert (out / "prepare.py").exists()
  described = json.loads((out / "im21k.json").read_text())["input"]
  assert (described["size"], described["short_side"]) == (96, 110)  # As 64 of 73.
  lines = exports.text(result).splitlines()
  assert lines[0].startswith(f"{out}: torch, 0.")
  assert lines[1] == "takes uint8 [batch, 96, 96, 3] in RGB, returns logits"
  assert lines[2] == "not compared with JAX: PyTorch is not installed here"
  compared = exports.text({**result, "difference": 2.6e-8}).splitlines()[2]
  assert compared == "largest difference to JAX: 2.6e-08 of the logits' norm"


def test_accuracy_chooses_lambda(saved):
  assert make(saved, answers=True).hedging.lambda_ == 1.5
  assert make(saved, answers=True, accuracy=0.6).hedging.lambda_ == 0.2
  assert make(saved).hedging is None
  with pytest.raises(ValueError, match=r"accuracy 0.8 was not calibrated, only 0.6"):
    make(saved, answers=True, accuracy=0.8)
  (saved / "calibration.json").unlink()
  with pytest.raises(ValueError, match="run im21k calibrate first"):
    make(saved, answers=True)


@pytest.mark.parametrize("options, message", [
  ({"accuracy": 0.9}, "accuracy is for hedged answers only: add --answers"),
  ({"image_size": 31}, "image_size is 31, but must be 32 to 4,096"),
  ({"image_size": 4097}, "image_size is 4097, but must be 32 to 4,096"),
])  # fmt: skip
def test_options_that_do_not_apply_are_refused(saved, tmp_path, options, message):
  with pytest.raises(ValueError, match=message):
    export(saved, tmp_path / "out", format="torch", **options)
  assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["folder", "file", "broken link"])
def test_what_exists_is_not_written_over(saved, tmp_path, kind):
  out = tmp_path / "out"
  match kind:
    case "folder":
      out.mkdir()
    case "file":
      out.write_text("mine")
    case _:
      out.symlink_to(tmp_path / "nowhere")
  with pytest.raises(FileExistsError, match="out, which exists: name a new folder"):
    export(saved, out, format="torch")
  assert not out.is_file() or out.read_text() == "mine"


@pytest.mark.parametrize("format", ["jax", "onnx"])
def test_a_missing_library_is_a_line_that_installs_it(
  saved, tmp_path, monkeypatch, capsys, format
):
  monkeypatch.setattr(extras, "has", lambda module: False)
  out = str(tmp_path / "out")
  assert cli.main(["export", str(saved), out, "--format", format]) == 1
  line = f"needs {' and '.join(NEEDS[format])}: pip install 'im21k[{format}]'\n"
  assert capsys.readouterr().err == f"im21k export: --format {format} {line}"
  assert not os.path.exists(out)


def test_the_extras_bring_what_is_needed():
  text = (Path(__file__).parents[2] / "setup.cfg").read_text()
  for extra, modules in NEEDS.items():
    lines = text[text.index(f"\n{extra} =\n") :].split("\n")[2:]
    assert [line.strip().split(">=")[0] for line in lines[: len(modules)]] == modules
  assert extras.has("numpy") and not extras.has("no_such_module_anywhere")


@pytest.mark.parametrize("format", ["jax", "onnx"])
def test_what_no_file_holds_is_refused(saved, tmp_path, monkeypatch, format):
  monkeypatch.setattr(extras, "has", lambda module: True)
  monkeypatch.setattr(exports, "_LARGEST", 4 * 190_000)
  with pytest.raises(
    ValueError, match=r"arrays have 7\d\d,\d\d\d bytes, .*format torch"
  ):
    export(saved, tmp_path / "out", format=format)
  assert not (tmp_path / "out").exists()


def test_an_export_that_fails_leaves_nothing(saved, tmp_path, monkeypatch):
  def fail(program, folder):
    (folder / "model.py").write_text("half")
    raise ValueError("nothing is written")

  monkeypatch.setattr(torch_files, "write", fail)
  before = sorted(tmp_path.iterdir())
  with pytest.raises(ValueError, match="nothing is written"):
    export(saved, tmp_path / "out", format="torch")
  assert sorted(tmp_path.iterdir()) == before


def test_what_a_killed_export_left_is_removed_by_the_next(saved, tmp_path, monkeypatch):
  code = (
    "import os, signal, sys; from pathlib import Path; from im21k import files\n"
    "with files.whole_folder(Path(sys.argv[1])) as aside:\n"
    "  (aside / 'model.py').write_text('half')\n"
    "  os.kill(os.getpid(), signal.SIGKILL)"
  )
  out = tmp_path / "made" / "out"
  subprocess.run([sys.executable, "-c", code, out], check=False)
  (left,) = out.parent.iterdir()
  assert left.name.startswith(".writing-") and not out.exists()
  monkeypatch.setattr(extras, "has", lambda module: False)
  export(saved, out, format="torch")
  assert list(out.parent.iterdir()) == [out]


def test_a_model_in_bfloat16_is_exported_in_float32(drawn_with):
  program = exports.Program(drawn_with(dtype="bfloat16"))
  assert program.model.dtype == "float32"
  assert program.released.model.dtype == "bfloat16"


def test_the_description_is_plain_data_about_input_and_classes(narrow):
  described = json.loads(exports.Program(narrow).description(format="jax"))
  assert described["classes"]["ids"] == list(narrow.classes.synsets)
  assert described["classes"]["names"] == list(narrow.classes.names)
  taken = described["input"]
  assert taken["shape"] == ["batch", 64, 64, 3] and taken["dtype"] == "uint8"
  assert (taken["mean"], taken["std"]) == ([120.0, 110.0, 100.0], 60.0)
  assert described["outputs"] == [
    {"name": "logits", "dtype": "float32", "shape": ["batch", 10]}
  ]


def test_images_to_compare_on_are_noise_and_squares(narrow):
  noise, squares = exports.Program(narrow).sample()
  assert noise.shape == squares.shape == (64, 64, 3)
  assert len(np.unique(noise[:16, :16, 0])) > 100
  assert len(np.unique(squares[:16, :16, 0])) == 1
