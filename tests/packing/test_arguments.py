"""Arguments that do not go together are refused before anything is written."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from im21k.packing import arguments
from im21k.packing.config import PackOptions
from im21k.packing.pack import pack
from im21k.packing.parts import Part, Parts
from im21k.photos import sources

FISH = "n01440764"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(photos):
  return photos({FISH: 3})


def refused(source, destination, message, error=ValueError, **options):
  """Whether packing is refused with one line, and the source is as it was."""
  top = Path(source).parent
  before = sorted(top.rglob("*"))
  with pytest.raises(error, match=message) as info:
    pack(source, destination, **{"workers": 1, **options})
  return "\n" not in str(info.value) and sorted(top.rglob("*")) == before


def test_source_and_destination_are_apart(source, tmp_path):
  (tmp_path / "link").symlink_to(source)
  (source / FISH / "up").symlink_to(tmp_path)
  for source_of in (source, tmp_path / "link"):
    assert refused(source_of, source, "is both source and destination")
    assert refused(source_of, source / ".." / "photos", "is both source")
    assert refused(source_of, source / "packed", "is inside the source")
    assert refused(source_of, source / FISH / "a" / "b", "is inside the source")
    assert refused(source_of, tmp_path / "link" / "packed", "is inside the source")
    assert refused(source_of, tmp_path, "contains the source")
    assert refused(source_of, source / FISH / "up", "contains the source")
  (source / FISH / "up").unlink()
  assert pack(source, tmp_path / "photos-packed", workers=1)["train"] == 3


def test_a_destination_that_is_no_folder_is_named(source, tmp_path):
  (tmp_path / "file").touch()
  (tmp_path / "dangling").symlink_to("nowhere")
  for name in ("file", "dangling", "file/packed"):
    message = rf"{tmp_path}/{name.split('/')[0]} is no folder"
    assert refused(source, tmp_path / name, message, NotADirectoryError)


def test_a_destination_that_cannot_be_written_to_is_named(source, tmp_path, need):
  need(shutil.which("unshare"), "unshare is missing")
  (tmp_path / "disk").mkdir()
  script = (
    f"mount -t tmpfs -o ro tmpfs {tmp_path}/disk || exit 9; "
    f"{ROOT}/.venv/bin/python -m im21k.cli pack {source} {tmp_path}/disk/out"
  ).replace(f"{ROOT}/.venv/bin/python", os.sys.executable)
  done = subprocess.run(
    ["unshare", "--mount", "--map-root-user", "bash", "-c", script],
    capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
  )  # fmt: skip
  if done.returncode == 9 or "unshare" in done.stderr:
    pytest.skip("no disk can be mounted here")
  assert done.returncode == 1
  assert done.stderr == f"im21k pack: {tmp_path}/disk/out: read-only file system\n"


def test_options_without_effect_are_refused(source, tmp_path):
  out = tmp_path / "out"
  with tarfile.open(tmp_path / "a.tar", "w") as tar:
    tar.add(source, ".")
  listed = tmp_path / "list.tsv"
  listed.write_text(f"{FISH}/{FISH}_0.jpg\t{FISH}\n")
  for given in (source, tmp_path / "a.tar"):
    assert refused(given, out, "root is only used", root=source)
    assert refused(given, out, "source_split has no effect", source_split="train")
  assert refused(source, out, "labels are only used", labels=listed)
  assert refused(listed, out, "labels are only used", labels=listed)
  assert refused(
    listed, out, "root .*nowhere is no", NotADirectoryError, root=source / "nowhere"
  )
  for shuffle in ("auto", "direct"):
    assert refused(source, out, "memory has no effect", memory=1e-3, shuffle=shuffle)
  assert refused(source, out, "quality has no effect without resize", quality=80)
  assert refused(source, out, "eval_min_class_size has no", eval_min_class_size=2)
  for option in ({"root": source}, {"source_split": "test"}):
    with pytest.raises(ValueError, match=rf"{next(iter(option))} has no effect"):
      part = Part(Path("tfds:a:train"), "", sources.Source(()), "tfds:a:train")
      arguments.check_used(PackOptions(**option), Parts((part,)), False)


def test_make_takes_any_name(source, tmp_path):
  """Its recipe, with an echo in place of im21k and nothing to install."""
  (tmp_path / "bin").mkdir()
  program = tmp_path / "bin" / "im21k"
  program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
  program.chmod(0o755)
  names = ["my photos", 'it\'s $HOME "here"; # `ls` *']
  (tmp_path / "installed").touch()  # Newer than what it depends on.
  command = ["make", "-s", "pack", f"BIN={program.parent}"]
  command.append(f"INSTALLED={tmp_path / 'installed'}")
  escaped = [name.replace("$", "$$") for name in names]
  done = subprocess.run(
    [*command, f"SRC={escaped[0]}", f"DST={escaped[1]}", "ARGS=--shards 2"],
    capture_output=True, text=True, cwd=ROOT,
  )  # fmt: skip
  assert done.stdout.splitlines() == ["pack", *names, "--shards", "2"], done.stderr
  done = subprocess.run([*command, "SRC=a"], capture_output=True, text=True, cwd=ROOT)
  assert done.returncode and "make pack SRC=" in done.stdout
