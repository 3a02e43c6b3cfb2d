"""An ASGI application -> the same for those who may ask; no failure ends it."""

import logging
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

_log = logging.getLogger(__name__)


class Guard:
  """Checks who asks, and says to browsers what answers may do."""

  def __init__(self, app: Any, hosts: frozenset[str] | None):
    """Wraps an application; `hosts` as for `create`."""
    self._app, self._hosts = app, hosts

  async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
    """Answers one request; nothing that is raised leaves it."""
    if scope["type"] != "http":
      await self._app(scope, receive, send)
      return

    async def send_guarded(message: Any) -> None:
      if message["type"] == "http.response.start":
        message["headers"] = [*message["headers"], *_HEADERS]
      await send(message)

    if refusal := self._refusal(scope):
      await error(*refusal)(scope, receive, send_guarded)
      return
    try:
      await self._app(scope, receive, send_guarded)
    except ClientDisconnect:
      pass
    except Exception as failure:  # It has been answered by `_unexpected`.
      _log.error("unexpected %s: %s", type(failure).__name__, failure)

  def _refusal(self, scope: Any) -> tuple[int, str] | None:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get(b"host", "").lower()
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if self._hosts is not None and name not in self._hosts:
      return 421, "this server answers by its own address only"
    if scope["method"] == "POST" and headers.get(b"sec-fetch-site") == "cross-site":
      return 403, "pages of other sites may not send photos"
    return None


_POLICY = (
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
  "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; "
  "frame-ancestors 'none'"
)
_HEADERS = [
  (b"content-security-policy", _POLICY.encode()),
  (b"x-content-type-options", b"nosniff"),
  (b"referrer-policy", b"no-referrer"),
  (b"cross-origin-resource-policy", b"same-origin"),
  (b"cache-control", b"no-store"),
]


def error(status: int, reason: str, headers: Any = None) -> Response:
  return JSONResponse({"error": reason}, status, headers)
