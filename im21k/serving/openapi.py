"""The addresses of the server as an OpenAPI 3.1 document."""

import importlib.metadata
from typing import Any

from im21k.serving import describe, uploads

_TEXT, _NUMBER, _FLAG = {"type": "string"}, {"type": "number"}, {"type": "boolean"}
_COUNT = {"type": "integer"}
_MIB = 1 << 20
_ERRORS = {
  400: "A parameter or the body is wrong",
  403: "A page of another site sends a photo",
  404: "There is no such page, or the photo is held no longer",
  408: f"The body took longer than {uploads.SECONDS} s",
  413: f"A photo has more than {uploads.PHOTO_BYTES // _MIB} MiB, or the request more "
  f"than {uploads.REQUEST_BYTES // _MIB}",
  415: "The body is text, not a photo",
  422: "No photo of the request can be decoded; `photos` has the reasons",
  503: "Too many photos wait; try again later",
}


def version() -> str:
  """Of the project."""
  return importlib.metadata.version("im21k")


def document() -> dict[str, Any]:
  """The document; every route of `app.routes` is in it."""
  return {
    "openapi": "3.1.0",
    "info": {
      "title": "im21k serve",
      "version": version(),
      "description": "Names what photos show. Answers are JSON; an error is an object "
      "with `error`, one line. Photos are not stored.",
      "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    },
    "paths": {**_programs(), **_pages()},
    "components": {"schemas": _schemas()},
  }


def _programs() -> dict[str, Any]:
  """The addresses that programs call."""
  return {
    "/api/predict": {"post": _predict()},
    "/api/photos/{id}": {
      "get": {
        "summary": "Another answer for a photo that was sent before",
        "description": "Needs no other pass through the model. Only the latest "
        "photos are held.",
        "operationId": "again",
        "parameters": [_parameter("id", "From /api/predict.", "path"), *_choice()],
        "responses": _responses("The answers", _ref("Answers"), 400, 404),
      }
    },
    "/api/classes": {
      "get": {
        "summary": "Classes, and what is above them, by name or id",
        "operationId": "classes",
        "parameters": [
          {**_parameter("q", "A part of a name, or an id."), "required": True},
          _parameter("limit", "Most results, 1 to 100; 20 by default."),
        ],
        "responses": _responses("Best first", _object(classes=_list("Class")), 400),
      }
    },
    "/api/model": {
      "get": {
        "summary": "What the model is, and what may be asked of it",
        "operationId": "model",
        "responses": _responses("The model", _ref("Model")),
      }
    },
    "/health": {
      "get": {
        "summary": "Whether the server answers",
        "operationId": "health",
        "responses": _responses("It does", _object(status=_TEXT, version=_TEXT)),
      }
    },
  }


def _pages() -> dict[str, Any]:
  """The page, and what describes the addresses."""
  page = {"200": {"description": "A page", "content": {"text/html": {}}}}
  return {
    "/openapi.json": {
      "get": {
        "summary": "This document",
        "operationId": "document",
        "responses": _responses("OpenAPI 3.1", {"type": "object"}),
      }
    },
    "/": {"get": {"summary": "The page", "operationId": "page", "responses": page}},
    "/docs": {
      "get": {
        "summary": "This document as a page", "operationId": "docs", "responses": page
      }
    },
    "/static/{name}": {
      "get": {
        "summary": "Style and script of the page",
        "operationId": "static",
        "parameters": [_parameter("name", "style.css or serve.js.", "path")],
        "responses": {"200": {"description": "The file"}, **_errors(404)},
      }
    },
  }  # fmt: skip


def _predict() -> dict[str, Any]:
  file = {"type": "string", "contentMediaType": "application/octet-stream"}
  form = _object(file={"type": "array", "items": file})
  return {
    "summary": "What photos show",
    "description": "The body is one photo, or a form of up to "
    f"{uploads.PHOTOS} files under any field names. A photo that cannot be decoded has "
    "a `reason` in place of answers; the status is 200 if any photo has answers, else "
    "422.",
    "operationId": "predict",
    "parameters": _choice(),
    "requestBody": {
      "required": True,
      "content": {
        "image/*": {"schema": file},
        "application/octet-stream": {"schema": file},
        "multipart/form-data": {"schema": form},
      },
    },
    "responses": _responses(
      "In the order of the request", _object(photos=_list("Photo")),
      400, 403, 408, 413, 415, 422, 503,
    ),
  }  # fmt: skip


def _schemas() -> dict[str, Any]:
  named = {"synset": _TEXT, "name": _TEXT, "probability": _NUMBER}
  maybe = {"type": ["array", "null"]}
  answers = {
    "flat": {**_list("Named"), "description": "The most likely classes."},
    "diverse": {
      **maybe, "items": _ref("Named"), "description": "Different things."
    },
    "hedged": {
      **maybe,
      "items": _ref("Hedged"),
      "description": "From the most specific answer to the safest. For an accuracy "
      "of the model's `lambdas`, the last one whose `least_lambda` is at most that λ; "
      "for a probability, the first that has it.",
    },
    "tree": {**maybe, "items": _ref("Branch")},
    "none": {
      "type": ["number", "null"],
      "description": "Probability of all classes that may not be answered.",
    },
  }  # fmt: skip
  return {
    "Named": _object(**named),
    "Hedged": _object(**named, bits=_NUMBER, least_lambda={"type": ["number", "null"]}),
    "Branch": _object(text=_TEXT, is_open=_FLAG, below=_list("Branch")),
    "Class": _object(synset=_TEXT, name=_TEXT, classes=_COUNT),
    "Answers": _object(id=_TEXT, **answers),
    "Photo": {
      "anyOf": [
        {"allOf": [_object(name=_TEXT), _ref("Answers")]},
        _object(name=_TEXT, reason=_TEXT),
      ]
    },
    "Model": _object(
      model=_TEXT, classes=_COUNT, class_list=_TEXT, input_size=_COUNT,
      has_hierarchy=_FLAG, is_calibrated=_FLAG,
      lambdas={"type": "object", "additionalProperties": _NUMBER},
      class_lists={"type": "object", "additionalProperties": _COUNT},
      limits=_object(photos=_COUNT, photo_bytes=_COUNT, request_bytes=_COUNT),
    ),
    "Error": _object(error=_TEXT),
  }  # fmt: skip


def _choice() -> list[dict[str, Any]]:
  return [_parameter(name, text) for name, text in describe.PARAMETERS.items()]


def _parameter(name: str, text: str, where: str = "query") -> dict[str, Any]:
  required = {"required": True} if where == "path" else {}
  return {"name": name, "in": where, "description": text, "schema": _TEXT, **required}


def _responses(text: str, schema: dict[str, Any], *errors: int) -> dict[str, Any]:
  return {"200": {"description": text, "content": _json(schema)}, **_errors(*errors)}


def _errors(*statuses: int) -> dict[str, Any]:
  return {
    str(status): {"description": _ERRORS[status], "content": _json(_ref("Error"))}
    for status in statuses
  }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
  return {"application/json": {"schema": schema}}


def _object(**properties: Any) -> dict[str, Any]:
  return {"type": "object", "properties": properties, "required": list(properties)}


def _list(schema: str) -> dict[str, Any]:
  return {"type": "array", "items": _ref(schema)}


def _ref(schema: str) -> dict[str, Any]:
  return {"$ref": f"#/components/schemas/{schema}"}
