"""`im21k COMMAND …`: each command is a typed function, its help the docstring.

Positional parameters become positional arguments, keyword-only ones options. With
`--json` the result is one JSON object on standard output, and nothing else is.
"""

import ast
import contextlib
import difflib
import importlib
import importlib.metadata
import io
import json
import os
import signal
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro

from im21k.command_line import deferred, group, subcommands


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
  "convert mxnet": Command("im21k.convert.mxnet", "from_mxnet"),
  "convert to-mxnet": Command("im21k.convert.mxnet", "to_mxnet"),
  "completion": Command("im21k.cli", "completion", "script"),
}

_HELP = ("-h", "--help")
# As shells report a command that SIGINT or SIGPIPE has ended: 128 + the signal.
_INTERRUPTED, _BROKEN_PIPE = 128 + signal.SIGINT, 128 + signal.SIGPIPE


def main(arguments: list[str] | None = None) -> int:
  """Runs the command line; returns its exit status."""
  try:
    status = _main(sys.argv[1:] if arguments is None else arguments)
    sys.stdout.flush()
    return status
  except KeyboardInterrupt:
    print("im21k: interrupted", file=sys.stderr)
    return _INTERRUPTED
  except BrokenPipeError:  # As in `im21k … | head`: nobody reads the rest.
    # Else Python would report the same error once more when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _BROKEN_PIPE


def _main(arguments: list[str]) -> int:
  name = arguments[0] if arguments else "--help"
  if name == "--version":
    print(f"im21k {importlib.metadata.version('im21k')}")
    return 0
  if name in _HELP:
    print(_overview())
    return 0
  members = [known for known in COMMANDS if known.startswith(f"{name} ")]
  if members:  # `convert mxnet` is one command.
    if any(word in _HELP for word in arguments[1:2]):
      print(_overview(f"im21k {name}", members))
      return 0
    name = " ".join(arguments[:2])
  if name not in COMMANDS:
    print(f"im21k: unknown command {name!r}{_hint(name, members)}", file=sys.stderr)
    return 2
  return _run(name, arguments[len(name.split()) :])


def _run(name: str, arguments: list[str]) -> int:
  command = COMMANDS[name]
  module = importlib.import_module(command.module)
  given: dict[str, Any] = {}
  try:
    if command.settings:
      from im21k.training import overrides

      given["settings"], arguments = overrides.split(arguments)
    call = tyro.cli(
      deferred(getattr(module, command.function), **given),
      prog=f"im21k {name}",
      args=arguments,
      config=(tyro.conf.FlagCreatePairsOff,),
    )
    result, as_json = call()
  except BrokenPipeError:
    raise
  except (ValueError, OSError, FloatingPointError) as error:
    print(f"im21k {name}: {_line(error)}", file=sys.stderr)
    return 1
  print(json.dumps(result) if as_json else getattr(module, command.text)(result))
  if failed := result.get("failed"):  # It was done, but not whole.
    print(f"im21k {name}: {failed}", file=sys.stderr)
    return 1
  if stopped := result.get("stopped_by"):  # A signal, after which it saved its work.
    return 128 + signal.Signals[stopped]
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
    groups.setdefault(first, {})[second] = deferred(function, **given)
  commands = {
    name: functions[""] if "" in functions else group(functions)
    for name, functions in groups.items()
  }
  text = io.StringIO()
  with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
    tyro.cli(
      subcommands(commands),
      prog="im21k",
      args=["--tyro-print-completion", shell],
      config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
    )
  return {"script": text.getvalue()}


def script(result: dict[str, str]) -> str:
  """The completion script."""
  return result["script"]


def _line(error: Exception) -> str:
  """An error in one line; that of a file as `FILE: no such file or directory`."""
  text = str(error)
  if isinstance(error, OSError) and error.strerror and error.filename is not None:
    # Of a file that is renamed, the new name is the one that the user knows.
    file = error.filename if error.filename2 is None else error.filename2
    text = f"{os.fsdecode(file)}: {error.strerror[:1].lower()}{error.strerror[1:]}"
  return " ".join(text.split())


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


if __name__ == "__main__":
  sys.exit(main())
