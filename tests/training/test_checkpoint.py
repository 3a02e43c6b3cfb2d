"""Checkpoints that are damaged in every way: the one before is taken, exactly."""

import json
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im21k import parallel
from im21k.training import outputs, seal
from im21k.training.checkpoint import Checkpoints
from im21k.training.step import TrainState

RUN = {"classes": "abc", "parameters": 11}


def state(step):
  """A state with two arrays of one shape, a number and a bfloat16 one.

  The two are large enough to be stored where no checksum of orbax covers them.
  """
  draw = np.random.default_rng(step).standard_normal
  return TrainState(
    step=jnp.int32(step),
    params={
      "a": jnp.asarray(draw((40, 30)), jnp.float32),
      "b": jnp.asarray(draw((40, 30)), jnp.float32),
      "c": jnp.asarray(draw(5), jnp.bfloat16),
    },
    batch_stats={"mean": jnp.zeros(7)},
    opt_state=(jnp.zeros(()), {"a": jnp.ones((40, 30))}),
  )


def save(checkpoints, step, scores=None, run=RUN):
  checkpoints.save(
    step, state(step), {"example": 8 * step}, {"s": step / 3}, scores, run
  )


@pytest.fixture(scope="module")
def template(tmp_path_factory):
  """The checkpoints of steps 4 and 8."""
  folder = tmp_path_factory.mktemp("run") / "checkpoints"
  with Checkpoints(folder) as checkpoints:
    save(checkpoints, 4, {"top_1": 0.5})
    save(checkpoints, 8, {"top_1": 0.25})
  return folder


@pytest.fixture
def folder(template, tmp_path):
  return shutil.copytree(template, tmp_path / "checkpoints")


def restore(folder, on=1, **options):
  like = jax.eval_shape(lambda: state(0))
  with Checkpoints(folder) as checkpoints:
    return checkpoints.restore(
      like, {"example": 0}, {"s": 0.0}, parallel.devices(on), **options
    )


def bits(tree):
  return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


def step_of(restored):
  """The step of a restored checkpoint, which is bit for bit what was saved."""
  step = int(restored[0].step)
  assert bits(restored[0]) == bits(state(step))
  assert restored[1:] == ({"example": 8 * step}, {"s": step / 3})
  return step


@pytest.mark.parametrize("on", [1, 4])
def test_the_latest_is_restored_exactly(folder, on, capsys):
  assert step_of(restore(folder, on)) == 8
  assert not capsys.readouterr().err
  assert sorted(os.listdir(folder)) == ["4", "8"]


def files_in(folder):
  return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(path, at=0.5, bit=0):
  data = bytearray(path.read_bytes())
  data[int(at * (len(data) - 1))] ^= 1 << bit
  path.write_bytes(data)


DAMAGES = {
  "flipped": flip,
  "flipped at its end": lambda path: flip(path, 1.0, 6),
  "cut": lambda path: path.write_bytes(path.read_bytes()[:-3]),
  "empty": lambda path: path.write_bytes(b""),
  "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
  "missing": lambda path: path.unlink(),
  "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_no_damaged_file_is_taken_for_a_checkpoint(template, tmp_path, damage, capsys):
  """Each file in turn: the same bits, for what is not needed, or the one before."""
  taken = []
  for number, path in enumerate(files_in(template / "8")):
    folder = shutil.copytree(template, tmp_path / str(number))
    damage(folder / path.relative_to(template))
    taken.append(step_of(restore(folder)))
    said = capsys.readouterr().err
    if taken[-1] == 8:
      assert not said and (folder / "8").is_dir()
      continue
    assert said.count("\n") == 1 and len(said) < 500, said
    assert f"checkpoint {folder / '8'} is damaged (" in said
    assert said.endswith("renamed to damaged-8; the run continues at step 4\n")
    assert sorted(os.listdir(folder)) == ["4", "damaged-8"]
  assert taken.count(4) >= 3


def test_an_array_of_another_checkpoint_is_found(folder, capsys):
  """As from a copy that was made in two parts."""
  shutil.rmtree(folder / "8" / "state")
  shutil.copytree(folder / "4" / "state", folder / "8" / "state")
  assert step_of(restore(folder)) == 4
  assert "(it is the checkpoint of step 8)" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["data", "clock"])
def test_a_position_of_another_checkpoint_is_found(folder, part, capsys):
  shutil.rmtree(folder / "8" / part)
  shutil.copytree(folder / "4" / part, folder / "8" / part)
  assert step_of(restore(folder)) == 4
  assert f"({part} is " in capsys.readouterr().err


def test_a_renamed_checkpoint_is_found(folder, capsys):
  shutil.rmtree(folder / "8")
  shutil.copytree(folder / "4", folder / "8")
  assert step_of(restore(folder)) == 4
  assert "(it is the checkpoint of step 4)" in capsys.readouterr().err


def test_values_that_trade_names_are_found(folder):
  """With the same shapes, and no checksum of a file broken."""
  restored = restore(folder)
  params = restored[0].params
  swapped = {**params, "a": params["b"], "b": params["a"]}
  body = seal.read(folder / "8")
  with pytest.raises(seal.Damaged, match="array params/a differs from its checksum"):
    seal.verify(8, body, restored[0].replace(params=swapped), *restored[1:])


def test_what_does_not_belong_there_is_no_damage(folder, capsys):
  (folder / "8" / "note.txt").write_text("x")
  (folder / "notes").mkdir()
  (folder / "08").mkdir()
  assert step_of(restore(folder)) == 8
  assert not capsys.readouterr().err


def test_a_damaged_one_can_be_saved_again_and_is_kept(folder, capsys):
  for wanted in (["4", "8", "damaged-8"], ["4", "8", "damaged-8", "damaged-8-2"]):
    (folder / "8" / "_CHECKPOINT_METADATA").write_text("")
    with Checkpoints(folder) as checkpoints:
      like = jax.eval_shape(lambda: state(0))
      checkpoints.restore(like, {"example": 0}, {"s": 0.0}, parallel.devices(1))
      save(checkpoints, 8)
    assert sorted(os.listdir(folder)) == wanted
    assert step_of(restore(folder)) == 8


def test_a_damaged_older_one_is_named_and_does_not_stop_the_run(folder, capsys):
  """orbax reads the scores of all, to keep the best."""
  (folder / "4" / "metrics" / "metrics").write_text("{")
  with Checkpoints(folder) as checkpoints:
    like = jax.eval_shape(lambda: state(0))
    checkpoints.restore(like, {"example": 0}, {"s": 0.0}, parallel.devices(1))
    save(checkpoints, 9, {"top_1": 0.125})
  said = capsys.readouterr().err
  assert "4 is damaged (metrics/metrics is not JSON): renamed to damaged-4\n" in said
  assert sorted(os.listdir(folder)) == ["8", "9", "damaged-4"]


def test_if_all_are_damaged_nothing_is_touched_and_the_remedy_is_named(folder):
  for step in (4, 8):
    (folder / str(step) / "_CHECKPOINT_METADATA").unlink()
  before = files_in(folder)
  with pytest.raises(ValueError, match=r"every checkpoint in .* is damaged") as caught:
    restore(folder)
  assert str(caught.value) == (
    f"every checkpoint in {folder} is damaged (8: _CHECKPOINT_METADATA: no such file "
    "or directory; 4: _CHECKPOINT_METADATA: no such file or directory): copy a sound "
    "one there, or remove that folder to start from the beginning"
  )
  assert files_in(folder) == before


def test_a_file_that_may_not_be_read_is_no_damage(folder, monkeypatch):
  """For root every file may be read."""
  real = os.access
  monkeypatch.setattr(
    os, "access", lambda path, mode: path.name != "_METADATA" and real(path, mode)
  )
  with pytest.raises(PermissionError, match="_METADATA may not be read: change its"):
    restore(folder)
  assert sorted(os.listdir(folder)) == ["4", "8"]


def test_a_checkpoint_of_another_run_is_refused_not_replaced(folder):
  """By what `check` says of the newest, with what was saved of its run."""
  seen = []

  def check(path, run):
    seen.append((path, run))
    raise ValueError(f"{path} holds a run with other settings")

  with pytest.raises(ValueError, match=r"8 holds a run with other settings"):
    restore(folder, check=check)
  assert seen == [(folder / "8", RUN)] and sorted(os.listdir(folder)) == ["4", "8"]


def test_arrays_of_another_model_are_named(folder):
  def other():
    params = {**state(0).params, "a": jnp.zeros((40, 31))}
    return state(0).replace(params=params)

  with (
    Checkpoints(folder) as checkpoints,
    pytest.raises(
      ValueError,
      match=r"8 does not fit the model: array params/a is float32 \(40, 30\) there and "
      r"float32 \(40, 31\) in the model",
    ),
  ):
    checkpoints.restore(
      jax.eval_shape(other), {"example": 0}, {"s": 0.0}, parallel.devices(1)
    )


def unsealed(folder):
  """As an im21k without seals leaves a checkpoint."""
  path = folder / "_CHECKPOINT_METADATA"
  path.write_text(json.dumps({**json.loads(path.read_text()), "custom_metadata": {}}))


def test_a_checkpoint_without_a_seal_is_read_with_a_note(folder, capsys):
  unsealed(folder / "8")
  assert step_of(restore(folder)) == 8
  said = capsys.readouterr().err
  assert "8 has no checksums, for an older im21k wrote it" in said
  assert said.count("\n") == 1


def test_a_seal_that_lost_its_name_is_no_older_checkpoint(folder, capsys):
  path = folder / "8" / "_CHECKPOINT_METADATA"
  for old, new in (("im21k", "im20k"), ("custom_metadata", "custom_metadatb")):
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(seal.Damaged):
      seal.read(folder / "8")


def test_a_newer_format_is_refused(folder):
  path = folder / "8" / "_CHECKPOINT_METADATA"
  path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
  with pytest.raises(ValueError, match=r"8 has checkpoint format 2, .*: update im21k"):
    restore(folder)


def test_a_full_disk_is_one_line_with_the_remedy(tmp_path, monkeypatch):
  def full(*_, **__):
    raise ValueError("Failed to write 9 bytes: No space left on device [28]\nmore")

  with Checkpoints(tmp_path / "checkpoints") as checkpoints:
    checkpointer = checkpoints._open()
    monkeypatch.setattr(type(checkpointer), "save_checkpointables_async", full)
    with pytest.raises(outputs.CannotWrite) as caught:
      save(checkpoints, 4)
  message = str(caught.value)
  assert message.startswith(
    f"the checkpoint in {tmp_path / 'checkpoints'} cannot be wr"
  )
  assert "\n" not in message and "written: no space left on device: make " in message


def interrupted_deletion(folder, step):
  """Steps 12 and 16 follow, and a kill comes while orbax deletes `step`."""
  first = shutil.copytree(folder / str(step), folder.parent / "kept")
  with Checkpoints(folder, keep_latest=2, keep_best=1) as checkpoints:
    save(checkpoints, 12, {"top_1": 0.125})
    save(checkpoints, 16, {"top_1": 0.125})
  assert not (folder / str(step)).exists()
  return shutil.copytree(first, folder / str(step))


@pytest.mark.parametrize("left", ["_CHECKPOINT_METADATA", "state"])
def test_the_rest_of_an_interrupted_deletion_is_no_damage(folder, capsys, left):
  """Step 4 is the best, so it is step 8 that is deleted when 16 is complete."""
  rest = interrupted_deletion(folder, 8)
  for path in rest.iterdir():
    if path.name != left:
      shutil.rmtree(path) if path.is_dir() else path.unlink()
  assert step_of(restore(folder)) == 16
  assert capsys.readouterr().err == ""
  names = sorted(path.name for path in folder.iterdir())
  assert names == ["12", "16", "4"]


def test_a_damaged_one_that_was_to_be_kept_is_still_named(folder, capsys):
  interrupted_deletion(folder, 8)
  (folder / "4" / "_CHECKPOINT_METADATA").unlink()
  assert step_of(restore(folder)) == 16
  assert "checkpoint" in (err := capsys.readouterr().err) and "damaged-4" in err
  assert (folder / "damaged-4").is_dir()


def test_a_checkpoint_noted_for_deletion_is_kept_while_it_is_the_newest(folder, capsys):
  """The kill came before the one that was to replace it was complete."""
  (folder / "superseded.json").write_text('{"steps": [8]}')
  assert step_of(restore(folder)) == 8
  assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ["", "[]", '{"steps": null}', '{"steps": ["../x"]}'])
def test_a_damaged_note_deletes_nothing(folder, text, capsys):
  (folder / "superseded.json").write_text(text)
  (folder / "4" / "_CHECKPOINT_METADATA").unlink()
  assert step_of(restore(folder)) == 8
  assert "damaged-4" in capsys.readouterr().err
