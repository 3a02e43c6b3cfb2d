"""Proposals for own classes: the file, the senses that photos choose, refusals."""

import numpy as np
import pytest

from im21k import synsets
from im21k.inference import suggest as command
from im21k.inference.suggest import suggest
from im21k.synsets import ClassList

CAT, CATERPILLAR, FISH = "n02121620", "n02983507", "n01443537"


@pytest.fixture
def folders(jpeg, tmp_path):
  root = tmp_path / "mine"
  for number, name in enumerate(("cat", "zzz", FISH, "unheard of")):
    (root / name).mkdir(parents=True)
    for index in range(3):
      (root / name / f"{index}.jpg").write_bytes(jpeg(number, 40, 40))
  return root


def proposals(result):
  return {
    row["id"]: [one["synset"] for one in row["proposals"]] for row in result["classes"]
  }


def test_the_file_is_a_class_list(folders, tmp_path):
  result = suggest(folders, tmp_path / "mine.csv")
  found = proposals(result)
  assert found["cat"][0] == CAT and found["zzz"] == found[FISH] == []
  assert result["without"] == 2
  listed = synsets.from_file(tmp_path / "mine.csv")
  assert listed.synsets == ("cat", FISH, "unheard of", "zzz")
  assert listed.under == (CAT, "", "", "")
  shown = command.text(result)
  assert f"-> {CAT}  cat, true cat" in shown and "zzz: no proposal" in shown
  assert f"{FISH} (goldfish, Carassius auratus): its own place" in shown


def test_what_is_said_already_stays(tmp_path):
  (tmp_path / "list.csv").write_text("id,name,under\nrex,my dog,\nfelix,,n02084071\n")
  result = suggest(tmp_path / "list.csv", tmp_path / "out.csv")
  listed = synsets.from_file(tmp_path / "out.csv")
  assert listed.under == ("n02084071", "n02084071")
  assert listed.given_names == ("my dog", "")
  assert proposals(result)["felix"] == []
  assert "felix: n02084071, as it was" in command.text(result)


def test_photos_choose_the_sense_and_propose_where_no_word_does(
  folders, linear_weights, tmp_path
):
  """Weights that see a caterpillar tractor in everything."""
  classes = ClassList("three", (CAT, CATERPILLAR, FISH))
  bias = np.array([0, 3, 0], np.float32)
  linear_weights(np.zeros((48, 3), np.float32), bias, classes).save(tmp_path / "w")
  result = suggest(folders, tmp_path / "o.csv", weights=tmp_path / "w", images=2)
  found = proposals(result)
  assert found["cat"][:2] == [CATERPILLAR, CAT]
  assert found["zzz"][0] == CATERPILLAR
  (cat,) = (row for row in result["classes"] if row["id"] == "cat")
  p = np.exp(3) / (np.exp(3) + 2)
  assert cat["proposals"][0]["probability"] == pytest.approx(p, rel=1e-5)
  assert [one["by"] for one in cat["proposals"][:2]] == ["name", "name"]
  assert synsets.from_file(tmp_path / "o.csv").under[-1] == CATERPILLAR


def test_photos_that_disagree_with_the_name_are_a_proposal_too(
  folders, linear_weights, tmp_path
):
  classes = ClassList("two", (CAT, FISH))
  bias = np.array([0, 5], np.float32)
  linear_weights(np.zeros((48, 2), np.float32), bias, classes).save(tmp_path / "w")
  found = proposals(suggest(folders, tmp_path / "o.csv", weights=tmp_path / "w"))
  assert found["cat"][0] == CAT and found["cat"][-1] == FISH


def test_refusals(folders, linear_weights, tmp_path):
  (tmp_path / "o.csv").write_text("mine")
  with pytest.raises(ValueError, match="exists already: name another file"):
    suggest(folders, tmp_path / "o.csv")
  with pytest.raises(FileNotFoundError, match="there is no"):
    suggest(tmp_path / "nothing", tmp_path / "p.csv")
  with pytest.raises(ValueError, match="images is 0"):
    suggest(folders, tmp_path / "p.csv", images=0)
  (tmp_path / "empty").mkdir()
  with pytest.raises(ValueError, match="has no class folders"):
    suggest(tmp_path / "empty", tmp_path / "p.csv")
  (tmp_path / "list.txt").write_text("cat\n")
  with pytest.raises(ValueError, match="weights need the photos"):
    suggest(tmp_path / "list.txt", tmp_path / "p.csv", weights=tmp_path)
  assert not (tmp_path / "p.csv").exists()
