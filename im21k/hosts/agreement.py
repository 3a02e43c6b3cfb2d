"""Whether all hosts mean the same run, before any of them begins it.

Each host says what it has; where one differs from the first, all say which and in what.
"""

import contextlib
import importlib.metadata
import platform
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from im21k import weights, words
from im21k.hosts.watch import Watch

SECONDS = 60.0  # for the others to come to the same place
_SHARED_SECONDS = 30.0  # for a file of the first host to be seen by the others
_PACKAGES = ("im21k", "jax", "jaxlib", "flax", "optax", "numpy")
_MOST_SHOWN = 3
_LONGEST = 80  # characters of a value


class Disagreement(ValueError):
  """Hosts differ; the message says which and in what, in one line."""


def check(
  watch: Watch, what: str, facts: Mapping[str, Any], seconds: float | None = SECONDS
) -> None:
  """Compares what the hosts have.

  Args:
    watch: over the hosts.
    what: of which the facts are, for messages: "config".
    facts: ready for JSON.
    seconds: to wait for the others.

  Raises:
    Disagreement: on all hosts, if one differs from the first.
  """
  first, *others = watch.gather(f"the {what}", dict(facts), seconds)
  for host, other in enumerate(others, 1):
    names = sorted({*first, *other})
    different = [name for name in names if first.get(name) != other.get(name)]
    if different:
      shown = "; ".join(
        f"{name} is {_shown(other.get(name))} there, {_shown(first.get(name))} on "
        f"host 0" for name in different[:_MOST_SHOWN]
      )  # fmt: skip
      more = len(different) - _MOST_SHOWN
      rest = f"; and {words.counted(more, 'more difference')}" if more > 0 else ""
      raise Disagreement(
        f"host {host} ({watch.names[host]}) has another {what} than host 0: {shown}"
        f"{rest}: give all hosts the same"
      )


def check_code(watch: Watch) -> None:
  """Whether all hosts run the same code.

  Raises:
    Disagreement: on all hosts, if one differs from the first.
  """
  code = {"python": platform.python_version(), "commit": str(weights.commit())}
  code |= {name: importlib.metadata.version(name) for name in _PACKAGES}
  check(watch, "code", code)


def check_shared(watch: Watch, folder: Path, seconds: float = _SHARED_SECONDS) -> None:
  """Whether all hosts see the first one's work folder.

  Raises:
    Disagreement: on all hosts, if one does not see a file that the first wrote there.
  """
  with _token(watch, folder) as (name, content):
    name, content = watch.gather("the work folder", [name, content], SECONDS)[0]
    seen = _sees(folder / str(name), str(content), seconds)
    blind = [
      host
      for host, sees in enumerate(watch.gather("the token", seen, seconds + SECONDS))
      if not sees
    ]
  if blind:
    which = ", ".join(f"host {host} ({watch.names[host]})" for host in blind)
    raise Disagreement(
      f"{which} does not see what host 0 writes to {folder}: the work folder must be "
      "on a file system that all hosts share"
    )


@contextlib.contextmanager
def _token(watch: Watch, folder: Path) -> Iterator[tuple[str, str]]:
  """A file of the first host, until the context ends; nothing on others."""
  if watch.world.host:
    yield "", ""
    return
  folder.mkdir(parents=True, exist_ok=True)
  path, content = folder / f".hosts-{secrets.token_hex(8)}", secrets.token_hex(16)
  path.write_text(content, encoding="utf-8")
  try:
    yield path.name, content
  finally:
    path.unlink(missing_ok=True)


def _sees(path: Path, content: str, seconds: float) -> bool:
  end = time.monotonic() + seconds
  while True:
    with contextlib.suppress(OSError, UnicodeDecodeError):
      if path.read_text(encoding="utf-8") == content:
        return True
    if time.monotonic() > end:
      return False
    time.sleep(0.1)


def _shown(value: Any) -> str:
  text = words.visible(str(value))
  return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
