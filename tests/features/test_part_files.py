"""Parts of features: whole, numbered, refused where they are of something else."""

import json

import numpy as np
import pytest

from im21k.features.part_files import BEGUN, Part, Parts, Place
from im21k.features.stream import Rows
from im21k.loading.scoring import Item
from im21k.photos.photo import Loss

ASKED = {"stage": "features", "shape": [2], "dtype": "float32"}


def rows(first, synsets, bad=()):
  n = len(synsets)
  keys = [f"{first}/{index}" for index in range(n)]
  values = np.arange(first, first + 2 * n, dtype=np.float32).reshape(n, 2)
  return Rows(keys, list(synsets), values, list(bad), n + len(bad), keys[-1])


@pytest.fixture
def filled(tmp_path):
  """Two parts: of three batches, and of one."""
  parts = Parts(tmp_path / "out", ASKED, ["cat", "dog"])
  parts.begin()
  lost = Item("t.tar", "", None, "it ends early", Loss("t.tar", 9))
  parts.add([rows(0, ["dog", ""]), rows(5, ["cow"], [lost])], Place(0, 4, "5/0"))
  parts.add([rows(9, ["cow", "cat", "ant"])], Place(1, 2, "9/2"))
  return parts


def test_parts_are_read_back_as_they_were_written(filled, tmp_path):
  again = Parts(tmp_path / "out", ASKED, ["cat", "dog"])
  assert again.parts == filled.parts and again.end == Place(1, 2, "9/2")
  assert again.classes == ["cat", "dog", "cow", "ant"]
  assert again.parts[0] == Part(
    4, 3, 1, [{"photo": "t.tar", "reason": "it ends early", "lost_bytes": 9}], ["cow"],
    Place(0, 4, "5/0"),
  )  # fmt: skip
  labels = [array.tolist() for array in again.arrays("labels")]
  assert labels == [[1, -1, 2], [2, 0, 3]]
  keys = np.concatenate(list(again.arrays("keys"))).tolist()
  assert keys == ["0/0", "0/1", "5/0", "9/0", "9/1", "9/2"]
  assert (again.total("photos"), again.total("rows")) == (7, 6)


def test_a_part_without_its_document_does_not_count(filled, tmp_path):
  (tmp_path / "out" / "part-00001.json").unlink()
  again = Parts(tmp_path / "out", ASKED, ["cat", "dog"])
  assert len(again.parts) == 1 and again.classes == ["cat", "dog", "cow"]


def test_parts_of_something_else_are_refused_with_the_difference(filled, tmp_path):
  with pytest.raises(ValueError, match="with dtype 'float32', not 'float16': ask for"):
    Parts(tmp_path / "out", {**ASKED, "dtype": "float16"}, [])
  (tmp_path / "own").mkdir()
  (tmp_path / "own" / "thesis.doc").write_text("text")
  with pytest.raises(ValueError, match="own holds other files: name a folder"):
    Parts(tmp_path / "own", ASKED, [])


@pytest.mark.parametrize("text", ["{", "[]", '{"photos": 1}', '{"photos": "many"}'])
def test_a_damaged_part_is_named(filled, tmp_path, text):
  (tmp_path / "out" / "part-00000.json").write_text(text)
  with pytest.raises(ValueError, match=r"part-00000\.json.*; remove the folder"):
    Parts(tmp_path / "out", ASKED, [])


def test_names_that_are_no_unicode_are_kept(tmp_path):
  parts = Parts(tmp_path, ASKED, [])
  parts.begin()
  batch = rows(0, ["caf\udce9"])._replace(keys=["caf\udce9/\u202e.jpg"])
  parts.add([batch], Place(0, 1, "caf\udce9/\u202e.jpg"))
  again = Parts(tmp_path, ASKED, [])
  assert again.parts == parts.parts and again.classes == ["caf\udce9"]
  assert next(iter(again.arrays("keys")))[0] == "caf\udce9/\u202e.jpg"


def test_all_is_removed_but_what_others_have_put_there(filled, tmp_path):
  (tmp_path / "out" / "notes").write_text("text")
  filled.finish()
  assert filled.is_done
  said = json.loads((tmp_path / "out" / "features.json").read_text())
  assert said["parts"] == [3, 3] and said["asked"] == ASKED
  assert (tmp_path / "out" / BEGUN).exists()
  filled.remove()
  assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes"]
