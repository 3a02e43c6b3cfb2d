"""The page, its style and its script, and the page that describes the JSON."""

import functools
from importlib import resources
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from im21k.serving import describe, openapi, uploads
from im21k.serving.uploads import Refused

_TYPES = {"style.css": "text/css", "serve.js": "text/javascript"}


async def index(request: Request) -> Response:
  """The page on which photos are dropped."""
  return HTMLResponse(_rendered("serve.html.jinja"))


async def docs(request: Request) -> Response:
  """The page that describes every address."""
  page = {"document": openapi.document(), "base": str(request.base_url)}
  return HTMLResponse(_rendered("docs.html.jinja", **page))


async def document(request: Request) -> Response:
  """The same for programs."""
  return JSONResponse(openapi.document())


async def static(request: Request) -> Response:
  """A file of the page; the names are those of `_TYPES`, and never paths."""
  name = request.path_params["name"]
  if name not in _TYPES:
    raise Refused(404, "there is no such page: /docs lists all")
  return Response(_file(name), media_type=_TYPES[name])


@functools.cache
def _file(name: str) -> str:
  folder = resources.files("im21k.serving") / "templates"
  text = (folder / name).read_text(encoding="utf-8")
  if name != "style.css":
    return text
  # What all pages of the project look like comes first.
  shared = resources.files("im21k.pages") / "templates" / name
  return shared.read_text(encoding="utf-8") + text


@functools.cache
def _environment() -> jinja2.Environment:
  return jinja2.Environment(
    loader=jinja2.PackageLoader("im21k.serving"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )


def _rendered(template: str, **values: Any) -> str:
  known = {
    "photos": uploads.PHOTOS,
    "photo_mib": uploads.PHOTO_BYTES >> 20,
    "top_k": describe.TOP_K,
  }
  return _environment().get_template(template).render(known | values)
