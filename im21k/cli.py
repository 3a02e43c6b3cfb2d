"""`im21k COMMAND …`: each command is a typed function, its help the docstring.

Positional parameters become positional arguments, keyword-only ones options. With
`--json` the result is one JSON object on standard output, and nothing else is; the
`lines` of a result, which it may have instead, are a line of JSON each.
"""

import ast
import contextlib
import difflib
import importlib
import importlib.metadata
import io
import os
import signal
import sys
import traceback
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from im21k import log_lines, terminal, words


class Command(NamedTuple):
  """Where a command is implemented: its function, and what formats the result."""

  module: str
  function: str
  text: str = "text"
  settings: bool = False  # whether `--config.KEY=VALUE` are options, too
  raw: bool = False  # whether the text is for a program, not for a terminal


COMMANDS = {
  "pack": Command("im21k.packing.pack", "pack"),
  "verify": Command("im21k.packing.verify", "verify"),
  "bench-loader": Command("im21k.planning.bench_loader", "bench_loader", "table"),
  "train": Command("im21k.training.run", "train", settings=True),
  "launch": Command("im21k.hosts.launch", "launch"),
  "sweep": Command("im21k.comparing.sweep", "sweep", settings=True),
  "compare": Command("im21k.comparing.compare", "compare"),
  "finetune": Command("im21k.finetuning.finetune", "finetune"),
  "configs": Command("im21k.training.run", "configs", "configs_text"),
  "export-checkpoint": Command("im21k.training.export_checkpoint", "export_checkpoint"),
  "plan": Command("im21k.planning.plan", "plan"),
  "evaluate": Command("im21k.evaluation.evaluate", "evaluate", "table"),
  "recalibrate": Command("im21k.evaluation.recalibrate", "recalibrate"),
  "calibrate": Command("im21k.evaluation.calibrate", "calibrate"),
  "predict": Command("im21k.inference.predict", "predict"),
  "serve": Command("im21k.serving.serve", "serve"),
  "features": Command("im21k.features.extract", "features"),
  "probe": Command("im21k.features.probe", "probe"),
  "export": Command("im21k.export.export", "export"),
  "report": Command("im21k.pages.report", "report"),
  "classes suggest": Command("im21k.inference.suggest", "suggest"),
  "synset": Command("im21k.synsets.lookup", "synset"),
  "convert mxnet": Command("im21k.convert.mxnet", "from_mxnet"),
  "convert to-mxnet": Command("im21k.convert.mxnet", "to_mxnet"),
  "completion": Command("im21k.cli", "completion", "script", raw=True),
}
_HELP = ("-h", "--help")


def main(arguments: list[str] | None = None) -> int:
  """Runs the command line; returns its exit status.

  0: done; 1: an error, or done but not whole; 2: the command line is wrong; 128 + n:
  ended by signal n. Each status but 0 comes with one line on standard error.
  """
  try:
    with terminal.signals():
      terminal.prepare()
      return _main(sys.argv[1:] if arguments is None else arguments)
  except KeyboardInterrupt:
    terminal.say("im21k: interrupted")
    return terminal.INTERRUPTED
  except terminal.Ended as end:
    terminal.say(f"im21k: ended by {end}")
    return end.status
  except terminal.OutputError as error:
    terminal.say(f"im21k: {error}")
    return error.status
  finally:
    if arguments is None:  # From here on Ctrl-C need not wait for anything.
      signal.signal(signal.SIGINT, signal.SIG_DFL)


def _main(arguments: list[str]) -> int:
  name = arguments[0] if arguments else "--help"
  if name == "--version":
    terminal.write(f"im21k {importlib.metadata.version('im21k')}")
    return 0
  if name in _HELP:
    terminal.write(_overview())
    return 0
  members = [known for known in COMMANDS if known.startswith(f"{name} ")]
  if members:  # `convert mxnet` is one command.
    if any(word in _HELP for word in arguments[1:2]):
      terminal.write(_overview(f"im21k {name}", members))
      return 0
    if not arguments[1:]:
      ways = ", ".join(member.removeprefix(f"{name} ") for member in members)
      terminal.say(f"im21k: {name} needs one of: {ways}")
      return 2
    name = " ".join(arguments[:2])
  if name not in COMMANDS:
    terminal.say(f"im21k: unknown command {name!r}{_hint(name, members)}")
    return 2
  with log_lines.of(name):
    return _run(name, arguments[len(name.split()) :])


def _run(name: str, arguments: list[str]) -> int:
  command = COMMANDS[name]
  try:
    call = _parsed(name, command, arguments)
    if call is None:
      terminal.flush()
      return 0
    result, as_json = call()
    lines = result.pop("lines", None)
    if lines is None:
      text = terminal.as_json(result) if as_json else _text(command, result)
      terminal.write(text)
    else:  # Each as soon as it is known.
      for row in lines:
        terminal.write(terminal.as_json(row))
  except _UsageError as error:
    terminal.say(f"im21k {name}: {error}")
    return 2
  except terminal.OutputError:
    raise
  except Exception as error:
    if os.environ.get(terminal.TRACEBACK):
      traceback.print_exc()
    terminal.say(f"im21k {name}: {terminal.line_of(error)}")
    return 1
  if stopped := result.get("stopped_by"):  # A signal, after which it saved its work.
    terminal.say(f"im21k {name}: stopped by {stopped}: the same command resumes")
    return 128 + signal.Signals[stopped]
  if failed := result.get("failed"):  # It was done, but not whole.
    terminal.say(f"im21k {name}: {failed}")
    return 1
  return 0


class _UsageError(Exception):
  """The command line is wrong; the message is one line."""


def _parsed(
  name: str, command: Command, arguments: list[str]
) -> Callable[[], tuple[dict[str, Any], bool]] | None:
  """The call that a command line asks for, or None where that was for help."""
  from im21k import command_line, usage  # With tyro, which a version does not need.

  with terminal.quiet():
    module = importlib.import_module(command.module)
  function = getattr(module, command.function)
  given: dict[str, Any] = {}
  if command.settings:
    from im21k.training import overrides

    given["settings"], arguments = overrides.split(arguments)
  before_rest = arguments[: [*arguments, "--"].index("--")]
  if not any(word in _HELP for word in before_rest):
    try:
      arguments = usage.ordered(arguments, function, given)
    except usage.UsageError as error:
      raise _UsageError(str(error)) from None
  call = command_line.deferred(function, **given)
  try:
    return command_line.parse(call, f"im21k {name}", arguments)
  except OSError as error:  # It prints help.
    terminal.refused(error)


def _text(command: Command, result: dict[str, Any]) -> str:
  """A result for people; what strangers named cannot move the cursor."""
  text = getattr(importlib.import_module(command.module), command.text)
  if command.raw:
    return str(text(result))
  return words.visible(text(terminal.shown(result)), keep="\n")


def completion(shell: Literal["bash", "zsh"]) -> dict[str, str]:
  """Prints a completion script: eval "$(im21k completion bash)".

  Args:
    shell: Shell that the script is for.
  """
  import tyro

  from im21k.command_line import deferred, group, subcommands

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


def _overview(prog: str = "im21k", names: typing.Iterable[str] = COMMANDS) -> str:
  lines = [f"usage: {prog} COMMAND …  ({prog} COMMAND --help shows its options)", ""]
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
