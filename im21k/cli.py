"""`im21k COMMAND …`: each command is a typed function, its help the docstring.

Positional parameters become positional arguments, keyword-only ones options. With
`--json` the result is one JSON object on standard output, and nothing else is.
"""

import ast
import contextlib
import dataclasses
import difflib
import functools
import importlib
import importlib.metadata
import inspect
import io
import json
import operator
import os
import re
import shutil
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro


class Command(NamedTuple):
  """Where a command is implemented: its function, and what formats the result."""

  module: str
  function: str
  text: str = "text"
  settings: bool = False  # whether `--config.KEY=VALUE` are options, too


COMMANDS = {
  "pack": Command("im21k.packing.pack", "pack"),
  "verify": Command("im21k.packing.verify", "verify"),
  "bench-loader": Command("im21k.planning.bench_loader", "bench_loader", "table"),
  "train": Command("im21k.training.run", "train", settings=True),
  "configs": Command("im21k.training.run", "configs", "configs_text"),
  "plan": Command("im21k.planning.plan", "plan"),
  "evaluate": Command("im21k.evaluation.evaluate", "evaluate", "table"),
  "recalibrate": Command("im21k.evaluation.recalibrate", "recalibrate"),
  "calibrate": Command("im21k.evaluation.calibrate", "calibrate"),
  "predict": Command("im21k.inference.predict", "predict"),
  "report": Command("im21k.pages.run_page", "report"),
  "synset": Command("im21k.synsets.lookup", "synset"),
  "convert mxnet": Command("im21k.convert", "from_mxnet"),
  "convert to-mxnet": Command("im21k.convert", "to_mxnet"),
  "completion": Command("im21k.cli", "completion", "script"),
}

_NONE, _KEYWORD = type(None), inspect.Parameter.KEYWORD_ONLY
_HELP = ("-h", "--help")


def main(arguments: list[str] | None = None) -> int:
  """Runs the command line; returns its exit status."""
  arguments = sys.argv[1:] if arguments is None else arguments
  name = arguments[0] if arguments else "--help"
  if name == "--version":
    print(f"im21k {importlib.metadata.version('im21k')}")
    return 0
  if name in _HELP:
    print(_overview())
    return 0
  group = [known for known in COMMANDS if known.startswith(f"{name} ")]
  if group:  # `convert mxnet` is one command.
    if any(word in _HELP for word in arguments[1:2]):
      print(_overview(f"im21k {name}", group))
      return 0
    name = " ".join(arguments[:2])
  if name not in COMMANDS:
    print(f"im21k: unknown command {name!r}{_hint(name, group)}", file=sys.stderr)
    return 2
  return _run(name, arguments[len(name.split()) :])


def _run(name: str, arguments: list[str]) -> int:
  command = COMMANDS[name]
  if not shutil.which("nvidia-smi"):
    # The compiler of `im21k plan` must not complain that there is no driver.
    os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
  module = importlib.import_module(command.module)
  given: dict[str, Any] = {}
  try:
    if command.settings:
      from im21k.training import overrides

      given["settings"], arguments = overrides.split(arguments)
    call = tyro.cli(
      _deferred(getattr(module, command.function), **given),
      prog=f"im21k {name}",
      args=arguments,
      config=(tyro.conf.FlagCreatePairsOff,),
    )
    result, as_json = call()
  except (ValueError, OSError, FloatingPointError) as error:
    print(f"im21k {name}: {error}", file=sys.stderr)
    return 1
  print(json.dumps(result) if as_json else getattr(module, command.text)(result))
  return 0


def completion(shell: Literal["bash", "zsh"]) -> dict[str, str]:
  """Prints a completion script: eval "$(im21k completion bash)".

  Args:
    shell: Shell that the script is for.
  """
  groups: dict[str, dict[str, Callable[..., Any]]] = {}
  for name, command in COMMANDS.items():
    function = getattr(importlib.import_module(command.module), command.function)
    first, _, second = name.partition(" ")
    given: dict[str, Any] = {"settings": {}} if command.settings else {}
    groups.setdefault(first, {})[second] = _deferred(function, **given)
  commands = {
    name: functions[""] if "" in functions else _group(functions)
    for name, functions in groups.items()
  }
  text = io.StringIO()
  with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
    tyro.cli(
      _subcommands(commands),
      prog="im21k",
      args=["--tyro-print-completion", shell],
      config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
    )
  return {"script": text.getvalue()}


def script(result: dict[str, str]) -> str:
  """The completion script."""
  return result["script"]


def _subcommands(functions: dict[str, Callable[..., Any]]) -> Any:
  kinds = (
    Annotated[Any, tyro.conf.subcommand(name=name, constructor=function)]
    for name, function in functions.items()
  )
  return functools.reduce(operator.or_, kinds)


def _group(functions: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
  """A function whose one argument is one of several commands."""

  def group(command: Any) -> Any:
    return command

  group.__annotations__ = {"command": _subcommands(functions)}
  return group


def _overview(prog: str = "im21k", names: typing.Iterable[str] = COMMANDS) -> str:
  lines = [
    f"usage: {prog} COMMAND …  ({prog} COMMAND --help describes its options)",
    "",
  ]
  for name in names:
    command = COMMANDS[name]
    lines.append(f"  {name:<17} {_summary(command.module, command.function)}")
  return "\n".join(lines)


def _hint(name: str, group: list[str]) -> str:
  close = difflib.get_close_matches(name, group or COMMANDS, n=1)
  known = ", ".join(group or COMMANDS)
  return f"; did you mean {close[0]}?" if close else f"; the commands are: {known}"


def _summary(module: str, function: str) -> str:
  """First line of a function's docstring; importing all modules would take seconds."""
  path = Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
  for node in ast.parse(path.read_text(encoding="utf-8")).body:
    if isinstance(node, ast.FunctionDef) and node.name == function:
      return (ast.get_docstring(node) or "").partition("\n")[0]
  raise LookupError(f"{module} has no function {function}")


def _deferred(
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

  def deferred(json: bool, **given: Any) -> Callable[[], Any]:
    call = signature.bind_partial()
    changes = {field.name: given.pop(field.name) for field in fields}
    call.arguments.update(given)
    return lambda: (function(*call.args, **call.kwargs, **changes, **fixed), json)

  # tyro would keep the line ends inside a parameter's text.
  deferred.__doc__ = re.sub(r"\n {4,}", " ", inspect.getdoc(function) or "")
  deferred.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
  deferred.__annotations__ = {p.name: p.annotation for p in parameters}
  return deferred


def _options(
  function: Callable[..., Any],
) -> tuple[str | None, list[inspect.Parameter]]:
  """Name of a function's parameter `options`, and its fields as parameters.

  Its type is a dataclass whose fields carry their text as metadata `help`; the function
  takes changes of them by name too.
  """
  kind = typing.get_type_hints(function).get("options")
  for options in (kind, *typing.get_args(kind)):
    if dataclasses.is_dataclass(options):
      break
  else:
    return None, []
  hints, parameters = typing.get_type_hints(options), []
  for field in dataclasses.fields(options):
    shown = tyro.conf.arg(help=field.metadata["help"])
    parameter = inspect.Parameter(field.name, _KEYWORD, default=field.default)
    parameter = _parameter(parameter, hints[field.name])
    kind = Annotated[parameter.annotation, shown]
    parameters.append(parameter.replace(annotation=kind))
  return "options", parameters


def _parameter(parameter: inspect.Parameter, kind: Any) -> inspect.Parameter:
  """The parameter as tyro should show it."""
  name = parameter.name.upper()
  if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
    shown = tyro.conf.arg(metavar=f"{name}...", help_behavior_hint="(required)")
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
    shown = tyro.conf.arg(metavar="|".join(_metavars(kind)), help_behavior_hint="")
    kind = Annotated[kind, shown]
  return parameter.replace(annotation=kind)


def _metavars(kind: Any) -> list[str]:
  """`["INT"]` for `int | None`, the choices in braces for a Literal."""
  shown = []
  for part in typing.get_args(kind):
    choices = _choices(part)
    if choices:
      shown.append(_braces(choices))
    elif part is not _NONE:
      shown.append(str(part.__name__).upper())
  return shown


def _choices(kind: Any) -> list[str]:
  literal = typing.get_origin(kind) is Literal
  return [str(choice) for choice in typing.get_args(kind)] if literal else []


def _braces(choices: list[str]) -> str:
  return f"{{{','.join(choices)}}}"


if __name__ == "__main__":
  sys.exit(main())
