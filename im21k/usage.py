"""A command line and a typed function -> the same in order, or what is wrong in it.

tyro explains a wrong line in a frame of many lines, and takes an unknown option for a
path where a path is missing. Here each fault is one line that names the argument.
"""

import dataclasses
import difflib
import inspect
import math
import os
import stat
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from im21k import command_line

_MOST = 2**63 - 1  # Of integers: what arrays and files can count.
_WRITTEN = {
  "DESTINATION", "OUT", "--class-csv", "--csv-file", "--dump", "--page-file",
  "--picture", "--plot", "--report", "--scratch", "--workdir",
}  # fmt: skip
# What is put between the values.
_REPEATED = {"--beam-options": "\n", "--over": "\n", "--price": ","}
_OF_OTHERS = {"--beam-options"}  # Values are options of other programs.
_NAMES_OR_FILES = {"CONFIG", "--classes", "--gpu"}


class UsageError(Exception):
  """A wrong command line; the message is one line."""


class Argument(NamedTuple):
  """A parameter as the command line shows it.

  Attributes:
    label: `--top-k`, or `PHOTOS` where it is positional.
    kind: Path, str, int, float, or bool for a flag.
    choices: the values that it may have; () allows all.
    required: whether it must be given.
    many: whether a positional one takes all that follow.
  """

  label: str
  kind: type
  choices: tuple[str, ...]
  required: bool
  many: bool

  @property
  def values(self) -> str:
    """What may follow it, in words."""
    return " or ".join(self.choices) or self.kind.__name__.upper()

  @property
  def is_read(self) -> bool:
    """Whether it names a file or folder that the command reads."""
    named = self.kind is Path or self.label in _NAMES_OR_FILES
    return named and self.label not in _WRITTEN


def ordered(
  words: list[str], function: Callable[..., Any], fixed: typing.Container[str] = ()
) -> list[str]:
  """The command line as `--option=value …  -- positional …`, checked.

  Args:
    words: arguments behind the command's name.
    function: the command.
    fixed: its parameters that are no arguments.

  Raises:
    UsageError: an argument is unknown, missing, given twice or of another type.
  """
  arguments = list(_arguments(function, fixed))
  options = {one.label: one for one in arguments if one.label.startswith("--")}
  given: dict[str, str] = {}
  rest: list[str] = []
  waiting = list(words)
  while waiting:
    word = waiting.pop(0)
    if word == "--":
      rest += waiting
      break
    if not word.startswith("-") or len(word) == 1:
      rest.append(word)
      continue
    name, equals, value = word.partition("=")
    label = name[:2] + name[2:].replace("_", "-")
    if label not in options:
      raise UsageError(_unknown(name, [*options, "--help"]))
    option = options[label]
    if label in given and label not in _REPEATED:
      raise UsageError(f"{label} is given twice")
    if option.kind is bool:
      if equals:
        raise UsageError(f"{label} takes no value, but has {value!r}")
      given[label] = label
      continue
    if not equals:
      is_option = bool(waiting) and waiting[0].startswith("--") and waiting[0] != "--"
      if not waiting or (is_option and label not in _OF_OTHERS):
        raise UsageError(f"{label} needs a value: {option.values}")
      value = waiting.pop(0)
    _check(option, value)
    before = f"{given[label]}{_REPEATED[label]}" if label in given else f"{label}="
    given[label] = f"{before}{value}"
  _check_positional([one for one in arguments if one.label not in options], rest)
  if missing := [
    one for one in options.values() if one.required and one.label not in given
  ]:
    raise UsageError(_missing(missing))
  return [*given.values(), *(["--", *rest] if rest else [])]


def _arguments(
  function: Callable[..., Any], fixed: typing.Container[str]
) -> Iterator[Argument]:
  hints = typing.get_type_hints(function)
  options = command_line.options_class(function)
  for name, parameter in inspect.signature(function).parameters.items():
    if parameter.kind is inspect.Parameter.VAR_KEYWORD or name in fixed:
      continue
    if options is not None and name == "options":
      types = typing.get_type_hints(options)
      for field in dataclasses.fields(options):
        needed = field.default is dataclasses.MISSING
        yield _argument(_option(field.name), types[field.name], needed, False)
      continue
    many = parameter.kind is inspect.Parameter.VAR_POSITIONAL
    named = parameter.kind is inspect.Parameter.KEYWORD_ONLY
    required = parameter.default is inspect.Parameter.empty and name != "more"
    label = _option(name) if named else name.upper()
    yield _argument(label, hints[name], required, many)
  yield _argument("--json", bool, False, False)


def _argument(label: str, hint: Any, required: bool, many: bool) -> Argument:
  parts = [part for part in typing.get_args(hint) if part is not type(None)]
  if parts and typing.get_origin(hint) is not Literal:
    (hint,) = parts  # X of `X | None`.
  literal = typing.get_origin(hint) is Literal
  choices = tuple(map(str, typing.get_args(hint))) if literal else ()
  return Argument(label, str if literal else hint, choices, required, many)


def _option(name: str) -> str:
  return "--" + name.replace("_", "-")


def _check_positional(expected: list[Argument], words: list[str]) -> None:
  least = [one for one in expected if one.required]
  if len(words) < len(least):
    raise UsageError(_missing(least[len(words) :]))
  many = bool(expected) and expected[-1].many
  if len(words) > len(expected) and not many:
    extra = ", ".join(map(repr, words[len(expected) :]))
    raise UsageError(f"unexpected argument {extra}")
  for at, word in enumerate(words):
    _check(expected[min(at, len(expected) - 1)], word)


def _check(argument: Argument, value: str) -> None:
  """Raises UsageError unless the value is of the argument's type."""
  label = argument.label
  if "\0" in value:
    raise UsageError(f"{label} holds a NUL byte: {value!r}")
  if argument.choices:
    if value not in argument.choices:
      close = difflib.get_close_matches(value, argument.choices, n=1)
      hint = f"; did you mean {close[0]}?" if close else ""
      raise UsageError(f"{label} is {value!r}, but must be {argument.values}{hint}")
    return
  if not value:
    raise UsageError(f"{label} is empty, but must be {argument.values}")
  if argument.is_read and _is_endless(value):
    # Who reads a pipe may wait for ever, and a device may have no end.
    raise UsageError(f"{label} is {value!r}, but must be a file or a folder")
  if label in _WRITTEN and any("\ud800" <= c <= "\udfff" for c in value):
    # The libraries that write shards, weights and checkpoints take no other names.
    raise UsageError(f"{label} is {value!r}, but must be a name in UTF-8")
  if argument.kind not in (int, float):
    return
  try:
    number = argument.kind(value)
  except ValueError:
    raise UsageError(f"{label} is {value!r}, but must be {argument.values}") from None
  if not math.isfinite(number) if argument.kind is float else abs(number) > _MOST:
    what = "a finite number" if argument.kind is float else "below 2^63"
    raise UsageError(f"{label} is {value!r}, but must be {what}")


def _is_endless(path: str) -> bool:
  """Whether there is something at `path` that is neither a file nor a folder."""
  try:
    mode = os.stat(path).st_mode
  except (OSError, ValueError):
    return False
  return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _unknown(name: str, known: list[str]) -> str:
  close = difflib.get_close_matches(name.replace("_", "-"), known, n=1)
  hint = f"did you mean {close[0]}?" if close else "--help lists the options"
  return f"unknown option {name}; {hint}"


def _missing(arguments: list[Argument]) -> str:
  labels = [one.label for one in arguments]
  listed = " and ".join(filter(None, [", ".join(labels[:-1]), labels[-1]]))
  verb = "is" if len(labels) == 1 else "are"
  return f"{listed} {verb} missing; --help describes {'it' if verb == 'is' else 'them'}"
