"""A work folder stands for the weights in it, at any time of its run."""

import pytest

from im21k import weights


def release(folder, text="{}"):
  folder.mkdir(exist_ok=True)
  (folder / weights.DOCUMENT).write_text(text)
  return folder


def test_a_work_folder_stands_for_its_weights(tmp_path):
  below = tmp_path / "weights"
  assert weights.find(tmp_path) == tmp_path, "there are none"
  below.mkdir()
  assert weights.find(tmp_path) == tmp_path, "they are not complete"
  release(below)
  assert weights.find(tmp_path) == below and weights.find(below) == below
  (tmp_path / weights.DOCUMENT).write_text("{}")
  assert weights.find(tmp_path) == tmp_path, "it is a release folder itself"


def test_before_the_end_it_stands_for_the_best_or_the_latest(tmp_path, capsys):
  """Which it is, is said, where nobody named it."""
  latest = release(tmp_path / "latest", '{"config": {"step": 7}}')
  assert weights.find(tmp_path) == latest
  best = release(tmp_path / "best", '{"config": {"step": 5}}')
  assert weights.find(tmp_path) == best
  assert capsys.readouterr().err.splitlines() == [
    f"im21k: {tmp_path} has no weights/ yet: {name}/ of step {step} is used"
    for name, step in (("latest", 7), ("best", 5))
  ]
  assert weights.find(best) == best and weights.find(latest) == latest
  assert weights.find(release(tmp_path / "weights").parent) == tmp_path / "weights"
  assert weights.step_of(tmp_path / "best") == 5
  assert not capsys.readouterr().err


@pytest.mark.parametrize(
  ("text", "step"),
  [
    ('{"config": {"step": 12}}', 12),
    ('{"config": {"step": true}}', None),
    ('{"config": {}}', None),
    ('{"config": []}', None),
    ("[" * 99999, None),
    ("", None),
  ],
  ids=range(6),
)
def test_the_step_of_weights_is_in_their_document(tmp_path, text, step):
  release(tmp_path / "best", text)
  assert weights.step_of(tmp_path) == weights.step_of(tmp_path / "best") == step
  assert weights.step_of(tmp_path / "none") is None
