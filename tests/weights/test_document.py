"""model.json from anywhere: its values, or one line that names file and field."""

import dataclasses
import json

import pytest

from im21k import weights
from im21k.weights import document

FIELDS = [
  "format_version", "model", "model.name", "model.fields", "input", "input.size",
  "input.short_side", "class_list", "class_list.name", "class_list.hash",
  "arrays_sha256", "scores", "config",
]  # fmt: skip


def brief(value):
  """A short name of a case."""
  return repr(value)[:9]


def refused(folder, match):
  """The error of loading: one line that names model.json and matches."""
  with pytest.raises(ValueError, match=match) as caught:
    weights.load(folder)
  message = str(caught.value)
  assert message.startswith(f"{folder / 'model.json'}") and message.isprintable()
  assert len(message) < 700
  return message


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(saved, edit, field):
  *parents, last = field.split(".")

  def remove(found):
    for parent in parents:
      found = found[parent]
    del found[last]

  edit(saved, remove)
  refused(saved, rf"model\.json: {field} is missing; copy the folder again")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
  "value", [None, True, [[]], {"x": 1}, "\x1b[31m", -1, 10**400], ids=brief
)
def test_no_field_takes_any_value(saved, edit, field, value):
  if field in ("scores", "config") and isinstance(value, dict):
    return  # These are free of form.
  *parents, last = field.split(".")

  def change(found):
    for parent in parents:
      found = found[parent]
    found[last] = value

  edit(saved, change)
  with pytest.raises(ValueError) as caught:
    weights.load(saved)
  message = str(caught.value)
  assert message.startswith(str(saved)) and message.isprintable()
  assert last in message or "classes" in message  # Another hash is another list.


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"format_version": 2}, "format_version is 2, but this im21k reads 1: update"),
    ({"model": {"name": "linaer", "fields": {}}}, "model.name .*you mean 'linear'"),
    ({"model": {"name": "linear", "fields": {"num_clases": 3}}}, "mean 'num_classes'"),
    (
      {"model": {"name": "linear", "fields": {"num_classes": 3.5}}},
      "num_classes is 3.5",
    ),
    (
      {"model": {"name": "linear", "fields": {"num_classes": True}}},
      "is True, but must",
    ),
    (
      {"model": {"name": "linear", "fields": {"num_classes": -1}}},
      "make no model|outputs",
    ),
    (
      {"model": {"name": "linear", "fields": {"num_classes": 4}}},
      "describe 4 outputs, but",
    ),
    ({"input": {"size": "32", "short_side": 37}}, "input.size is '32', but must be"),
    ({"input": {"size": 32, "short_side": 31}}, "input a crop of 32 needs a short"),
    (
      {"input": {"size": 100_000, "short_side": 100_000}},
      "input.size is 100000, but must be",
    ),
    (
      {"input": {"size": 32, "short_side": 10**9}},
      "input.short_side is 1000000000, but",
    ),
    ({"input": {"size": 32, "short_side": 37, "crop": 1}}, "input.crop is not a field"),
    (
      {"input": {"size": 32, "short_side": 37, "std": 0}},
      "std is 0.0, but must be 1e-06",
    ),
    ({"input": {"size": 32, "short_side": 37, "std": -1}}, "std is -1.0, but must be"),
    ({"input": {"size": 32, "short_side": 37, "std": 1e-320}}, "but must be 1e-06 to"),
    ({"input": {"size": 32, "short_side": 37, "std": [1, 0, 1]}}, r"std is \(1.0, 0.0"),
    ({"input": {"size": 32, "short_side": 37, "mean": [1, 2]}}, "mean is .* list of 3"),
    ({"input": {"size": 32, "short_side": 37, "mean": 1e308}}, "mean is 1e\\+308, but"),
    (
      {"input": {"size": 32, "short_side": 37, "mean": "x"}},
      "mean is 'x', but must be",
    ),
    ({"input": [32, 37]}, "input is .* but must be a JSON object"),
    ({"arrays_sha256": "0" * 63}, "arrays_sha256 is not 64 hexadecimal digits"),
    ({"class_list": {"name": "a\nb", "hash": ""}}, "class_list.name is no name"),
    ({"imput": {}}, "imput is not a field of this format"),
  ],
)
def test_a_wrong_value_is_named_with_its_field(saved, edit, change, message):
  edit(saved, lambda found: found.update(change))
  refused(saved, message)


@pytest.mark.parametrize(
  "change",
  [
    {"width": 1e9}, {"width": -1}, {"width": True}, {"num_classes": 10**9},
    {"num_classes": 0}, {"bn_epsilon": -1}, {"bn_momentum": 2}, {"dtype": "int8"},
    {"remat": 3}, {"reduce": 1}, {"name": "x"}, {"parent": None}, {"table": "tall"},
    {"pooling": ["ceil"]}, {"pooling": "x" * 10_000}, {"remat": "a\nb"},
  ],
)  # fmt: skip
def test_absurd_fields_of_the_network_are_named(saved, edit, change):
  model = {"name": "inception_bn_1k", "fields": change}
  edit(saved, lambda found: found.update(model=model))
  refused(saved, f"model.fields.*{next(iter(change))}")


@pytest.mark.parametrize(
  ("text", "reason"),
  [
    (b"", "Expecting value"),
    (b"{", "Expecting property name"),
    (b"[]", "not a JSON object"),
    (b"null", "not a JSON object"),
    (b"\xff\xfe", "can't decode"),
    (b'{"format_version": 1, "format_version": 1}', "'format_version' comes twice"),
    (b'{"a": NaN}', "not a finite number"),
    (b'{"a": 1e999}', "not a finite number"),
    (b"[" * 10**6, "nested too deeply"),
    (b"{}{}", "Extra data"),
    (b'{"a": ' + b"9" * 5000 + b"}", ""),
  ],
  ids=brief,
)
def test_what_is_no_document_is_named(saved, text, reason):
  (saved / "model.json").write_bytes(text)
  refused(saved, f"is damaged: .*{reason}.*copy the folder again")


def test_a_byte_order_mark_is_no_damage(saved):
  path = saved / "model.json"
  path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
  assert weights.load(saved).model_name == "linear"


def test_a_document_of_absurd_size_is_not_read(saved, monkeypatch):
  monkeypatch.setattr(document, "_LARGEST", 100)
  refused(saved, "more than 100 bytes")


def test_scores_that_json_lacks_are_saved_as_null(small, tmp_path):
  scores = {"loss": float("nan"), "by": [float("inf"), 1.5, {"x": -float("inf")}]}
  dataclasses.replace(small, scores=scores).save(tmp_path)
  assert weights.load(tmp_path).scores == {"loss": None, "by": [None, 1.5, {"x": None}]}
  json.loads((tmp_path / "model.json").read_text(), parse_constant=pytest.fail)
