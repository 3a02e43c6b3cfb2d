"""A work folder stands for the weights in it."""

from im21k import weights


def test_a_work_folder_stands_for_its_weights(tmp_path):
  below = tmp_path / "weights"
  assert weights.find(tmp_path) == tmp_path, "there are none"
  below.mkdir()
  assert weights.find(tmp_path) == tmp_path, "they are not complete"
  (below / weights.DOCUMENT).write_text("{}")
  assert weights.find(tmp_path) == below and weights.find(below) == below
  (tmp_path / weights.DOCUMENT).write_text("{}")
  assert weights.find(tmp_path) == tmp_path, "it is a release folder itself"
