"""A real server of a linear model, on a free port, in a thread."""

import http.client
import importlib.util
import json
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from im21k import synsets
from im21k.answers import calibration

LAMBDAS = {0.5: 0.0, 0.9: 1.0, 0.99: 1e9}


class Client:
  """Speaks HTTP to a server; every answer is read whole."""

  def __init__(self, port):
    self.port = port
    self.url = f"http://127.0.0.1:{port}"

  def send(self, method, path, body=None, headers=None):
    """(status, headers, body) of a request; each has a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
    try:
      connection.request(method, path, body, headers or {})
      answer = connection.getresponse()
      return answer.status, answer.headers, answer.read()
    finally:
      connection.close()

  def get(self, path, **headers):
    """(status, JSON) of an address."""
    status, _, body = self.send("GET", path, headers=headers)
    return status, json.loads(body)

  def post(self, body, query="", path="/api/predict", **headers):
    """(status, JSON) for a photo's bytes."""
    sent = {"content-type": "application/octet-stream", **headers}
    status, _, body = self.send("POST", path + query, body, sent)
    return status, json.loads(body)

  def form(self, files, query="", field="file"):
    """(status, JSON) for files, pairs of name and bytes."""
    parts = b"".join(
      b'--x\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n'
      b"Content-Type: image/jpeg\r\n\r\n%s\r\n" % (field.encode(), name.encode(), data)
      for name, data in files
    )
    kind = {"content-type": "multipart/form-data; boundary=x"}
    return self.post(parts + b"--x--\r\n", query, **kind)


@pytest.fixture(scope="session")
def needs_server(need):
  """Skips where Starlette, uvicorn or python-multipart is missing."""
  for name in ("starlette", "uvicorn", "multipart"):
    need(importlib.util.find_spec(name), "serving needs pip install 'im21k[serve]'")


@contextmanager
def running(service):
  """A client of a server of this service, which ends with the block."""
  from im21k.serving import serve

  server = serve.server_of(service, "127.0.0.1")
  with serve.bound("127.0.0.1", 0) as listening:
    thread = threading.Thread(target=server.run, args=([listening],))
    listening.listen(64)
    thread.start()
    try:
      yield Client(listening.getsockname()[1])
    finally:
      server.should_exit = True
      thread.join()
      service.stop()


@pytest.fixture
def served(needs_server, linear_weights):
  """`served(classes, calibrated)`: a client; servers end with the test."""
  from contextlib import ExitStack

  from im21k.serving import app

  with ExitStack() as stack:

    def start(classes=None, calibrated=True):
      classes = classes or synsets.imagenet21k()
      rng = np.random.default_rng(0)
      kernel = rng.normal(scale=1 / 60, size=(48, len(classes))).astype(np.float32)
      released = linear_weights(kernel, np.zeros(len(classes), np.float32), classes)
      known = calibration.Calibration(1.5, LAMBDAS, 9) if calibrated else None
      service = app.Service(released, known)
      client = stack.enter_context(running(service))
      client.service, client.released = service, released
      return client

    yield start


@pytest.fixture
def client(served):
  """A client of a server of the 21,841 classes, calibrated."""
  return served()
