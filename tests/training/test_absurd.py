"""Every key of a config with every kind of absurd value: taken, or one line.

As a value of a file, as text of a command line, and in the config.json of a run.
"""

import json
import math
import typing

import pytest

from im21k.training import configs, keys
from im21k.training.config import Config, all_keys
from im21k.training.durations import Duration, Durations
from im21k.training.values import Bounds, Text, shown

KEYS = {key.name: key for key in all_keys()}
DEEP: dict = {}
for _ in range(5000):
  DEEP = {"a": DEEP}
VALUES = [
  None, True, False, 0, -1, 1e308, -1e308, 1e-320, 2**31, 2**63, -(2**63), 10**400,
  10**5000, math.nan, math.inf, -math.inf, "", "1", "nan", "\0", "a\nb", "\x1b[31m",
  "x" * 100_000, b"1", 1j, [], [[]], [math.nan], [None], ["1"], {}, {"a": 1},
  {"steps": math.nan}, {"steps": -1}, {"steps": True}, {"epochs": 1e300}, {1: 2}, DEEP,
  object(), int, (1, 2, 3, 4, 5), {"steps": [3, math.inf]}, {"steps": {}},
]  # fmt: skip
TEXTS = [
  "", " ", "nan", "inf", "-inf", "1e400", "-1", "0", "true", "None", "none", "1,2,nan",
  "1,,2", "0x10", "1_000", "٣", "1" * 5000, "x" * 100_000, "[[[1]]]", "{}", "\x1b[31m",
  "99999999999999999999",
]  # fmt: skip
# Sections whose variant has the key.
VARIANTS = {
  "schedule": {
    "stepwise": {"name": "stepwise", "rates": [0.1], "until": {"steps": []}},
    "cosine": {"name": "cosine", "peak": 0.1, "warmup": {"steps": 1}},
  },
  "loss": {name: {"name": name} for name in ("semantic_softmax", "smoothed")},
  "optimizer": {name: {"name": name} for name in ("sgd", "adamw", "lamb", "muon")},
  "model": {"inception_bn_21k": {"name": "inception_bn_21k"}},
}
REFERENCE = {"label": "a", "images_per_pass": 5, "top_1": [1]}


def document_with(document, key, value):
  """A sound document, but for this value of one key."""
  section, _, name = key.name.partition(".")
  if not name:
    return {**document, section: value}
  base = REFERENCE if section == "reference" else document.get(section, {})
  variant = key.variants[-1] if key.variants else None
  base = VARIANTS.get(section, {}).get(variant, base)
  return {**document, section: {**base, name: value}}


def is_sound(value, bounds):
  """Whether a value that was accepted can be computed with."""
  match value:
    case Duration():
      return 0 <= value.amount <= 10**15
    case Durations():
      return all(0 <= amount <= 10**15 for amount in value.amounts)
    case bool() | None:
      return True
    case int() | float():
      return math.isfinite(value) and bounds.least <= value <= bounds.most
    case dict():
      return all(is_sound(part, bounds) for pair in value.items() for part in pair)
    case list() | tuple():
      return all(is_sound(part, bounds) for part in value)
    case _:
      return isinstance(value, str) and "\0" not in value


def value_of(config, name):
  for part in name.split("."):
    if isinstance(config, dict):
      config = config.get(part)
    elif part == "name" and not hasattr(config, part):
      return None
    else:
      config = getattr(config, part)
  return config


def refused_or_sound(key, make):
  try:
    config = make()
  except ValueError as error:
    message = str(error)
    assert key.name in message or key.name.partition(".")[0] in message, message
    assert "\n" not in message and len(message) < 4000
    assert message.isprintable(), message
  else:
    assert is_sound(value_of(config, key.name), key.bounds)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_an_absurd_value_of_a_file_is_refused_by_name_or_sound(key, document):
  for value in VALUES:
    wrong = document_with(document, key, value)
    refused_or_sound(key, lambda wrong=wrong: Config.from_dict(wrong))


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_an_absurd_text_of_a_command_line_is_refused_by_name_or_sound(key, document):
  sound = document_with(document, key, 1)
  section = key.name.partition(".")[0]
  kept = {**document, section: sound[section]} if "." in key.name else document
  if "." in key.name:
    kept = {
      **kept,
      section: {
        k: v for k, v in kept[section].items() if k != key.name.partition(".")[2]
      },
    }
  for text in TEXTS:
    for name in key.settable:
      settings = {name: Text(text)}
      refused_or_sound(key, lambda s=settings: Config.from_dict(kept, s))


def test_every_number_has_bounds_that_a_device_can_compute_with():
  """A new key without says what it takes: here, or by its bounds."""
  for key in KEYS.values():
    kinds = {key.kind, *typing.get_args(key.kind)}
    if kinds & {int, float, tuple[float, ...]}:
      assert key.bounds != Bounds(), key.name


@pytest.mark.parametrize(
  ("wrong", "message"),
  [
    (
      {"optimizer": {"momentun": 0.9}},
      "'optimizer.momentun'; did you mean 'optimizer.m",
    ),
    (
      {"augment": {"mirrored": True}},
      "'augment.mirrored'; did you mean 'augment.mirror",
    ),
    ({"mix": {"mixup": math.nan}}, "mix.mixup is nan, but must be a number"),
    ({"mix": {"mixup": True}}, "mix.mixup is True, but must be a number"),
    ({"mix": {"magnitude": 1.5}}, "mix.magnitude is 1.5, but must be from 0 to 1"),
    (
      {"total": {"step": 9}},
      "total must be given in exactly one of steps, epochs, exam",
    ),
    ({"total": {"steps": math.inf}}, "total.steps is inf, but must be a number"),
    ({"total": {"steps": "9"}}, "total.steps is '9', but must be a number"),
    ({"total": {"epochs": 10**400}}, "total.epochs is 1000"),
    (
      {"optimizer": {"momentum": 1.0}},
      "optimizer.momentum is 1.0, but must be below 1",
    ),
    (
      {"optimizer": {"weight_decay": -1}},
      "weight_decay is -1.0, but must be 0 or more",
    ),
    ({"augment": None}, "config key 'augment' has keys of its own"),
    ({"optimizer": None}, "optimizer.name is None; known: sgd, adamw, lamb, muon"),
    ({"std": 0}, "std is 0.0, but must be 1e-06 or more"),
    ({"std": [1, 0, 1]}, "std is (1.0, 0.0, 1.0), but must be 1e-06 or more"),
    ({"mean": 1e300}, "mean is 1e+300, but must be at most 1e+06"),
    ({"batch_size": 10**9}, "batch_size is 1000000000, but must be at most 1,048,576"),
    ({"threads": 0}, "threads is 0, but must be 1 or more"),
    ({"seed": -1}, "seed is -1, but must be 0 or more"),
    ({"data": "a\0b"}, "data is 'a\\x00b', but must be text"),
    ({"schedule": {"name": "stepwise", "rates": [], "until": {"steps": []}}}, "rates"),
    ({"a": DEEP}, "nested too deep"),
    ({"model": {"name": ["tiny"]}}, "model.name is ['tiny'], but must be text"),
    (
      {"model": {"name": "tiny", 3: 4}},
      "config key model: model tiny has no field '3'",
    ),
  ],
)
def test_what_is_wrong_is_named_with_the_nearest(wrong, message, document):
  with pytest.raises(ValueError) as caught:
    config = Config.from_dict({**document, **wrong})
    config.make_schedule(100)
  assert message in str(caught.value) and "\n" not in str(caught.value)


def test_what_the_shipped_configs_say_is_within_bounds():
  for name in configs.names():
    config = configs.load(name)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("def get_config(:", r"own\.py, line 1: SyntaxError: "),
    ("x = 1\nimport nosuch", r"own\.py, line 2: ModuleNotFoundError: No module named"),
    ("def get_config():\n  return 1 / 0", r"own\.py, line 2: ZeroDivisionError: "),
    ("def get_config():\n  raise SystemExit(3)", r"own\.py, line 2: SystemExit: 3"),
    ("def get_config(x): return x", r"own\.py: TypeError: get_config\(\) missing 1"),
    (
      "from im21k.training import configs\ndef get_config():\n"
      "  return configs.get_config('demoo')",
      r"own\.py, line 3: there is no config 'demoo'; did you mean 'demo'",
    ),
    ("def get_config():\n  return get_config()", r"own\.py, line 2: RecursionError: "),
    ("\0", r"own\.py.*null bytes"),
  ],
)
def test_an_error_in_a_config_file_names_its_line(tmp_path, text, message):
  path = tmp_path / "own.py"
  path.write_text(text)
  with pytest.raises(ValueError, match=message) as caught:
    configs.load(path)
  assert "\n" not in str(caught.value)


def test_a_value_is_shown_shortened():
  assert shown(10**5000) == "a value of type int" and len(shown("x" * 999)) == 61
  assert keys.nearest("x", ("y",)) == "; known: y"
