"""The addresses: the same answers as `predict`, a reason for each bad photo."""

import json
import time

import pytest

from im21k import synsets
from im21k.answers import calibration, hedge, rules
from im21k.inference.predict import predict
from im21k.synsets import ClassList, hierarchy

FULL = synsets.imagenet21k()
DOG = "n02084071"
BOTH = f"{DOG},n02121620"


@pytest.fixture(scope="module")
def photo(sample_photos):
  return min(sample_photos.rglob("*.jpg"))


@pytest.fixture
def answers(client, photo, tmp_path):
  """What `predict` says of the photo, with these options."""
  client.released.save(tmp_path / "weights")
  found = client.service._calibration
  calibration.save(tmp_path / "weights" / "weights.safetensors", found)

  def answers(**options):
    (one,) = predict(tmp_path / "weights", photo, **options)["predictions"]
    return one

  return answers


def named(rows):
  return [(row["synset"], row["name"], round(row["probability"], 5)) for row in rows]


def test_answers_are_those_of_predict(client, photo, answers):
  status, body = client.post(photo.read_bytes(), "?top_k=7")
  assert status == 200
  (one,) = body["photos"]
  assert named(one["flat"]) == named(answers(top_k=7)["top"])
  assert named(one["diverse"]) == named(answers(answer="diverse", top_k=7)["top"])
  assert (one["name"], one["none"], len(one["tree"])) == ("photo", None, 1)
  for accuracy, lambda_ in client.service._calibration.lambdas.items():
    right = [
      row for row in one["hedged"]
      if row["least_lambda"] is not None and row["least_lambda"] <= lambda_
    ]  # fmt: skip
    expected = answers(answer="hedged", accuracy=accuracy)["top"]
    assert named(right[-1:]) == named(expected)


def test_hedged_answers_grow_safer_and_hold_all_of_the_rule(client, photo):
  _, body = client.post(photo.read_bytes())
  rows = body["photos"][0]["hedged"]
  p = [row["probability"] for row in rows]
  bits = [row["bits"] for row in rows]
  assert p == sorted(p) and p[-1] == pytest.approx(1, abs=1e-5) and bits[-1] == 0
  assert bits == sorted(bits, reverse=True)
  assert (
    len(set(bits)) == len(set(p)) == len(rows)
  )  # None is both less and less likely.
  steps = [row["synset"] for row in rows if row["least_lambda"] is not None]
  graph = hierarchy.over(FULL)
  held = next(iter(client.service._held._rows.values()))
  nodes = graph.probabilities(held[None])
  assert steps == [graph.ids[node] for _, node in hedge.path(graph, nodes[0])]
  assert len(rows) > len(steps)
  (node, _), *_ = rules.hedged(graph, nodes, 0.0)
  assert steps[0] == graph.ids[node]


@pytest.mark.parametrize(
  ("query", "options"),
  [
    ("classes=ilsvrc2012", {"classes": "ilsvrc2012"}),
    (f"under={DOG}", {"under": DOG}),
    (f"under=n02121620,{DOG}&only=leaves", {"under": BOTH, "only": "leaves"}),
    ("only=objects&top_k=2", {"only": "objects", "top_k": 2}),
  ],
)  # fmt: skip
def test_another_choice_needs_no_other_pass(
  client, photo, answers, query, options, monkeypatch
):
  _, body = client.post(photo.read_bytes())
  one = body["photos"][0]["id"]
  with monkeypatch.context() as without:
    without.setattr(client.service._worker, "classify", None)
    status, again = client.get(f"/api/photos/{one}?{query}")
  expected = answers(**options)
  assert status == 200 and again["id"] == one
  assert named(again["flat"]) == named(expected["top"])
  assert again["none"] == pytest.approx(expected["none"], abs=1e-5)
  assert again["hedged"][-1]["probability"] == pytest.approx(1, abs=1e-5)
  direct = client.post(photo.read_bytes(), f"?{query}")[1]["photos"][0]
  assert named(direct["flat"]) == named(again["flat"])


def test_a_photo_that_is_held_no_longer_is_said(client):
  assert client.get("/api/photos/unknown") == (
    404, {"error": "this photo is held no longer: send it again"}
  )  # fmt: skip


def test_a_form_has_a_row_for_each_file(client, photo):
  data = photo.read_bytes()
  files = [("a.jpg", data), ("../../b.txt", b"no photo"), ("c.jpg", data[:2000])]
  status, body = client.form(files)
  assert status == 200
  assert [one["name"] for one in body["photos"]] == ["a.jpg", "b.txt", "c.jpg"]
  assert [one.get("reason", "")[:12] for one in body["photos"]] == [
    "", "not an image", "Premature en"
  ]  # fmt: skip
  status, body = client.form(files[1:])
  assert status == 422 and len(body["photos"]) == 2
  assert body["error"] == "no photo can be decoded"
  status, body = client.post(b"no photo")
  assert status == 422 and body["error"].startswith("not an image of a common format")
  assert body["photos"] == [{"name": "photo", "reason": body["error"]}]


def test_many_photos_are_answered_each_by_itself(client, sample_photos):
  some = sorted(sample_photos.rglob("*.jpg"))[:11]
  _, body = client.form([(path.name, path.read_bytes()) for path in some])
  assert [one["name"] for one in body["photos"]] == [path.name for path in some]
  for path, one in zip(some, body["photos"], strict=True):
    (alone,) = client.post(path.read_bytes())[1]["photos"]
    assert named(alone["flat"]) == named(one["flat"])
  assert client.service.answered == 22


def test_classes_are_found_by_name_and_id(client):
  _, body = client.get("/api/classes?q=DOG&limit=3")
  assert body["classes"][0] == {
    "synset": DOG, "name": "dog, domestic dog, Canis familiaris", "classes": 190
  }  # fmt: skip
  assert len(body["classes"]) == 3
  _, body = client.get(f"/api/classes?q={DOG}")
  assert [one["synset"] for one in body["classes"]] == [DOG]
  assert client.get("/api/classes?q=qqqq") == (200, {"classes": []})


def test_the_model_says_what_may_be_asked(client):
  status, body = client.get("/api/model")
  assert status == 200
  assert (body["classes"], body["is_calibrated"]) == (21841, True)
  assert body["lambdas"] == {"0.5": 0.0, "0.9": 1.0, "0.99": 1e9}
  assert body["class_lists"]["ilsvrc2012"] == 999
  assert "imagenet21k" not in body["class_lists"]  # These are all of them.


@pytest.mark.parametrize(
  "classes",
  [
    ClassList("mine", ("my dog", "tom")),
    ClassList("mine", ("my dog", "tom"), (), (DOG, "n02121620")),
  ],
)
def test_own_classes_are_answered_with_a_hierarchy_and_without(served, photo, classes):
  client = served(classes, calibrated=False)
  status, body = client.post(photo.read_bytes())
  (one,) = body["photos"]
  assert status == 200 and {row["synset"] for row in one["flat"]} == {"my dog", "tom"}
  placed = bool(classes.under)
  model = client.get("/api/model")[1]
  assert (model["has_hierarchy"], model["lambdas"]) == (placed, {})
  assert (one["hedged"] is not None, one["tree"] is not None) == (placed, placed)
  found = client.get("/api/classes?q=dog")[1]["classes"]
  assert "my dog" in [row["synset"] for row in found]
  status, body = client.get(f"/api/photos/{one['id']}?under={DOG}")
  if placed:
    assert [row["synset"] for row in body["flat"]] == ["my dog"]
  else:
    assert (status, body["error"]) == (
      400, "under and only need a hierarchy, and these classes have none"
    )  # fmt: skip


@pytest.mark.parametrize(
  ("path", "reason"),
  [
    ("/api/photos/x?acuracy=1", "unknown parameter 'acuracy'; known: top_k, classes, "),
    ("/api/photos/x?topk=1", "unknown parameter 'topk'; did you mean top_k?"),
    ("/api/photos/x?top_k=0", "top_k is '0', but must be 1 to 50"),
    ("/api/photos/x?top_k=1e3", "top_k is '1e3', but must be 1 to 50"),
    ("/api/photos/x?top_k=%D9%A3", "top_k is '\u0663', but must be 1 to 50"),
    ("/api/photos/x?only=all", "only is 'all', but must be leaves or objects"),
    ("/api/photos/x?under=" + "n02084071," * 21, "under has 21 ids, but at most 20"),
    ("/api/classes", "q has 0 characters, but must have 1 to 100"),
    ("/api/classes?q=" + "x" * 101, "q has 101 characters, but must have 1 to 100"),
    ("/api/classes?q=dog&limit=0", "limit is '0', but must be 1 to 100"),
    ("/api/classes?q=dog&page=2", "unknown parameter 'page'; known: q, limit"),
  ],
)
def test_what_is_wrong_is_named(client, path, reason):
  status, body = client.get(path)
  assert status == 400 and body["error"].startswith(reason)


@pytest.mark.parametrize(
  ("query", "reason"),
  [
    ("?under=n00000000", "'n00000000' is not above any class of 'imagenet21k'"),
    (
      "?classes=/etc/passwd",
      "classes is '/etc/passwd', but must be one of: ilsvrc2012",
    ),
    (
      "?classes=imagenet21k",
      "classes is 'imagenet21k', but must be one of: ilsvrc2012",
    ),
  ],
)
def test_a_choice_that_suits_no_photo_is_refused_before_it_is_read(
  client, photo, query, reason
):
  status, body = client.post(photo.read_bytes(), query)
  assert status == 400 and body["error"].startswith(reason)
  assert not client.service._held._rows


def test_every_answer_says_what_browsers_may_do(client):
  for path, kind in (("/", "text/html"), ("/docs", "text/html"), ("/none", "app"),
                     ("/static/serve.js", "text/javascript"),
                     ("/static/style.css", "text/css"),
                     ("/openapi.json", "application/json")):  # fmt: skip
    _, headers, body = client.send("GET", path)
    assert headers["content-type"].startswith(kind) and body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers and "server" not in headers
  for path in ("/", "/docs"):
    text = client.send("GET", path)[2].decode()
    assert "<script>" not in text and "style=" not in text and "//cdn" not in text


@pytest.mark.parametrize(
  "name", ["127.0.0.1", "localhost", "localhost:8000", "[::1]:9"]
)
def test_names_of_this_machine_are_answered(client, name):
  assert client.get("/health", Host=name)[0] == 200


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example:8000", ""])
def test_other_names_are_not(client, name):
  """A page of a stranger whose address leads here could read answers else."""
  status, body = client.get("/health", Host=name)
  assert (status, list(body)) == (421, ["error"])


def test_pages_of_other_sites_may_not_send_photos(client, photo):
  headers = {"sec-fetch-site": "cross-site"}
  assert client.post(photo.read_bytes(), **headers)[0] == 403
  assert client.get("/health")[1]["status"] == "ok"


def test_an_error_that_nobody_expects_is_said_without_details(
  client, photo, monkeypatch, caplog
):
  def fail(*_):
    raise RuntimeError("/secret/path")

  monkeypatch.setattr(client.service._describer, "photo", fail)
  status, body = client.post(photo.read_bytes())
  assert status == 500 and "secret" not in json.dumps(body)
  for _ in range(1000):  # The answer is sent before the error is logged.
    if "unexpected RuntimeError" in caplog.text:
      break
    time.sleep(0.01)
  assert "unexpected RuntimeError" in caplog.text
  monkeypatch.undo()
  assert client.post(photo.read_bytes())[0] == 200
