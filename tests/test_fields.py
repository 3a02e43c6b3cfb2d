"""Fields of JSON documents: the right value, or one line that names the field."""

import pytest

from im21k.fields import Fields

DOCUMENT = {
  "whole": 3,
  "share": 0.5,
  "mean": [1, 2.5],
  "name": "a",
  "names": ["a", "b"],
  "on": True,
  "inner": {"count": 7},
  "parts": [{"count": 1}, {"count": -1}],
}


def test_sound_fields_come_out_with_their_types():
  fields = Fields(DOCUMENT, "x.json")
  assert fields.integer("whole", at_least=3, at_most=3) == 3
  assert fields.number("share", above=0, at_most=1) == 0.5
  number = fields.number("whole")
  assert number == 3 and isinstance(number, float)
  assert fields.numbers("mean", 2, above=0) == (1.0, 2.5)
  assert fields.text("name", one_of=("a", "b")) == "a"
  assert fields.texts("names") == ("a", "b")
  assert fields.boolean("on") is True
  assert fields.object("inner").integer("count") == 7
  assert [part.integer("count") for part in fields.objects("parts")] == [1, -1]
  assert "whole" in fields and "other" not in fields
  fields.done()


def test_a_field_may_be_missing_where_it_has_a_default():
  fields = Fields({}, "x.json")
  assert fields.integer("whole", default=None) is None
  assert fields.numbers("mean", 3, default=None) is None
  assert fields.text("name", default="b") == "b"


@pytest.mark.parametrize("value", [-5, True, 7.0, 1e9, "7", None, [7], 10**30])
def test_what_is_no_count_is_refused(value):
  fields = Fields({"a": {"count": value}}, "x.json", "copy it again").object("a")
  with pytest.raises(ValueError) as error:
    fields.integer("count", at_least=0, at_most=10**9)
  must = ", but must be a whole number of at least 0 and of at most 1000000000"
  assert str(error.value).startswith("x.json: a.count is ")
  assert str(error.value).endswith(f"{must}; copy it again")
  assert len(str(error.value)) < 200


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), 10**400, 0, -1, 2])
def test_what_is_no_number_within_limits_is_refused(value):
  with pytest.raises(ValueError, match=r"^x: std is .* a finite number .* above 0$"):
    Fields({"std": value}, "x").number("std", above=0, at_most=1)


@pytest.mark.parametrize("value", [1, [1, 2], [1, 2, 3, 4], [1, 2, 0], [1, 2, None]])
def test_a_list_of_numbers_has_its_length(value):
  with pytest.raises(ValueError, match="must be a list of 3 finite numbers above 0"):
    Fields({"std": value}, "x").numbers("std", 3, above=0)


def test_each_error_names_the_way_to_the_field():
  fields = Fields(DOCUMENT, "x.json")
  cases = [
    (lambda: fields.integer("gone"), "x.json: gone is missing"),
    (lambda: fields.text("whole"), "x.json: whole is 3, but must be a string"),
    (
      lambda: fields.text("name", one_of=("b", "c")),
      "x.json: name is 'a', but must be one of b, c",
    ),
    (lambda: fields.texts("mean"), "must be a list of strings"),
    (lambda: fields.boolean("whole"), "whole is 3, but must be true or false"),
    (lambda: fields.object("whole"), "whole is 3, but must be a JSON object"),
    (lambda: fields.objects("inner"), "inner is {'count': 7}, but must be a list"),
    (
      lambda: fields.objects("parts")[1].integer("count", at_least=0),
      "x.json: parts[1].count is -1, but must be a whole number of at least 0",
    ),
    (lambda: fields.objects("names"), "names[0] is 'a', but must be a JSON object"),
    (lambda: Fields([1], "y.json"), "y.json: it is [1], but must be a JSON object"),
  ]
  for call, message in cases:
    with pytest.raises(ValueError) as error:
      call()
    assert message in str(error.value)


def test_fields_that_nobody_takes_are_refused():
  fields = Fields({"a": 1, "sizee\n": 2}, "x.json")
  fields.integer("a")
  with pytest.raises(ValueError, match=r"^x.json: sizee\\n is not a field of this for"):
    fields.done()


@pytest.mark.parametrize(
  ("version", "message"),
  [
    (3, "is 3, but this im21k reads 1 to 2: update im21k"),
    (0, "is 0, but this im21k reads 1 to 2: an early im21k wrote it"),
    ("2", "is '2', but must be a whole number"),
  ],
)
def test_other_versions_are_named(version, message):
  assert Fields({"format_version": 2}, "x").version(2) == 2
  with pytest.raises(ValueError, match=message):
    Fields({"format_version": version}, "x").version(2)


def test_long_and_deep_values_are_shown_in_short():
  value = ["x" * 10**6, {"y" * 10**6: [[[[[[[[1]]]]]]]]}] * 100
  with pytest.raises(ValueError) as error:
    Fields({"z" * 10**6: value}, "x").integer("z" * 10**6)
  assert len(str(error.value)) < 1500
