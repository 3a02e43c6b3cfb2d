"""A process of its own for one run: a request on standard input, a line of JSON out.

A run so has its own memory, compiled programs and crash. The other end of standard
input stays open as long as the sweep lives: when it closes, the run saves and stops, so
that a killed sweep leaves nobody behind who still trains.

Requests are `{"do": "check", "configs": […]}` and `{"do": "train", "config": {…},
"workdir": "…"}`.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from im21k import words, xla
from im21k.training import loop, policies, program_cache
from im21k.training.config import Config
from im21k.training.resume import hashes
from im21k.training.setup import prepare

# Their text says what happened; of another error its kind does.
_PLAIN = (ValueError, OSError, FloatingPointError, MemoryError)


def main() -> int:
  """Does what standard input asks for; its result is the last line of the output."""
  with os.fdopen(os.dup(0), "rb", buffering=0) as stdin:
    line = stdin.readline()
  if not line:
    return 1  # The sweep was gone before it asked.
  request = json.loads(line)
  threading.Thread(target=_watch, daemon=True).start()
  if request["do"] == "check":
    answer: dict[str, Any] = {"checked": check(request["configs"])}
  else:
    answer = train(request["config"], Path(request["workdir"]))
  print(json.dumps(answer), flush=True)
  return 0


def check(configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """What a run of each config would be; no step is compiled, nothing is written.

  Returns:
    For each config its `total` steps and the `hashes` of data, classes and weights; or
    `error`, why it cannot be run.
  """
  chosen = [Config.from_dict(one) for one in configs]
  # It only looks; the memory of a GPU is for whoever trains there.
  os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
  xla.set_up(max(config.devices for config in chosen))
  shapes: set[str] = set()
  return [_checked(config, shapes) for config in chosen]


def train(config: dict[str, Any], workdir: Path) -> dict[str, Any]:
  """Trains as `im21k train` does; an error becomes `error` and its `kind`."""
  try:
    chosen = Config.from_dict(config)
    xla.set_up(chosen.devices, deterministic=chosen.deterministic)
    program_cache.use()
    return loop.train(chosen, workdir)
  except Exception as error:
    return _failure(error)


def _checked(config: Config, shapes: set[str]) -> dict[str, Any]:
  """One of `check`; `shapes` are the models whose shapes were found sound before."""
  try:
    if policies.is_open(config):  # What fits is for the run to find out.
      config = config.changed({"model.remat": "none"})
    run = prepare(config)
    model = json.dumps([config.model, config.image_size, len(run.classes)])
    if model not in shapes:
      run.shapes()
      shapes.add(model)
    return {"total": run.total, "hashes": hashes(run)}
  except Exception as error:
    return _failure(error)


def _failure(error: Exception) -> dict[str, str]:
  kind = type(error).__name__
  text = words.visible(" ".join(str(error).split())) or kind
  named = text if isinstance(error, _PLAIN) else f"unexpected {kind}: {text}"
  return {"error": named, "kind": kind}


def _watch() -> None:
  """Ends this process, as a signal does, when the sweep that started it is gone."""
  while os.read(0, 1):
    pass
  os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
  sys.exit(main())
