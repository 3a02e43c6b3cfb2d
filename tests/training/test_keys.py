"""Keys and values: parsing by type, nested dicts and back, one-line errors."""

import dataclasses
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from im21k.training import config, key_table, keys, overrides
from im21k.training.durations import Duration, Durations
from im21k.training.keys import REQUIRED, key, section
from im21k.training.values import Text, convert


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
  size: int = key(3, "Size of it.", "pixels")
  names: tuple[float, ...] = key((1.0,), "Several numbers.", fixed=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
  name = "round"
  radius: float = key(1.0, "Radius.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Square:
  name = "square"
  side: float = key(REQUIRED, "Side.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
  path: str = key(REQUIRED, "Path.")
  time: Duration = key(Duration(1, "epochs"), "Time.", fixed=False)
  times: Durations = key(Durations((1, 2), "steps"), "Times.", fixed=False)
  kind: Literal["a", "bb"] = key("a", "Kind.")
  flag: bool = key(True, "Flag.")
  level: float | tuple[float, ...] = key(0.5, "Level.")
  count: int | None = key(None, "Count.")
  inner: Inner = section(Inner())
  maybe: Inner | None = section(None)
  shape: Round | Square = section(
    Round(), "Shape.", variants={"round": Round, "square": Square}
  )


KEYS = tuple(keys.listing(Outer))
NAMES = tuple(sorted(name for one in KEYS for name in one.settable))


def made(settings, document=None):
  changed = overrides.apply(document or {"path": "x"}, settings, KEYS)
  return keys.build(Outer, changed, NAMES)


@pytest.mark.parametrize(
  ("name", "text", "value"),
  [
    ("path", "12", "12"),
    ("kind", "bb", "bb"),
    ("flag", "false", False),
    ("flag", "True", True),
    ("level", "2", 2.0),
    ("level", "1e-3", 1e-3),
    ("level", "1, 2.5,3", (1.0, 2.5, 3.0)),
    ("level", "(1,)", (1,)),
    ("count", "7", 7),
    ("count", "none", None),
    ("inner.size", "4", 4),
    ("inner.names", "[1,2]", (1, 2)),
    ("time.steps", "10", Duration(10, "steps")),
    ("times.epochs", "4,6,8", Durations((4, 6, 8), "epochs")),
    ("shape.radius", "2.5", 2.5),
  ],
)
def test_text_is_parsed_by_the_type_of_its_key(name, text, value):
  found = made({name: Text(text)})
  for part in name.split("."):
    if isinstance(found, Duration | Durations):
      break
    found = getattr(found, part)
  assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"pth": "1"}, "unknown config key 'pth'; did you mean 'path'?"),
    ({"inner.sise": "1"}, "unknown config key 'inner.sise'; did you mean 'inner.size'"),
    ({"path.x": "1"}, "unknown config key 'path.x'; did you mean 'path'"),
    (
      {"inner": "1"},
      "config key 'inner' has keys of its own: set inner.names, inner.s",
    ),
    ({"time": "1"}, "config key 'time' has keys of its own: set time.epochs, time.exa"),
    ({"time.hours": "1"}, "unknown config key 'time.hours'; did you mean 'time."),
    ({"time.steps": "1", "time.epochs": "1"}, "time is given in 2 units"),
    ({"time.steps": "-1"}, "time.steps is -1, but must be 0 or more"),
    ({"time.steps": "soon"}, "time.steps is 'soon', but must be a number"),
    ({"kind": "b"}, "kind is 'b'; did you mean 'bb'"),
    ({"flag": "maybe"}, "flag is 'maybe', but must be true or false"),
    ({"count": "1.5"}, "count is '1.5', but must be a whole number or none"),
    ({"level": "nan"}, "level is 'nan', but must be a number or numbers separated"),
    ({"level": "1,x"}, "level is '1,x', but must be a number or numbers separated"),
    ({"shape.name": "squre"}, "shape.name is 'squre'; did you mean 'square'"),
    ({"shape.name": "square"}, "the config lacks shape.side"),
    ({"shape.side": "1"}, "key shape.side needs shape.name square, but it is round"),
    ({"maybe.siz": "1"}, "unknown config key 'maybe.siz'; did you mean 'maybe.size'"),
  ],
)
def test_wrong_settings_are_one_line_that_offers_the_nearest(settings, message):
  with pytest.raises(ValueError) as caught:
    made({name: Text(value) for name, value in settings.items()})
  assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("document", "message"),
  [
    ({}, "the config lacks path"),
    ({"path": 3}, "path is 3, but must be text"),
    ({"path": "x", "flag": 1}, "flag is 1, but must be true or false"),
    ({"path": "x", "count": True}, "count is True, but must be a whole number or none"),
    ({"path": "x", "inner": 3}, "config key 'inner' has keys of its own"),
    ({"path": "x", "time": {}}, "time must be given in exactly one of steps, epochs,"),
    ({"path": "x", "time": 9}, "time must be given in exactly one of steps, epochs,"),
    ({"path": "x", "time": {"steps": 1, "epochs": 1}}, "in exactly one of steps"),
    ({"path": "x", "time": {"passes": 9}}, "in exactly one of steps"),
    ({"path": "x", "shape": {"name": "square"}}, "the config lacks shape.side"),
    ({"path": "x", "shape": {"name": "round", "side": 1}}, "needs shape.name square"),
    (
      {"path": "x", "shape": {"name": "round", "sid": 1}},
      "unknown config key 'shape.s",
    ),
    ({"path": "x", "shape": "oval"}, "shape.name is 'oval'; known: round, square"),
    ({"path": "x", "maybe": {"sizes": 1}}, "unknown config key 'maybe.sizes'; did you"),
  ],
)
def test_wrong_documents_are_one_line(document, message):
  with pytest.raises(ValueError) as caught:
    keys.build(Outer, document, NAMES)
  assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_duration_in_another_unit_replaces_that_of_the_file():
  document = {"path": "x", "time": {"epochs": 9}, "times": {"epochs": [1, 2]}}
  found = made({"time.steps": Text("10"), "times.steps": Text("5")}, document)
  assert found.time == Duration(10, "steps") and found.times == Durations((5,), "steps")
  assert document["time"] == {"epochs": 9}, "the file's own values stay"


def test_another_variant_drops_what_it_has_no_key_for():
  document = {"path": "x", "shape": {"name": "round", "radius": 3}}
  settings = {"shape.side": Text("2"), "shape.name": Text("square")}
  assert made(settings, document).shape == Square(side=2)
  assert made({"shape.name": Text("round")}, document).shape == Round(radius=3)


def test_another_variant_drops_what_means_something_else_there():
  """A decay of SGD is none of AdamW, but a norm to clip at is that of either."""
  every = config.all_keys()
  before = {"optimizer": {"weight_decay": 1e-5, "momentum": 0.5, "clip_norm": 3}}
  for name, left in (
    ("adamw", {"clip_norm": 3}),
    ("muon", {"clip_norm": 3}),
    ("sgd", before["optimizer"]),
  ):
    changed = overrides.apply(before, {"optimizer.name": name}, every)
    assert changed == {"optimizer": {"name": name, **left}}
  with_groups = {"optimizer": {"groups": {"head_rate": 3}}}
  changed = overrides.apply(with_groups, {"optimizer.name": "lamb"}, every)
  assert changed["optimizer"]["groups"] == {"head_rate": 3}


def test_an_optional_section_can_be_set_and_removed():
  assert made({"maybe.size": Text("9")}).maybe == Inner(size=9)
  document = {"path": "x", "maybe": {"size": 4}}
  assert made({"maybe": Text("none")}, document).maybe is None


def test_a_document_is_read_back_equal():
  settings = {"maybe.size": Text("9"), "level": Text("1,2"), "times.epochs": Text("3")}
  config = made({**settings, "shape.name": Text("square"), "shape.side": Text("2")})
  assert keys.build(Outer, keys.document(config), NAMES) == config


def test_flat_values_go_by_the_names_of_keys():
  flat = keys.flat(made({"maybe.size": Text("9")}))
  assert flat["time"] == {"epochs": 1} and flat["shape.name"] == "round"
  assert flat["maybe.size"] == 9 and flat["level"] == 0.5
  assert set(flat) == {one.name for one in KEYS} - {"shape.side"}
  assert keys.flat(made({}))["maybe"] is None


def test_a_description_says_all_that_the_field_says():
  rows = {row["key"]: row for row in key_table.describe(KEYS)}
  assert rows["inner.size"] == {
    "key": "inner.size", "type": "a whole number", "default": "3", "unit": "pixels",
    "on resume": "fixed", "text": "Size of it.",
  }  # fmt: skip
  assert rows["path"]["default"] == "required"
  assert rows["time"]["default"] == "1 epochs"
  assert rows["time"]["on resume"] == "may change"
  assert rows["kind"]["type"] == "a or bb"
  assert rows["shape.side"]["text"] == "(square) Side."


@pytest.mark.parametrize(
  ("arguments", "settings", "rest"),
  [
    (["--config.a.b=1", "x"], {"a.b": "1"}, ["x"]),
    (["x", "--config.a", "-1", "--json"], {"a": "-1"}, ["x", "--json"]),
    (["--config.a=b=c"], {"a": "b=c"}, []),
    (["--config=file", "--config", "file"], {}, ["file", "file"]),
  ],
)
def test_settings_are_taken_out_of_a_command_line(arguments, settings, rest):
  assert overrides.split(arguments) == (settings, rest)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--config.a"], "--config.a has no value: write --config.a=VALUE"),
    (["--config.a", "--json"], "--config.a has no value"),
    (["--config.a=1", "--config.a=2"], "--config.a is given twice"),
  ],
)
def test_settings_without_a_value_or_twice_are_refused(arguments, message):
  with pytest.raises(ValueError, match=message):
    overrides.split(arguments)


@given(st.text(max_size=8), st.sampled_from([int, float, bool, int | None]))
def test_any_text_is_a_value_or_a_one_line_error(text, kind):
  try:
    assert isinstance(convert(kind, Text(text), "key"), int | float | bool | None)
  except ValueError as error:
    assert str(error).startswith("key is ")
