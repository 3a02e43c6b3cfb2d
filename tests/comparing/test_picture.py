"""The picture of a sweep: what is drawn of which runs."""

import json

import pytest
from matplotlib.figure import Figure

from im21k.comparing import picture


@pytest.fixture
def rows(tmp_path):
  """Rows of two runs each of three combinations; one run has failed."""

  def row(cell, seed):
    folder = tmp_path / f"{cell}-{seed}"
    folder.mkdir()
    lines = [
      {"step": n, "images": 8 * n, "eval_top_1": n * (1 + cell + seed) / 100}
      for n in range(3)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines))
    return {
      "cell": cell, "values": {"a$b": f"{cell}$_"}, "workdir": str(folder),
      "status": "finished", "eval_top_1": lines[-1]["eval_top_1"], "train_top_1": None,
    }  # fmt: skip

  found = [row(cell, seed) for cell in range(3) for seed in range(2)]
  found[5] = {**found[5], "status": "failed"}
  return found


def test_each_combination_has_a_mean_curve_and_a_dot_a_run(rows, tmp_path, monkeypatch):
  drawn = []
  save = Figure.savefig
  monkeypatch.setattr(
    Figure, "savefig", lambda self, *a, **k: drawn.append(self) or save(self, *a, **k)
  )
  assert picture.draw(tmp_path / "sweep.png", rows)
  assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
  curves, dots = drawn[0].axes
  lines = [line.get_xydata().round(9).tolist() for line in curves.lines]
  # The mean of the two seeds, in percent; the third has one run.
  assert lines[0] == [[0, 0], [8, 1.5], [16, 3]]
  assert lines[2] == [[0, 0], [8, 3], [16, 6]]
  marked = [line.get_xdata() for line in dots.lines if line.get_marker() == "o"]
  assert [[round(x, 9) for x in one] for one in marked] == [[2, 4], [4, 6], [6]]
  labels = [text.get_text() for text in dots.get_yticklabels()]
  assert labels[0] == r"a\$b=0\$_"


def test_without_a_finished_run_there_is_none(rows, tmp_path):
  assert not picture.draw(tmp_path / "sweep.png", rows[5:])
  assert not (tmp_path / "sweep.png").exists()
