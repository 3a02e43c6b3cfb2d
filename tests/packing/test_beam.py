"""Packing through Beam: its runner on this machine, and options as it spells them."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from im21k.packing import beam, task_file
from im21k.packing.pack import pack
from im21k.usage import ordered

packing = sys.modules["im21k.packing.pack"]
ROOT = Path(__file__).parents[2]


def contents(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def environment(**more):
  return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def test_beam_that_is_not_installed_is_an_error_with_what_to_do(photos, monkeypatch):
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  with pytest.raises(ValueError, match=r"pip install 'im21k\[beam\]'"):
    pack(photos({"n01440764": 1}), Path("out"), runner="beam")


@pytest.mark.parametrize(
  "words",
  [
    ["--beam-options=--runner=A --b='c d'"],
    ["--beam-options", "--runner=A --b='c d'"],
    ["--beam-options=--runner=A", "--beam-options", "--b='c d'"],
  ],
)
def test_options_are_one_word_or_several(words):
  (line,) = (
    word
    for word in ordered(["a", "b", "--runner=beam", *words], packing.pack)
    if word.startswith("--beam-options")
  )
  assert beam._words(line.partition("=")[2]) == ["--runner=A", "--b=c d"]


def run(words, **more):
  return subprocess.run(
    words, capture_output=True, text=True, env=environment(), **more
  )


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", ["direct", "external"])
def test_a_beam_pipeline_writes_the_same_bytes(source, tmp_path, command, shuffle):
  """On Beam's local runner with several processes."""
  options = {"shards": 3, "shuffle": shuffle, "eval_per_class": 1}
  options |= {"memory": 1e-5} if shuffle == "external" else {}
  pack(source, tmp_path / "local", workers=2, **options)
  done = run(command(source, tmp_path / "beam", **options))
  assert done.returncode == 0, done.stderr
  assert contents(tmp_path / "local") == contents(tmp_path / "beam")


WRONG = {
  "--runer=X": "beam_options has '--runer', which is no option of Beam: did you mean "
  "--runner?",
  "runner=X": "beam_options has 'runner', which is no option of Beam: did you mean "
  "--runner?",
  "--runner=Xyz": "beam_options: runner Xyz: Unexpected pipeline runner: Xyz. Valid",
  "--runner='X": 'beam_options is "--runner=\'X": No closing quotation',
  "--runner": "beam_options: argument --runner: expected one argument",
  "--runner=DaskRunner --dask_npartitions=a": "beam_options: argument "
  "--dask_npartitions: invalid int value: 'a'",
  "--runner=FlinkRunner --dask_client_address=x": "beam_options has "
  "'--dask_client_address', which is no option of Beam",
  "--runner=DataflowRunner --project=p": "beam_options: ",
  "--no_wait_until_finish": "beam_options has --no_wait_until_finish, but packing has",
  "--runner=dask --dask_client_address=tcp://127.0.0.1:9 --dask_connection_timeout=1":
  "the engine failed: Timed out trying to connect to tcp://127.0.0.1:9 after 1 s",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("text", WRONG)
def test_wrong_options_are_one_line_and_nothing_is_packed(
  source, tmp_path, command, text
):
  done = run(command(source, tmp_path / "out", f"--beam-options={text}"))
  assert done.returncode == 1
  assert done.stderr.startswith(f"im21k pack: {WRONG[text]}")
  assert done.stderr.count("\n") == 1
  assert not (tmp_path / "out").exists()


def of_the_page():
  """The options for engines in docs/packing.md."""
  text = (ROOT / "docs" / "packing.md").read_text(encoding="utf-8")
  blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
  lines = "".join(blocks).replace("\\\n", " ").splitlines()
  for line in lines:
    for word in shlex.split(line, comments=True):
      if word.startswith("--beam-options="):
        yield word.partition("=")[2]


@pytest.mark.slow
def test_options_of_the_page_are_options_of_beam(beam_python):
  """Of Dataflow the flags alone: its runner needs Google's libraries."""
  texts = list(of_the_page())
  assert len(texts) >= 4
  code = (
    "import json, sys; from im21k.packing import beam\n"
    "for text in json.loads(sys.argv[1]):\n"
    "  beam._runner(words := beam._words(text))\n"
    "  beam.check(text) if 'Dataflow' not in text else beam._parsed(words)\n"
  )
  done = run([beam_python, "-c", code, json.dumps(texts)])
  assert done.returncode == 0, done.stderr


def test_groups_of_a_billion_photos_fit_a_graph():
  starts = range(0, 122_071 * 500_000, 500_000)
  groups = task_file._groups(starts)
  assert len(groups) <= 10_000 and len(json.dumps(groups)) < 1e6
  assert sum(count for _, count in groups) == 122_071
