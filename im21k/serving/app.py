"""A model -> the application: its page, and the same as JSON."""

import asyncio
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from im21k import weights, words
from im21k.answers import calibration as calibrations
from im21k.inference import classify
from im21k.inference.classifier import Classifier
from im21k.photos import Photo
from im21k.serving import guard, openapi, page, uploads
from im21k.serving.describe import Choice, Describer
from im21k.serving.held import Held
from im21k.serving.uploads import Refused, Upload
from im21k.serving.worker import Full, Worker

_DECODING = 2  # Photos at a time: the largest has 400 MB of pixels.
_FOUND, _MOST_FOUND, _LONGEST = 20, 100, 100


class Service:
  """What the routes call; each method answers one."""

  def __init__(
    self, released: weights.Weights, calibration: calibrations.Calibration | None
  ):
    """Loads what answers need, and compiles the model.

    Args:
      released: the weights.
      calibration: theirs; None: there is none.
    """
    self._released, self._calibration = released, calibration
    self._describer = Describer(released.classes, calibration)
    temperature = calibration.temperature if calibration else 1.0
    self._worker = Worker(Classifier(released), temperature)
    self._uploads, self._held = uploads.Uploads(), Held()
    self._decoding = asyncio.Semaphore(_DECODING)
    self.answered = 0  # photos

  def stop(self) -> None:
    """Ends the model's thread."""
    self._worker.stop()

  async def predict(self, request: Request) -> Response:
    """Classifies the photos in the body; each has an answer or a reason."""
    choice = _choice(dict(request.query_params))
    self._check(choice)
    async with self._uploads.read(request) as files:
      seen = [await self._see(file) for file in files]
    good = [photo for photo in seen if not photo.reason]
    try:
      rows = iter(await self._worker.classify(good) if good else ())
    except Full:
      raise Refused(503, "too many photos wait: try again later") from None
    self.answered += len(good)
    photos = [
      {"name": one.name, "reason": one.reason}
      if one.reason
      else await self._described(one.name, next(rows), choice)
      for one in seen
    ]
    if good:
      return JSONResponse({"photos": photos})
    error = seen[0].reason if len(seen) == 1 else "no photo can be decoded"
    return JSONResponse({"error": error, "photos": photos}, 422)

  async def again(self, request: Request) -> Response:
    """Describes a photo that was classified before by another choice."""
    choice = _choice(dict(request.query_params))
    row = self._held.get(request.path_params["id"])
    if row is None:
      raise Refused(404, "this photo is held no longer: send it again")
    answers = await self._answers(row, choice)
    return JSONResponse({"id": request.path_params["id"], **answers})

  async def classes(self, request: Request) -> Response:
    """Looks up classes by a part of their name or id."""
    given = dict(request.query_params)
    text, most = given.pop("q", "").strip(), given.pop("limit", str(_FOUND))
    if given:
      raise Refused(400, f"unknown parameter {min(given)[:40]!r}; known: q, limit")
    if not 1 <= len(text) <= _LONGEST:
      raise Refused(
        400, f"q has {len(text):,} characters, but must have 1 to {_LONGEST}"
      )
    if not (most.isascii() and most.isdecimal() and 0 < int(most[:9]) <= _MOST_FOUND):
      raise Refused(400, f"limit is {most[:40]!r}, but must be 1 to {_MOST_FOUND}")
    found = await asyncio.to_thread(self._describer.found, text, int(most))
    return JSONResponse({"classes": found})

  async def model(self, request: Request) -> Response:
    """What the model is, and what may be asked of it."""
    lambdas = self._calibration.lambdas if self._calibration else {}
    return JSONResponse(
      {
        "model": self._released.model_name,
        "classes": len(self._released.classes),
        "class_list": words.visible(self._released.classes.name),
        "input_size": self._released.input.size,
        "has_hierarchy": self._describer.graph is not None,
        "is_calibrated": self._calibration is not None,
        "lambdas": {f"{accuracy:g}": value for accuracy, value in lambdas.items()},
        "class_lists": self._describer.lists,
        "limits": {
          "photos": uploads.PHOTOS,
          "photo_bytes": uploads.PHOTO_BYTES,
          "request_bytes": uploads.REQUEST_BYTES,
        },
      }
    )

  def _check(self, choice: Choice) -> None:
    """Refuses a choice that suits no photo, before photos are read."""
    try:
      self._describer.check(choice)
    except ValueError as error:
      raise Refused(400, words.visible(str(error))) from None

  async def _see(self, file: Upload) -> classify.Seen:
    photo = Photo(file.name, "", file.data)
    async with self._decoding:
      return await asyncio.to_thread(classify.see, photo, self._released.input)

  async def _described(self, name: str, row: Any, choice: Choice) -> dict[str, Any]:
    return {
      "name": name, "id": self._held.add(row), **await self._answers(row, choice)
    }  # fmt: skip

  async def _answers(self, row: Any, choice: Choice) -> dict[str, Any]:
    self._check(choice)
    return await asyncio.to_thread(self._describer.photo, row, choice)


def routes(service: Service) -> list[Route]:
  """All addresses; each is in `openapi.document`."""
  return [
    Route("/", page.index),
    Route("/docs", page.docs),
    Route("/static/{name}", page.static),
    Route("/openapi.json", page.document),
    Route("/health", _health),
    Route("/api/model", service.model),
    Route("/api/classes", service.classes),
    Route("/api/photos/{id}", service.again),
    Route("/api/predict", service.predict, methods=["POST"]),
  ]


def create(service: Service, hosts: frozenset[str] | None) -> Any:
  """The ASGI application.

  Args:
    service: answers.
    hosts: names by which the server may be called; None: any. Else a page of a stranger
      could name an address of its own that leads here, and read photos' answers.
  """
  app = Starlette(
    routes=routes(service),
    exception_handlers={
      Refused: _refused, HTTPException: _no_route, Exception: _unexpected
    },
  )  # fmt: skip
  app.router.redirect_slashes = False
  return guard.Guard(app, hosts)


def _choice(given: dict[str, str]) -> Choice:
  try:
    return Choice.of(given)
  except ValueError as error:
    raise Refused(400, words.visible(str(error))) from None


async def _health(request: Request) -> Response:
  return JSONResponse({"status": "ok", "version": openapi.version()})


async def _refused(request: Request, error: Exception) -> Response:
  assert isinstance(error, Refused)
  return guard.error(error.status, str(error))


async def _no_route(request: Request, error: Exception) -> Response:
  assert isinstance(error, HTTPException)
  known = {404: "there is no such page: /docs lists all", 405: "wrong method"}
  return guard.error(
    error.status_code, known.get(error.status_code, error.detail), error.headers
  )


async def _unexpected(request: Request, error: Exception) -> Response:
  return guard.error(
    500, "an error that nobody expected; the server's terminal names it"
  )
