"""`im21k VERB …`: each verb is a typed function, its help that function's docstring.

Positional parameters become positional arguments, keyword-only ones options. With
`--json` the result is one JSON object on standard output, and nothing else is.
"""

import ast
import dataclasses
import difflib
import importlib
import inspect
import json
import os
import re
import shutil
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

# verb: (module, function, function that makes text of the result)
VERBS: dict[str, tuple[str, str, str]] = {
  "pack": ("im21k.packing.pack", "pack", "text"),
  "bench-loader": ("im21k.planning.bench_loader", "bench_loader", "table"),
  "verify": ("im21k.packing.verify", "verify", "text"),
  "plan": ("im21k.planning.plan", "plan", "text"),
  "evaluate": ("im21k.evaluation.evaluate", "evaluate", "table"),
  "convert mxnet": ("im21k.convert", "from_mxnet", "text"),
  "convert to-mxnet": ("im21k.convert", "to_mxnet", "text"),
  "recalibrate": ("im21k.evaluation.recalibrate", "recalibrate", "text"),
  "calibrate": ("im21k.evaluation.calibrate", "calibrate", "text"),
  "synset": ("im21k.synsets.lookup", "synset", "text"),
  "predict": ("im21k.inference.predict", "predict", "text"),
  "report": ("im21k.pages.run_page", "report", "text"),
}

_NONE, _KEYWORD = type(None), inspect.Parameter.KEYWORD_ONLY


def main(arguments: list[str] | None = None) -> int:
  """Runs the command line; returns its exit status."""
  arguments = sys.argv[1:] if arguments is None else arguments
  verb = arguments[0] if arguments else "--help"
  if any(known.startswith(f"{verb} ") for known in VERBS):
    verb = " ".join(arguments[:2])  # `convert mxnet` is one verb
  if verb in ("-h", "--help"):
    print(_overview())
    return 0
  if verb not in VERBS:
    close = difflib.get_close_matches(verb, VERBS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(VERBS)}"
    print(f"im21k: no verb is called {verb!r}; {hint}", file=sys.stderr)
    return 2
  module_name, function_name, text_name = VERBS[verb]
  if not shutil.which("nvidia-smi"):
    # The compiler of `im21k plan` shall not complain that there is no driver.
    os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
  module = importlib.import_module(module_name)
  call = tyro.cli(
    _deferred(getattr(module, function_name)),
    prog=f"im21k {verb}",
    args=arguments[len(verb.split()) :],
    config=(tyro.conf.FlagCreatePairsOff,),
  )
  try:
    result, as_json = call()
  except (ValueError, OSError) as error:
    print(f"im21k {verb}: {error}", file=sys.stderr)
    return 1
  print(json.dumps(result) if as_json else getattr(module, text_name)(result))
  return 0


def _overview() -> str:
  lines = ["usage: im21k VERB …  (im21k VERB --help tells more)", ""]
  for verb, (module_name, function_name, _) in VERBS.items():
    lines.append(f"  {verb:<17} {_summary(module_name, function_name)}")
  return "\n".join(lines)


def _summary(module_name: str, function_name: str) -> str:
  """First line of a function's docstring; importing them all would take seconds."""
  path = Path(__file__).parent.joinpath(*module_name.split(".")[1:]).with_suffix(".py")
  for node in ast.parse(path.read_text(encoding="utf-8")).body:
    if isinstance(node, ast.FunctionDef) and node.name == function_name:
      return (ast.get_docstring(node) or "").partition("\n")[0]
  raise LookupError(f"{module_name} has no function {function_name}")


def _deferred(function: Callable[..., dict]) -> Callable[..., Callable[[], Any]]:
  """A function of the same parameters, and `json`, that returns the call to make.

  So errors of the arguments are tyro's, and errors of the call are ours.
  """
  signature = inspect.signature(function)
  hints = typing.get_type_hints(function)
  options, fields = _options(function)
  as_json = tyro.conf.arg(help="print one JSON object.", help_behavior_hint="")
  parameters = [
    *(
      _parameter(p, hints[name])
      for name, p in signature.parameters.items()
      if name != options and p.kind is not inspect.Parameter.VAR_KEYWORD
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
    return lambda: (function(*call.args, **call.kwargs, **changes), json)

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
    kind = Annotated[kind, tyro.conf.Positional, tyro.conf.arg(metavar=name)]
  elif _NONE in typing.get_args(kind):
    # What None means, the docstring tells; `{None}|INT (default: None)` does not.
    given = [str(k.__name__).upper() for k in typing.get_args(kind) if k is not _NONE]
    shown = tyro.conf.arg(metavar="|".join(given), help_behavior_hint="")
    kind = Annotated[kind, shown]
  return parameter.replace(annotation=kind)


if __name__ == "__main__":
  sys.exit(main())
