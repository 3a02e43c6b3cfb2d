"""The command line: help from docstrings, one JSON object, errors without traceback."""

import dataclasses
import importlib
import importlib.metadata
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from im21k import cli
from im21k.packing.config import PackOptions
from im21k.synsets import ClassList

IM21K = Path(sys.executable).with_name("im21k")
GOLDFISH, CAT = "n01443537", "n02121620"


def function_of(command):
  module, function, *_ = cli.COMMANDS[command]
  return getattr(importlib.import_module(module), function)


def shell(*command, **environment):
  """Runs a command; its status, standard output and standard error."""
  # Fast to compile, not to run.
  flags = {"JAX_PLATFORMS": "cpu"}
  done = subprocess.run(
    [str(word) for word in command],
    capture_output=True,
    text=True,
    env={**os.environ, **flags, **environment},
    check=False,
  )
  return done.returncode, done.stdout, done.stderr


def run(capsys, *arguments):
  """Calls `main`; its status, standard output and standard error."""
  try:
    status = cli.main([str(argument) for argument in arguments])
  except SystemExit as end:
    status = end.code
  return status, *capsys.readouterr()


def words(text):
  """`text` without frames and line ends."""
  return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


# Help.


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",)])
def test_overview_lists_every_command_with_its_summary(capsys, arguments):
  status, out, err = run(capsys, *arguments)
  assert (status, err) == (0, "")
  assert out.startswith("usage: im21k COMMAND")
  for command in cli.COMMANDS:
    summary = inspect.getdoc(function_of(command)).splitlines()[0]
    assert re.search(rf"^  {command} +{re.escape(summary)}$", out, re.MULTILINE)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_shows_every_parameter_with_its_text(capsys, command):
  function = function_of(command)
  status, out, err = run(capsys, *command.split(), "--help")
  assert (status, err) == (0, "")
  shown = words(out)
  _, _, arguments = inspect.getdoc(function).partition("Args:\n")
  arguments = re.split(r"\n\n", arguments)[0]
  texts = dict(re.findall(r"^  [*]*(\w+): ((?:.+\n?)(?:    .+\n?)*)", arguments, re.M))
  parameters = dict(inspect.signature(function).parameters)
  if "options" in parameters:  # a dataclass; each field is an option with its text
    for name in ("options", "changes"):
      del parameters[name], texts[name]
    for field in dataclasses.fields(PackOptions):
      texts[field.name] = field.metadata["help"]
      parameters[field.name] = inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY
      )
  if cli.COMMANDS[command].settings:  # They are `--config.KEY=VALUE`.
    assert parameters.pop("settings") and texts.pop("settings")
    assert "--config.batch_size=32" in shown
  assert set(texts) == set(parameters)
  for name, parameter in parameters.items():
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
      label = "--" + name.replace("_", "-")
    else:
      label = rf"(?:{name.upper()}|{{[\w,]+}})"
    text = " ".join(texts[name].split())
    assert re.search(rf"{label}\S* (?:[A-Z| ]|{{[\w,-]+}})*{re.escape(text)}", shown), (
      name
    )
  assert "--json Print one JSON object." in shown
  assert words(inspect.getdoc(function).partition("Args:")[0]) in shown
  assert "None" not in shown and "Raises" not in shown


def test_text_of_a_parameter_is_filled_over_its_line_ends(capsys, monkeypatch):
  def shout(word: str, *, times: int | None = None) -> dict:
    """Says it aloud.

    Args:
      word: what to say.
      times: how often; by
        default once, as
        (nearly) everyone does.
    """

  monkeypatch.setitem(sys.modules, "voice", types.SimpleNamespace(shout=shout))
  monkeypatch.setitem(cli.COMMANDS, "shout", cli.Command("voice", "shout"))
  _, out, _ = run(capsys, "shout", "--help")
  assert "--times INT  how often; by default once, as (nearly) everyone does." in out


def test_usage_asks_for_one_photo_and_more(capsys):
  _, out, _ = run(capsys, "predict", "--help")
  assert out.startswith("usage: im21k predict [-h] [OPTIONS] WEIGHTS_DIR PHOTOS...")
  assert "Photos: a folder from `im21k pack`, of class folders" in words(out)


def test_photos_and_labels_have_the_same_text_in_every_command(capsys):
  seen = []
  commands = "pack evaluate calibrate recalibrate predict features report"
  for command in commands.split():
    shown = words(run(capsys, command, "--help")[1])
    seen.append(re.search(r"Photos: a folder from .*? tfds:NAME:SPLIT", shown)[0])
    seen += re.findall(r"--labels PATH .*? validation photos\.", shown)
  assert sorted({seen.count(text) for text in seen}) == [5, 7]


def test_overview_imports_no_library_and_help_none_that_the_command_spares():
  code = (
    "import sys; from im21k import cli; cli.main(['--help']); "
    "some = {'numpy', 'jax', 'flax', 'grain', 'cv2'} & set(sys.modules)\n"
    "try: cli.main(['pack', '--help'])\n"
    "except SystemExit: pass\n"
    "more = {'jax', 'flax', 'grain', 'orbax', 'matplotlib', 'tensorflow'}\n"
    "print(sorted(some), sorted(more & set(sys.modules)), file=sys.stderr)"
  )
  status, _, err = shell(sys.executable, "-c", code)
  assert (status, err) == (0, "[] []\n")


@pytest.mark.parametrize("start", [[IM21K], [sys.executable, "-m", "im21k"]])
def test_version_is_that_of_the_package(start):
  status, out, err = shell(*start, "--version")
  assert (status, out, err) == (0, f"im21k {importlib.metadata.version('im21k')}\n", "")


def test_a_group_of_commands_has_its_own_overview(capsys):
  status, out, err = run(capsys, "convert", "--help")
  assert (status, err) == (0, "")
  assert re.findall(r"^  (\w+ [\w-]+)  ", out, re.M) == [
    "convert mxnet",
    "convert to-mxnet",
  ]
  needs = "im21k: convert needs one of: mxnet, to-mxnet\n"
  assert run(capsys, "convert") == (2, "", needs)
  assert run(capsys, "convert", "mxnte")[2].endswith("did you mean convert mxnet?\n")


def test_choices_are_listed_and_checked(capsys, monkeypatch):
  def paint(
    size: Literal["small", "large"], *, color: Literal["red", "blue"] | None = None
  ) -> dict:
    """Paints.

    Args:
      size: Size.
      color: Color.
    """
    return {"size": size, "color": color}

  voice = types.SimpleNamespace(paint=paint, text=str)
  monkeypatch.setitem(sys.modules, "voice", voice)
  monkeypatch.setitem(cli.COMMANDS, "paint", cli.Command("voice", "paint"))
  _, out, _ = run(capsys, "paint", "--help")
  assert "{small,large}" in out and "--color {red,blue}" in out and "None" not in out
  assert run(capsys, "paint", "small", "--color", "red")[0] == 0
  for wrong in ("green", "None"):
    status, _, err = run(capsys, "paint", "small", "--color", wrong)
    assert status == 2
    assert err == f"im21k paint: --color is {wrong!r}, but must be red or blue\n"


@pytest.mark.parametrize(
  ("line", "expected"),
  [
    ("im21k pa", {"pack"}),
    ("im21k convert ", {"mxnet", "to-mxnet"}),
    ("im21k pack --eval-k", {"--eval-keys"}),
  ],
)
def test_bash_completes_commands_and_options(completion_script, line, expected):
  words = [*line.split(" ")] if line.endswith(" ") else line.split()
  code = (
    f"source {completion_script}; COMP_WORDS=({' '.join(map(repr, words))}); "
    f"COMP_CWORD={len(words) - 1}; _tyro_im21k; printf '%s\\n' \"${{COMPREPLY[@]}}\""
  )
  status, out, err = shell("bash", "-c", code)
  assert (status, err) == (0, "")
  assert set(out.split()) - {"-h", "--help"} == expected


@pytest.fixture(scope="module")
def completion_script(tmp_path_factory):
  path = tmp_path_factory.mktemp("completion") / "im21k.bash"
  path.write_text(cli.completion("bash")["script"])
  return path


# Results.


@pytest.fixture(scope="module")
def photos(sample_photos, tmp_path_factory):
  """Two classes, four photos each."""
  folder = tmp_path_factory.mktemp("photos")
  for synset in (GOLDFISH, CAT):
    (photo,) = (sample_photos / synset).iterdir()
    (folder / synset).mkdir()
    for i in range(4):
      shutil.copy(photo, folder / synset / f"{i}.jpg")
  return folder


@pytest.fixture
def saved(linear_weights, tmp_path):
  """A folder of weights that answer the same to everything."""
  kernel, bias = np.zeros((48, 2), np.float32), np.array([0, 1], np.float32)
  linear_weights(kernel, bias, ClassList("two", (GOLDFISH, CAT))).save(tmp_path / "w")
  return tmp_path / "w"


@pytest.mark.slow
def test_json_is_one_object_and_all_there_is_on_stdout(
  capsys, saved, tiny_weights, photos, tmp_path
):
  pack = (IM21K, "pack", photos, tmp_path / "packed", "--eval-per-class", 1)
  status, out, err = shell(*pack, "--workers", 1, "--json")
  assert status == 0, err
  assert out.count("\n") == 1
  result = json.loads(out)
  assert (result["train"], result["eval"], result["rejected"]) == (6, 2, 0)

  plot = tmp_path / "plot.png"
  images = [photos / GOLDFISH / "0.jpg", photos / CAT / "0.jpg"]
  tiny_weights.save(tmp_path / "weights")
  predict = (IM21K, "predict", tmp_path / "weights", *images, "--top-k", 3)
  status, out, err = shell(*predict, "--plot", plot, "--json")
  assert status == 0, err
  assert out.count("\n") == 1
  result = json.loads(out)
  assert [p["image"] for p in result["predictions"]] == [str(path) for path in images]
  for prediction in result["predictions"]:
    probabilities = [top["probability"] for top in prediction["top"]]
    assert len(probabilities) == 3
    assert 1 > probabilities[0] > probabilities[1] > probabilities[2] > 1 / 21841
  assert result["plot"] == str(plot)
  assert plot.read_bytes().startswith(b"\x89PNG")

  ids = tmp_path / "two.txt"
  ids.write_text(f"{GOLDFISH}\n{CAT}\n")
  run(capsys, "pack", photos, tmp_path / "two", "--classes", ids, "--workers", 1)
  evaluate = ("evaluate", saved, tmp_path / "two", "--split", "train", "--json")
  status, out, _ = run(capsys, *evaluate)
  assert status == 0
  assert out.count("\n") == 1
  assert [row["images"] for row in json.loads(out)["rows"]] == [8, 4]


def test_without_json_the_result_is_text(capsys, photos, tmp_path):
  status, out, _ = run(capsys, "pack", photos, tmp_path / "packed", "--workers", 1)
  assert status == 0
  assert out.startswith("packed 8 train and 0 held-out photos of 2 classes into ")
  assert out.endswith(f"manifest: {tmp_path / 'packed' / 'manifest.json'}\n")


def test_predict_takes_several_images_before_or_after_options(capsys, saved, photos):
  images = [photos / GOLDFISH / f"{i}.jpg" for i in range(3)]
  results = []
  for arguments in ([saved, *images, "--top-k", 1], ["--top-k", 1, saved, *images]):
    status, out, _ = run(capsys, "predict", *arguments)
    assert status == 0
    results.append(out)
  assert results[0] == results[1]
  assert results[0].count("cat, true cat") == 3


def test_evaluate_prints_a_table(capsys, saved, photos, tmp_path):
  ids = tmp_path / "two.txt"
  ids.write_text(f"{GOLDFISH}\n{CAT}\n")
  run(capsys, "pack", photos, tmp_path / "p", "--classes", ids, "--workers", 1)
  status, out, _ = run(capsys, "evaluate", saved, tmp_path / "p", "--split", "train")
  assert status == 0
  assert [line.split() for line in out.splitlines()[1:]] == [
    ["all", "2", "8", "50.00%", "100.00%", "100.00%"],
    ["95", "%", "interval", "21.5–78.5", "67.6–100.0", "67.6–100.0"],
    ["1", "of", "ilsvrc2012", "4", "100.00%", "100.00%", "100.00%"],
    ["95", "%", "interval", "51.0–100.0", "51.0–100.0", "51.0–100.0"],
    [
      "8",
      "photos:",
      "8",
      "scored,",
      "0",
      "of",
      "unknown",
      "classes,",
      "0",
      "unreadable",
      "or",
      "without",
      "class",
    ],
  ]


# Errors.


@pytest.mark.parametrize(
  ("command", "hint"),
  [
    ("evaluat", "did you mean evaluate?"),
    ("packk", "did you mean pack?"),
    ("xyz", "the commands are: pack, "),
    ("--json", "the commands are: pack, "),
  ],
)
def test_unknown_command_offers_the_nearest(capsys, command, hint):
  status, out, err = run(capsys, command)
  assert (status, out) == (2, "")
  assert err.startswith(f"im21k: unknown command {command!r}; ")
  assert hint in err


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["predict", "nowhere", "a.jpg"], "nowhere/model.json does not exist"),
    (["predict", "nowhere", "a.jpg", "--top-k", "0"], "top_k is 0"),
    (["evaluate", "nowhere", "packed"], "nowhere/model.json does not exist"),
    (["pack", "nowhere", "packed"], "nowhere does not exist"),
    (["pack", "nowhere", "packed", "--quality", "0"], "quality is 0"),
  ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_error_is_one_line_on_stderr_with_status_1(
  capsys, monkeypatch, tmp_path, arguments, message, as_json
):
  monkeypatch.chdir(tmp_path)
  status, out, err = run(capsys, *arguments, *["--json"] * as_json)
  assert (status, out) == (1, "")
  assert err.startswith(f"im21k {arguments[0]}: ")
  assert message in err
  assert err.count("\n") == 1


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ("predict", "WEIGHTS_DIR and PHOTOS are missing; --help describes them"),
    ("predict w", "PHOTOS is missing; --help describes it"),
    ("predict w a.jpg --plto p.png", "unknown option --plto; did you mean --plot?"),
    ("predict w a.jpg --xyz", "unknown option --xyz; --help lists the options"),
    ("predict w a.jpg -k 3", "unknown option -k; --help lists the options"),
    ("predict w a.jpg --top-k many", "--top-k is 'many', but must be INT"),
    ("predict w a.jpg --top-k", "--top-k needs a value: INT"),
    ("predict w a.jpg --top-k --json", "--top-k needs a value: INT"),
    ("predict w a.jpg --top-k=", "--top-k is empty, but must be INT"),
    ("predict w a.jpg --top-k 1e9", "--top-k is '1e9', but must be INT"),
    ("predict w a.jpg --top_k 1 --top-k 2", "--top-k is given twice"),
    ("predict w a.jpg --top-k 9223372036854775808",
     "--top-k is '9223372036854775808', but must be below 2^63"),
    ("predict w a.jpg --accuracy nan",
     "--accuracy is 'nan', but must be a finite number"),
    ("predict w a.jpg --accuracy 1e400",
     "--accuracy is '1e400', but must be a finite number"),
    ("evaluate w data more", "unexpected argument 'more'"),
    ("evaluate w data --flip=no", "--flip takes no value, but has 'no'"),
    ("pack photos", "DESTINATION is missing; --help describes it"),
    ("pack --shard 3 photos out", "unknown option --shard; did you mean --shards?"),
    ("pack photos out --check decod",
     "--check is 'decod', but must be decode or header; did you mean decode?"),
    ("pack photos out --shards None", "--shards is 'None', but must be INT"),
    ("report", "FOLDER is missing; --help describes it"),
    ("completion fish", "SHELL is 'fish', but must be bash or zsh"),
  ],
)  # fmt: skip
def test_wrong_arguments_are_explained_on_stderr_with_status_2(
  capsys, arguments, message
):
  command, *_ = arguments.split()
  assert run(capsys, *arguments.split()) == (2, "", f"im21k {command}: {message}\n")


@pytest.mark.parametrize(
  ("error", "line"),
  [
    (FileNotFoundError(2, "No such file or directory", "a b"), "a b: no such file or "),
    (IsADirectoryError(21, "Is a directory", "aside", None, b"out"), "out: is a direc"),
    (OSError("the disk is full"), "the disk is full"),
    (ValueError("because:\n\t* one\n\t* two"), "because: * one * two"),
  ],
)
def test_error_of_a_library_is_one_line_that_begins_with_the_file(
  capsys, monkeypatch, error, line
):
  status, out, err = run_raising(capsys, monkeypatch, error)
  assert (status, out) == (1, "")
  assert err.startswith(f"im21k shout: {line}") and err.count("\n") == 1


def test_ctrl_c_is_one_line_with_the_status_of_the_signal(capsys, monkeypatch):
  done = run_raising(capsys, monkeypatch, KeyboardInterrupt())
  assert done == (130, "", "im21k: interrupted\n")


def run_raising(capsys, monkeypatch, error):
  """Runs a command that raises an error."""

  def shout() -> dict:
    """Raises."""
    raise error

  monkeypatch.setitem(sys.modules, "voice", types.SimpleNamespace(shout=shout))
  monkeypatch.setitem(cli.COMMANDS, "shout", cli.Command("voice", "shout"))
  return run(capsys, "shout")


def test_nobody_reads_the_output():
  code = f"{IM21K} --version | true; echo ${{PIPESTATUS[0]}}"
  assert shell("bash", "-c", code) == (
    0,
    "141\n",
    "im21k: standard output: it was closed before the whole result was written\n",
  )


def test_program_ends_with_the_status_of_main(tmp_path):
  status, out, err = shell(IM21K, "pack", tmp_path / "nowhere", tmp_path / "packed")
  assert (status, out) == (1, "")
  assert "Traceback" not in err and "nowhere does not exist" in err
