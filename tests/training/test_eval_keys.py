"""Names of sets of held-out photos: in the config, in rows, and which best goes by."""

import pytest

from im21k.training import eval_keys


def test_a_folder_alone_is_called_val():
  assert eval_keys.checked("/data/val") == {"val": "/data/val"}
  assert eval_keys.checked(None) == eval_keys.checked({}) == {}
  named = {"v2": "/a", "in-1k_real": "/b"}
  assert eval_keys.checked(named) == named


@pytest.mark.parametrize(
  ("value", "message"),
  [
    ({"": "/a"}, "names a set ''"),
    ({"a b": "/a"}, "names a set 'a b'"),
    ({"n" * 25: "/a"}, "up to 23 letters"),
    ({"/data/x": "1"}, "set eval_data.val=FOLDER for a path with a ="),
    ({"val": ""}, "eval_data.val is empty"),
    ("", "eval_data.val is empty"),
  ],
)
def test_other_names_are_refused(value, message):
  with pytest.raises(ValueError) as caught:
    eval_keys.checked(value)
  assert message in str(caught.value) and "\n" not in str(caught.value)


def test_best_goes_by_val_or_the_only_set_in_whatever_order():
  assert eval_keys.main_of({}) is None
  assert eval_keys.main_of({"v2": "a"}) == "v2"
  assert eval_keys.main_of({"v2": "a", "val": "b"}) == "val"
  assert eval_keys.main_of({"val": "b", "a": "a"}) == "val"
  with pytest.raises(ValueError, match=r"the sets v2, real, .*: call the one val"):
    eval_keys.main_of({"v2": "a", "real": "b"})


def test_sets_are_known_by_their_keys():
  rows = [
    {"step": 0, "loss": 1, "train_top_1": 0},
    {"step": 0, "eval_v2_top_1": 0, "eval_v2_top_5": 0, "eval_top_1": 0},
    {"step": 1, "eval_top_1_top_1": 0, "eval_top_1": 0, "eval_set": "val"},
  ]
  assert eval_keys.names_in(rows[:2]) == {
    "eval_top_1": "held out",
    "eval_v2_top_1": "v2",
  }
  assert list(eval_keys.names_in(rows[:2])) == ["eval_top_1", "eval_v2_top_1"]
  assert eval_keys.names_in(rows[2:]) == {
    "eval_top_1": "val",
    "eval_top_1_top_1": "top_1",
  }
