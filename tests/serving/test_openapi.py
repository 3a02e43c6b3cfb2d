"""The document is whole: every address, every reference, every status."""

import json

import pytest

METHODS = {"get", "post"}


@pytest.fixture
def document(needs_server):
  from im21k.serving import openapi

  return json.loads(json.dumps(openapi.document()))


def walk(value):
  yield value
  if isinstance(value, dict | list):
    for one in value.values() if isinstance(value, dict) else value:
      yield from walk(one)


def test_every_route_is_in_it(document, needs_server):
  from im21k.serving import app

  class Service:
    predict = again = classes = model = None

    def __getattribute__(self, name):
      return lambda request: None

  listed = {(path, m) for path, ways in document["paths"].items() for m in ways}
  assert {method for _, method in listed} <= METHODS
  assert listed == {
    (route.path, method.lower())
    for route in app.routes(Service())
    for method in route.methods - {"HEAD"}
  }


def test_its_structure_is_that_of_openapi(document):
  assert document["openapi"] == "3.1.0" and set(document) == {
    "openapi", "info", "paths", "components"
  }  # fmt: skip
  assert {"title", "version"} <= set(document["info"])
  ids = []
  for path, ways in document["paths"].items():
    for what in ways.values():
      ids.append(what["operationId"])
      assert what["summary"] and "200" in what["responses"]
      assert all(one["description"] for one in what["responses"].values())
      inside = {
        one["name"] for one in what.get("parameters", ()) if one["in"] == "path"
      }
      assert all(f"{{{name}}}" in path for name in inside)
      assert path.count("{") == len(inside)
      for one in what.get("parameters", ()):
        assert set(one) >= {"name", "in", "schema", "description"}
        assert one["in"] != "path" or one["required"]
  assert len(set(ids)) == len(ids)


def test_every_reference_leads_somewhere_and_every_schema_is_used(document):
  found = {
    one["$ref"] for one in walk(document) if isinstance(one, dict) and "$ref" in one
  }
  schemas = {
    f"#/components/schemas/{name}" for name in document["components"]["schemas"]
  }
  assert found == schemas
  for one in walk(document["components"]["schemas"]):
    if isinstance(one, dict) and "required" in one:
      assert set(one["required"]) <= set(one["properties"])


def test_answers_have_the_fields_that_it_promises(document, client, sample_photos):
  schemas = document["components"]["schemas"]
  photo = min(sample_photos.rglob("*.jpg")).read_bytes()
  (one,) = client.post(photo)[1]["photos"]
  assert set(one) == {"name", *schemas["Answers"]["properties"]}
  assert set(one["hedged"][0]) == set(schemas["Hedged"]["properties"])
  assert set(one["flat"][0]) == set(schemas["Named"]["properties"])
  assert set(one["tree"][0]) == set(schemas["Branch"]["properties"])
  assert set(client.get("/api/model")[1]) == set(schemas["Model"]["properties"])
  found = client.get("/api/classes?q=dog")[1]["classes"][0]
  assert set(found) == set(schemas["Class"]["properties"])
  assert client.get("/openapi.json")[1] == document


def test_the_page_of_it_shows_every_address(document, client):
  text = client.send("GET", "/docs")[2].decode()
  for path, ways in document["paths"].items():
    assert f"<code>{next(iter(ways)).upper()} {path}</code>" in text
