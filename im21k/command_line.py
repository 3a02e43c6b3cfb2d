"""A typed function -> a command line that tyro parses, with help from its docstring.

Positional parameters become positional arguments, keyword-only ones and the fields of a
dataclass called `options` become options.
"""

import contextlib
import dataclasses
import functools
import inspect
import io
import operator
import re
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal

import tyro

_NONE, _KEYWORD = type(None), inspect.Parameter.KEYWORD_ONLY


def subcommands(functions: dict[str, Callable[..., Any]]) -> Any:
  """The type of one of several commands by name, for tyro."""
  kinds = (
    Annotated[Any, tyro.conf.subcommand(name=name, constructor=function)]
    for name, function in functions.items()
  )
  return functools.reduce(operator.or_, kinds)


def group(functions: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
  """A function whose one argument is one of several commands."""

  def choose(command: Any) -> Any:
    return command

  choose.__annotations__ = {"command": subcommands(functions)}
  return choose


def deferred(
  function: Callable[..., dict[str, Any]], **fixed: Any
) -> Callable[..., Any]:
  """A function with the same parameters, and `json`, that returns the call to make.

  So errors in the arguments are reported by tyro, and errors of the call by `main`.
  The parameters in `fixed` have these values, and are no options.
  """
  signature = inspect.signature(function)
  hints = typing.get_type_hints(function, include_extras=True)
  options, fields = _options(function)
  as_json = tyro.conf.arg(help="Print one JSON object.", help_behavior_hint="")
  parameters = [
    *(
      _parameter(p, hints[name])
      for name, p in signature.parameters.items()
      if name not in (options, *fixed) and p.kind is not inspect.Parameter.VAR_KEYWORD
    ),
    *fields,
    inspect.Parameter(
      "json", _KEYWORD, default=False, annotation=Annotated[bool, as_json]
    ),
  ]

  def defer(json: bool, **given: Any) -> Callable[[], Any]:
    call = signature.bind_partial()
    changes = {field.name: given.pop(field.name) for field in fields}
    call.arguments.update(given)
    return lambda: (function(*call.args, **call.kwargs, **changes, **fixed), json)

  # tyro would keep the line ends inside a parameter's text.
  defer.__doc__ = re.sub(r"\n {4,}", " ", inspect.getdoc(function) or "")
  defer.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
  defer.__annotations__ = {p.name: p.annotation for p in parameters}
  return defer


def parse(
  function: Callable[..., Any], prog: str, arguments: list[str]
) -> Callable[[], Any] | None:
  """The call that `deferred` makes of arguments; None after printing help.

  Raises:
    ValueError: the arguments are wrong.
  """
  stderr = io.StringIO()
  try:
    with contextlib.redirect_stderr(stderr):
      call: Callable[[], Any] = tyro.cli(
        function, prog=prog, args=arguments, config=(tyro.conf.FlagCreatePairsOff,)
      )
    return call
  except SystemExit as end:
    if not end.code:
      return None
    raise ValueError(re.sub(r"[│╭╮╰╯─\s]+", " ", stderr.getvalue()).strip()) from None


def options_class(function: Callable[..., Any]) -> Any:
  """The dataclass that is the type of a function's parameter `options`; None: none."""
  kind = typing.get_type_hints(function).get("options")
  return next(filter(dataclasses.is_dataclass, (kind, *typing.get_args(kind))), None)


def _options(
  function: Callable[..., Any],
) -> tuple[str | None, list[inspect.Parameter]]:
  """Name of a function's parameter `options`, and its fields as parameters.

  Its type is a dataclass whose fields carry their text as metadata `help`; the function
  takes changes of them by name too.
  """
  options = options_class(function)
  if options is None:
    return None, []
  hints, parameters = typing.get_type_hints(options), []
  for field in dataclasses.fields(options):
    shown = tyro.conf.arg(help=field.metadata["help"])
    parameter = inspect.Parameter(field.name, _KEYWORD, default=field.default)
    parameter = _parameter(parameter, hints[field.name])
    kind: Any = Annotated[parameter.annotation, shown]
    parameters.append(parameter.replace(annotation=kind))
  return "options", parameters


def _parameter(parameter: inspect.Parameter, kind: Any) -> inspect.Parameter:
  """The parameter as tyro should show it."""
  name = parameter.name.upper()
  if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
    hint = "(optional)" if parameter.name == "more" else "(required)"
    shown = tyro.conf.arg(metavar=f"{name}...", help_behavior_hint=hint)
    kind = Annotated[tuple[kind, ...], tyro.conf.Positional, shown]
    return inspect.Parameter(
      parameter.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=kind
    )
  if parameter.kind is not _KEYWORD:
    choices = _choices(kind)
    shown = tyro.conf.arg(metavar=_braces(choices) if choices else name)
    kind = Annotated[kind, tyro.conf.Positional, shown]
  elif _NONE in typing.get_args(kind):
    # What None means, the docstring says; `{None}|INT (default: None)` does not.
    kind = Annotated[kind, _optional(kind), tyro.conf.arg(help_behavior_hint="")]
  return parameter.replace(annotation=kind)


def _optional(kind: Any) -> Any:
  """How tyro reads `X | None`: a word is an X, and only leaving it out is None."""
  (part,) = (part for part in typing.get_args(kind) if part is not _NONE)
  choices = _choices(part)
  return tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar=_braces(choices) if choices else str(part.__name__).upper(),
    instance_from_str=lambda words: words[0] if choices else part(words[0]),
    is_instance=lambda value: value is None or bool(choices) or isinstance(value, part),
    str_from_instance=lambda value: [str(value)],
    choices=tuple(choices) or None,
  )


def _choices(kind: Any) -> list[str]:
  literal = typing.get_origin(kind) is Literal
  return [str(choice) for choice in typing.get_args(kind)] if literal else []


def _braces(choices: list[str]) -> str:
  return f"{{{','.join(choices)}}}"
