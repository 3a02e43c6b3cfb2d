"""README and docs/: blocks run or are checked, links resolve, tables are up to date."""

import contextlib
import functools
import importlib
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from glob import glob
from pathlib import Path

import numpy as np
import pytest

from im21k import cli, synsets, weights
from im21k.answers import calibration

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
MEASURED = ROOT / "benchmarks" / "README.md"
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.jsonl"))
NAMED = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
EXPERIMENTS = (ROOT / "experiments", ROOT / "experiments" / "speedrun")
PAGES = [*NAMED, *DOCS, MEASURED, *(folder / "README.md" for folder in EXPERIMENTS)]
TEXTS = {path: path.read_text(encoding="utf-8") for path in PAGES}
# Folders of the repository: a path that begins with one of them must exist.
FOLDERS = ("im21k", "experiments", "tests", "benchmarks", "data", "docs")
# Options of other programs, and those of `im21k` that belong to no function.
OTHER_OPTIONS = {"--check", "--config", "--fix", "--help", "--json", "--strict",
                 "--version"}  # fmt: skip
# Not the field's words; CONTRIBUTING.md says which are.
BANNED = re.compile(
  r"\b(told|tells?|spool\w*|loose|bundles?|laps|lies?|anew|kin|verbs?|jobs?|go(es)? on"
  r"|vouch\w*|made smaller)\b",
  re.IGNORECASE,
)


def name_of(path):
  return str(path.relative_to(ROOT))


def blocks(path, language):
  """The code blocks of a page in one language."""
  return re.findall(
    rf"^```{language}\n(.*?)^```", TEXTS[path], re.DOTALL | re.MULTILINE
  )


def prose(text):
  """A page without code, generated tables and addresses of links."""
  text = re.sub(r"<!-- (\w+)[^>]*-->.*?<!-- /\1 -->", "", text, flags=re.DOTALL)
  text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
  return re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "", text))


def spans(text):
  """Inline code of a page."""
  text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
  return [re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", text)]


def load_script(path):
  """A script outside the package, as a module."""
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@functools.cache
def options(command):
  """The options of a command, from its help."""
  shown = io.StringIO()
  with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
    cli.main([*command.split(), "--help"])
  return set(re.findall(r"--[a-z][\w-]*", shown.getvalue()))


def command_of(words):
  """`convert mxnet` of its words; an AssertionError if there is no such command."""
  name = words[0] if words else ""
  group = any(known.startswith(f"{name} ") for known in cli.COMMANDS)
  if group and words[1:] and not words[1].startswith("-"):
    name, group = " ".join(words[:2]), False
  assert group or name in cli.COMMANDS, f"im21k has no command {name!r}"
  return name


def python_pages():
  """The pages with Python; one compiles models for half a minute."""
  for path in PAGES:
    if blocks(path, "python") and path.name != "export.md":  # tests/export runs it.
      slow = [pytest.mark.slow] if path.name == "reuse.md" else []
      yield pytest.param(path, id=name_of(path), marks=slow)


@pytest.mark.slow
@pytest.mark.parametrize("path", list(python_pages()))
def test_python_of_a_page_runs(path, packed, tiny_weights, tmp_path):
  (tmp_path / "runs" / "demo").mkdir(parents=True)
  tiny_weights.save(tmp_path / "runs" / "demo" / "weights")
  (tmp_path / "runs" / "demo-photos").symlink_to(packed)
  (tmp_path / "data").symlink_to(ROOT / "data")
  code = "\n".join(blocks(path, "python"))
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
  )
  assert done.returncode == 0, done.stderr[-3000:]
  # What a comment behind a print says is what is printed.
  for shown in re.findall(r"^print\(.*\)  # (\d.*)$", code, re.MULTILINE):
    assert shown in done.stdout


@pytest.mark.slow
def test_the_notebook_runs(tiny_weights, tmp_path):
  """Its cells in order, as a program; it holds pictures, so it was run before too."""
  path = ROOT / "docs" / "own_classes.ipynb"
  cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
  code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
  outputs = [out for cell in cells for out in cell.get("outputs", ())]
  assert any("image/png" in out.get("data", {}) for out in outputs)
  assert not any(out["output_type"] == "error" for out in outputs)
  (tmp_path / "runs" / "demo").mkdir(parents=True)
  tiny_weights.save(tmp_path / "runs" / "demo" / "weights")
  (tmp_path / "data").symlink_to(ROOT / "data")
  program = "\n".join(["import matplotlib", "matplotlib.use('agg')", *code])
  done = subprocess.run(
    [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
  )
  assert done.returncode == 0, done.stderr[-3000:]
  assert (tmp_path / "runs" / "notebook" / "weights" / "model.json").is_file()


def shell_lines():
  """(page, line) of all commands in `sh` blocks, continued lines in one."""
  for path in PAGES:
    for block in blocks(path, "sh"):
      for line in block.replace("\\\n", " ").splitlines():
        if shlex.split(line, comments=True):
          yield path, line.partition(" #")[0].strip()


def test_every_block_has_a_language_that_is_checked():
  for path, text in TEXTS.items():
    fences = re.findall(r"^```(.*)$", text, re.MULTILINE)
    assert set(fences[::2]) <= {"python", "sh", ""}, path
    assert not any(fences[1::2]), path


@pytest.mark.parametrize(
  ("path", "line"), [pytest.param(*case, id=case[1]) for case in shell_lines()]
)
def test_shell_line_can_be_typed(path, line, monkeypatch, capsys):
  if match := re.fullmatch(r'eval "\$\((.*)\)"', line):
    line = match[1]
  program, *words = shlex.split(line)
  match program:
    case "im21k":
      check_im21k(words, monkeypatch, capsys)
    case "make":
      check_make(words)
    case "python":
      check_script(words)
    case ".":
      assert words == [".venv/bin/activate"]
    case _:
      raise AssertionError(f"{program} is not known to this test")
  check_paths(words)


def check_im21k(words, monkeypatch, capsys):
  """The command line parses: a function with the same parameters is put in place."""
  if words == ["--version"]:
    return
  name = command_of(words)
  if name == "train":
    check_config(words[1:])
  entry = cli.COMMANDS[name]
  module = importlib.import_module(entry.module)

  @functools.wraps(getattr(module, entry.function))
  def stub(*args, **kwargs):
    return {"ran": True}

  monkeypatch.setattr(module, entry.function, stub)
  more = [] if "--json" in words else ["--json"]
  after = len(name.split())  # Of what follows `--`, nothing is this command's.
  assert cli.main([*words[:after], *more, *words[after:]]) == 0
  assert '"ran": true' in capsys.readouterr().out


# Lines that are only parsed: what they need, and where the same is run.
NOT_RUN = {
  "make": "installs, or takes minutes; the Makefile's targets are checked by name",
  ". .venv/bin/activate": "the environment of the tests is active",
  "eval": "tests/test_cli.py sources the script",
  "python benchmarks/tables.py": "--check is run by a test here",
  "python docs/generate.py": "--check is run by a test here",
  "python docs/recipe.py": "writes into docs/; a test here draws",
  "python benchmarks/recipe.py": "trains for hours; tests/test_recipe_benchmark.py",
  "python experiments/run.py": "trains for minutes; tests/test_end_to_end.py",
  "im21k train": "trains for minutes or days; tests/test_end_to_end.py",
  "im21k launch": "starts several processes; tests/hosts",
  "im21k sweep": "trains for minutes; tests/comparing/test_sweep.py",
  "im21k compare": "needs two runs; tests/comparing/test_compare.py",
  "im21k plan": "compiles for a minute; tests/planning/test_plan.py",
  "im21k recalibrate": "needs a batch of 256 photos; tests/evaluation",
  "im21k convert mxnet": "a download of 58 MB; tests/convert/test_mxnet.py",
  "im21k convert to-mxnet": "needs what the line before makes; the same test",
  "im21k serve": "runs until Ctrl-C; tests/serving/test_serve.py",
  "im21k pack SOURCE DESTINATION": "needs a cluster; tests/packing/test_dask.py",
  "im21k predict WEIGHTS - ": "reads a pipe; tests/inference/test_places.py",
  "im21k export-checkpoint": "needs a run; tests/training/test_export_checkpoint.py",
  "im21k export": "needs libraries of extras; tests/export/test_page.py",
  "im21k probe": "needs what the line before makes; tests/features/test_probe.py",
  "im21k evaluate WEIGHTS tfds:": "a data set that TFDS has prepared; tests/photos",
}


# The page whose lines need what the lines before have made.
IN_ORDER = ROOT / "docs" / "own_classes.md"


def lines_to_run():
  """(page, line) of the commands that run here, each once."""
  seen = set()
  for path, line in shell_lines():
    words = " ".join(line.split())
    if path == IN_ORDER:
      continue
    if words not in seen and not any(words.startswith(known) for known in NOT_RUN):
      yield pytest.param(words, id=f"{name_of(path)}: {words}")
    seen.add(words)


@pytest.fixture(scope="module")
def data(packed, sample_photos, ilsvrc2012_like, tmp_path_factory):
  """What the pages call /data: sample photos in place of millions."""
  root = tmp_path_factory.mktemp("data")
  # A folder of its own, for a page is written there.
  shutil.copytree(packed, root / "packed", copy_function=os.link)
  for name in ("imagenet", "photos"):
    (root / name).symlink_to(sample_photos)
  (root / "ILSVRC2012_img_val").mkdir()
  some = sorted(sample_photos.rglob("*.jpg"))[:3]
  for number, photo in enumerate(some, 1):
    name = f"ILSVRC2012_val_{number:08}.JPEG"
    (root / "ILSVRC2012_img_val" / name).symlink_to(photo)
  ilsvrc2012_like.make(sample_photos, root / "downloads")
  (root / "split").mkdir()
  (root / "split" / "train").symlink_to(sample_photos)
  for photo in some:
    (root / "split" / "val" / photo.parent.name).mkdir(parents=True, exist_ok=True)
    shutil.copy(photo, root / "split" / "val" / photo.parent.name)
  thousand = set(synsets.ilsvrc2012().synsets)
  for name in ("fall11_whole.tar", "ILSVRC2012_img_train.tar"):
    with tarfile.open(root / name, "w") as whole:
      for folder in sorted(filter(Path.is_dir, sample_photos.iterdir()))[:6]:
        if name.startswith("fall11") or folder.name in thousand:
          with tarfile.open(root / f"{folder.name}.tar", "w") as one:
            for photo in sorted(folder.iterdir()):
              one.add(photo, photo.name)
          whole.add(root / f"{folder.name}.tar", f"{folder.name}.tar")
  return root


@pytest.fixture
def workshop(data, linear_weights, sample_photos, tmp_path, monkeypatch):
  """A folder with all that the lines name; gives what stands for each word."""
  classes = synsets.imagenet21k()
  bias = np.zeros(len(classes), np.float32)
  bias[classes.index("n04587559")] = 3
  released = linear_weights(np.zeros((48, len(classes)), np.float32), bias, classes)
  released.save(tmp_path / "WEIGHTS")
  calibration.save(
    tmp_path / "WEIGHTS" / weights.ARRAYS, calibration.Calibration(1.5, {0.9: 50.0}, 9)
  )
  (run := tmp_path / "runs" / "21k").mkdir(parents=True)
  (run / "weights").symlink_to(tmp_path / "WEIGHTS")
  (run / "config.json").write_text(json.dumps({"data": str(data / "packed")}))
  (run / "metrics.jsonl").write_text('{"step": 1, "images": 9, "train_top_1": 0.5}\n')
  for name in ("photo.jpg", "mountain.jpg"):
    shutil.copy(min(sample_photos.rglob("*.jpg")), tmp_path / name)
  monkeypatch.chdir(tmp_path)
  return {"/data/": f"{data}/", "fall11_whole": str(data / "fall11_whole"),
          "ILSVRC2012_img_train": str(data / "ILSVRC2012_img_train"),
          "ILSVRC2012_img_val": str(data / "downloads" / "ILSVRC2012_img_val"),
          "downloads": str(data / "downloads"),
          "photos/": f"{data}/split/"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("line", list(lines_to_run()))
def test_shell_line_runs(workshop, line, capfd):
  words = shlex.split(line)
  for at, word in enumerate(words):
    for named, stand_in in workshop.items():
      if word.startswith(named):
        words[at] = stand_in + word.removeprefix(named)
  if words[1] == "pack":  # Where the other lines find it, it is packed already.
    words[3] = "packed"
  if words[1] == "bench-loader":
    words += ["--seconds", "0.1", "--workers", "0"]
  words = [name for word in words for name in (sorted(glob(word)) or [word])]
  status = cli.main(words[1:])
  out, err = capfd.readouterr()
  assert (status, err) == (0, "") and out
  made = {"--plot": "PNG", "--picture": "PNG", "--report": "<!doctype html>"}
  for option, start in made.items():
    if option in words:
      path = Path(words[words.index(option) + 1])
      assert start.encode() in path.read_bytes()[:20]


@pytest.mark.slow
def test_own_classes_run_from_the_folder_to_the_answers(
  workshop, sample_photos, tmp_path, capfd
):
  """Every line of the page, in order, on sample photos in folders of such names."""
  synset_of = {"cats": "n02512053", "my dog": "n03481172", "sports_cars": "n04587559"}
  for name, synset in synset_of.items():
    shutil.copytree(sample_photos / synset, tmp_path / "photos" / name)
  for path, line in shell_lines():
    if path == IN_ORDER and not any(line.startswith(known) for known in NOT_RUN):
      status = cli.main(shlex.split(line)[1:])
      out, err = capfd.readouterr()
      assert status == 0, (line, err)
      assert out, line
  for name in ("mine", "placed"):
    result = json.loads((tmp_path / "runs" / name / "finetune.json").read_text())
    assert result["result"]["train"] + result["result"]["eval"] == 47
  placed = weights.load(tmp_path / "runs" / "placed" / "weights").classes
  assert placed.under == ("n02121620", "n02084071", "n04285008")


def test_what_is_not_run_is_in_the_pages():
  lines = [" ".join(line.split()) for _, line in shell_lines()]
  for known in NOT_RUN:
    assert any(line.startswith(known) for line in lines), known


def check_config(words):
  """The config exists, and every key that is set on the line, with such a value."""
  from im21k.training import configs, overrides

  settings, (name, *_) = overrides.split(words)
  configs.load(name, settings)


def check_make(words):
  makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
  targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
  for word in words:
    variable = re.match(r"([A-Z]+)=", word)
    if variable:
      uses = rf"\$\((value )?{variable[1]}\)"
      assert re.search(uses, makefile), f"the Makefile does not use {variable[1]}"
    else:
      assert word in targets, f"the Makefile has no target {word}"


def check_script(words):
  script = ROOT / words[0]
  if script == ROOT / "experiments" / "run.py":
    (config,) = (w.partition("=")[2] for w in words if w.startswith("--config="))
    rest = [w for w in words[1:] if not w.startswith("--config=")]
    check_config([config, *rest])
    assert {w.partition("=")[0] for w in rest} <= options("train")
    return
  source = script.read_text(encoding="utf-8")
  for word in words[1:]:
    if word.startswith("--"):
      assert f'"{word.partition("=")[0]}"' in source


def check_paths(words):
  for word in words:
    path = word.rpartition("=")[2].rstrip(".,;:")
    if path.startswith(tuple(f"{folder}/" for folder in FOLDERS)):
      assert any(ROOT.glob(path.rstrip("/"))), f"{path} does not exist"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_inline_code_names_what_exists(path):
  every = OTHER_OPTIONS.union(*map(options, cli.COMMANDS))
  for span in spans(TEXTS[path]):
    words = span.split()
    if words[0] == "im21k" and len(words) > 1 and re.match("[a-z]", words[1]):
      name = command_of(words[1:])
      given = {w.partition("=")[0] for w in words if w.startswith("--")}
      known = options(name) if name in cli.COMMANDS else set()
      assert given <= known | OTHER_OPTIONS, span
    elif words[0] == "make" and len(words) > 1:
      check_make(words[1:])
    elif words[0].startswith("--") and not words[0].startswith("--config."):
      assert words[0].partition("=")[0] in every, span
    if not re.search("ROOM|MODULE|NAME", span):
      check_paths(words)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_resolve(path):
  for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[path]):
    if target.startswith("http"):
      continue
    file, _, anchor = target.partition("#")
    other = (path.parent / file).resolve() if file else path
    assert other.exists(), f"{target} does not exist"
    if anchor:
      headings = re.findall(r"^#+ (.*)$", TEXTS[other], re.MULTILINE)
      assert anchor in {slug(heading) for heading in headings}, target


def slug(heading):
  """The anchor that GitHub gives a heading."""
  return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_page_is_linked_from_the_readme_and_the_index():
  for page in DOCS:
    assert f"(docs/{page.name})" in TEXTS[ROOT / "README.md"], page
    if page.name != "index.md":
      assert f"({page.name})" in TEXTS[ROOT / "docs" / "index.md"], page


def test_index_begins_with_what_one_has_and_wants():
  lines = TEXTS[ROOT / "docs" / "index.md"].splitlines()
  assert lines[0] == "# I have X, I want Y"
  assert lines[2].startswith("| I have | I want |")


def test_readme_is_one_screen_with_a_small_picture():
  assert len(TEXTS[ROOT / "README.md"].splitlines()) <= 150
  (picture,) = re.findall(r"!\[[^]]+\]\((.*?)\)", TEXTS[ROOT / "README.md"])
  assert 5_000 < (ROOT / picture).stat().st_size < 300_000


def test_readme_names_every_room():
  (tree,) = re.findall(
    r"^im21k/\n((?:  .*\n)+)", TEXTS[ROOT / "README.md"], re.MULTILINE
  )
  names = (re.split(r"  +", line.strip())[0] for line in tree.splitlines())
  named = {name for some in names for name in some.split()}
  here = {
    path.name + "/" * path.is_dir()
    for path in (ROOT / "im21k").iterdir()
    if path.suffix == ".py" or (path.is_dir() and list(path.glob("*.py")))
  }
  assert named == here - {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("page", ["layout.md", "training.md"])
def test_what_is_generated_is_up_to_date(page):
  generate = load_script(ROOT / "docs" / "generate.py")
  text = TEXTS[ROOT / "docs" / page]
  assert generate.filled(text) == text, "run: python docs/generate.py"


def test_layout_names_every_module():
  text = TEXTS[ROOT / "docs" / "layout.md"]
  for path in (ROOT / "im21k").rglob("*.py"):
    assert path.name.startswith("__") or f" {path.name} " in text, path


def test_training_names_every_key():
  from im21k.training import run

  text = TEXTS[ROOT / "docs" / "training.md"]
  assert len(run.describe()) > 40
  assert all(f"| `{row['key']}` |" in text for row in run.describe())


def test_a_room_without_description_is_an_error(monkeypatch):
  generate = load_script(ROOT / "docs" / "generate.py")
  monkeypatch.delitem(generate.ROOMS, "photos")
  with pytest.raises(ValueError, match="does not describe photos"):
    generate.tree()


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_tables_are_made_from_the_rows(path):
  tables = load_script(ROOT / "benchmarks" / "tables.py")
  assert tables.filled(TEXTS[path]) == TEXTS[path], "run: python benchmarks/tables.py"


def test_every_row_says_where_it_is_from_and_is_shown():
  tables = load_script(ROOT / "benchmarks" / "tables.py")
  rows = tables.read_rows()
  shown = set(re.findall(r"<!-- table: ([\w-]+) -->", "".join(TEXTS.values())))
  there = {row["table"] for row in rows}
  assert len(rows) > 100 and there <= shown
  assert shown - there <= {*tables.GPU, *tables.LONG}, "a table without rows"
  for row in rows:
    assert row["source"] and re.fullmatch(r"\d{4}(-\d\d-\d\d)?", row["date"]), row
    if not row["source"].startswith(("published", "calculated")):
      assert row["machine"] and (row.get("command") or row["table"] == "crop-decoding")


def test_unknown_table_is_an_error():
  tables = load_script(ROOT / "benchmarks" / "tables.py")
  with pytest.raises(ValueError, match="'nonesuch' has no rows"):
    tables.filled("<!-- table: nonesuch -->\n<!-- /table -->")


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_prose_is_in_the_words_of_the_field(path):
  assert not [match[0] for match in BANNED.finditer(prose(TEXTS[path]))]


def test_version_of_the_citation_is_the_version():
  setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
  cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
  version = re.search(r"^version = (.*)$", setup, re.MULTILINE)[1]
  assert f"\nversion: {version}\n" in cited


@pytest.mark.parametrize("script", ["benchmarks/tables.py", "docs/generate.py"])
def test_check_of_a_generator_writes_nothing(script, monkeypatch, capsys):
  module = load_script(ROOT / script)
  monkeypatch.setattr(sys, "argv", [script, "--check"])
  assert module.main() == 0
  monkeypatch.setattr(module, "filled", lambda text: text + "stale")
  before = (ROOT / "docs" / "layout.md").stat().st_mtime_ns
  assert module.main() == 1
  assert (ROOT / "docs" / "layout.md").stat().st_mtime_ns == before


def test_the_pictures_of_the_recipe_show_every_row(monkeypatch, tmp_path):
  """With rows of the form that the benchmark writes, also of what is not measured."""
  spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs/recipe.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  base = {"gain": 1.0, "gain_std": 0.5, "top_1": 5.0, "top_1_std": None, "mflop": 9.0}
  rows = [
    {"table": "recipe-screen", "recipe": "base", **base, "gain": 0.0, "gain_std": 0.0},
    {"table": "recipe-screen", "recipe": "worse", **base, "gain": -2.0},
    {"table": "recipe-screen", "recipe": "one seed", **base, "gain_std": None},
    {"table": "recipe-around", "recipe": "with more", **base},
    {"table": "recipe-scale", "recipe": "", **base, "width": 0.125, "passes": 9,
     "photos": 100},
    {"table": "recipe-scale", "recipe": "", **base, "width": 0.0625, "passes": 27,
     "photos": 100},
  ]  # fmt: skip
  results = tmp_path / "rows.jsonl"
  results.write_text("".join(json.dumps(row) + "\n" for row in rows))
  monkeypatch.setattr(module, "RESULTS", results)
  monkeypatch.setattr(module, "PICTURES", tmp_path / "pictures")
  module.main()
  first = (tmp_path / "pictures/gains.svg").read_bytes()
  assert b"worse" in first and b"with more" in first and b"one seed" not in first
  assert b"width 0.0625" in (tmp_path / "pictures/scale.svg").read_bytes()
  module.main()
  assert (tmp_path / "pictures/gains.svg").read_bytes() == first
