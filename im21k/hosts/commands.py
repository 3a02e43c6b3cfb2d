"""Commands of which each of several hosts does its part."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

from im21k import parallel
from im21k.hosts import session, world

_Given = ParamSpec("_Given")


def over_hosts(
  command: Callable[_Given, dict[str, Any]],
) -> Callable[_Given, dict[str, Any]]:
  """The command on all hosts that `im21k launch`, or its environment, describes.

  Its result is shown by the first. As a part of another command, which has joined the
  hosts, it is called on the first alone.
  """

  @functools.wraps(command)
  def joined(*given: _Given.args, **options: _Given.kwargs) -> dict[str, Any]:
    if parallel.is_alone():
      return command(*given, **options)
    with session.joined(world.described(None, None, None)):
      result = command(*given, **options)
      return result if parallel.host() == 0 else {"lines": []}

  return joined
