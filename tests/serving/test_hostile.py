"""200 requests, 40 of them hostile: each has the right status, and the server lives."""

import contextlib
import random
import socket
import struct
import zlib
from concurrent import futures
from pathlib import Path

import pytest

GOOD = 160
MIB = 1 << 20
PHOTO = "application/octet-stream"


def png(width, height):
  """A PNG of so many pixels in 100 bytes."""

  def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

  head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
  pixels = zlib.compress(b"\0" * 999)
  return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels)


def endless(size):
  """A body of so many bytes, sent in parts without its length."""
  for _ in range(size // MIB):
    yield b"\xff" * MIB


def raw(client, data):
  """Status that a server gives to bytes; 0 where it closes without one."""
  with socket.create_connection(("127.0.0.1", client.port), timeout=600) as stream:
    answer = b""
    # A server that answers before it has read all may reset the connection, at once.
    with contextlib.suppress(ConnectionError):
      stream.sendall(data)
    with contextlib.suppress(OSError):  # It is not connected any more.
      stream.shutdown(socket.SHUT_WR)
    with contextlib.suppress(ConnectionError):
      while part := stream.recv(4096):
        answer += part
  return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def posts(photo):
  """Status, content type and body."""
  head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="%s"\r\n\r\n'
  form = "multipart/form-data; boundary=x"
  one = head % b"a.jpg" + photo + b"\r\n"
  field = b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n1\r\n'
  return [
    (400, PHOTO, b""),
    (413, PHOTO, b"\xff" * (33 * MIB)),
    (413, PHOTO, endless(70 * MIB)),
    (422, PHOTO, photo[: len(photo) // 2]),
    (422, PHOTO, photo[:3]),
    (422, PHOTO, b"\0" * 100_000),
    (422, PHOTO, b"MZ\x90\0 a program"),
    (422, PHOTO, b"%PDF-1.7 a document"),
    (422, "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    (422, "image/png", png(60_000, 60_000)),
    (422, "image/png", png(2**31 - 1, 2**31 - 1)),
    (422, "image/png", png(40, 40)),
    (422, "application/x-www-form-urlencoded", b"file=a.jpg"),
    (415, "application/json", b'{"file": "/etc/passwd"}'),
    (415, "text/html; charset=utf-8", b"<script>alert(1)</script>"),
    (400, "multipart/form-data", one),
    (400, form, b"no form at all"),
    (400, form, field + b"--x--\r\n"),
    (400, form, one * 33 + b"--x--\r\n"),
    (400, form, field * 40 + b"--x--\r\n"),
    (400, form, b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n'
                + b"y" * MIB + b"\r\n--x--\r\n"),
    (413, form, head % b"a.jpg" + b"\xff" * (33 * MIB) + b"\r\n--x--\r\n"),
    (400, form, endless(80 * MIB)),
    (422, form, head % b"../../../etc/passwd" + b"root\r\n--x--\r\n"),
  ]  # fmt: skip


ADDRESSES = [
  (404, "GET", "/static/../../../../etc/passwd"),
  (404, "GET", "/static/..%2f..%2f..%2fetc%2fpasswd"),
  (404, "GET", "/static/%2e%2e/app.py"),
  (404, "GET", "//etc/passwd"),
  (404, "GET", "/static/style.css%00.png"),
  (404, "GET", "/api/photos/..%2f..%2fetc"),
  (400, "GET", "/api/photos/x?classes=%00&classes=/etc/passwd&path=/"),
  (405, "PUT", "/api/predict"),
  (405, "GET", "/api/predict"),
  (405, "DELETE", "/"),
]
BYTES = [
  (400, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 an encrypted hello"),
  (400, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"),
  (400, b"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n"),
  (421, b"GET / HTTP/1.0\r\n\r\n"),
  (
    0,
    b"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999\r\n\r\nab",
  ),
  (400, b"GET / HT"),
]


def rounded(one):
  """Answers, of which a batch changes the last bits."""
  return [(row["synset"], round(row["probability"], 5)) for row in one["flat"]]


def peak():
  """Most memory of this process since the last call, bytes."""
  status = Path("/proc/self/status").read_text()
  most = next(line for line in status.splitlines() if line.startswith("VmHWM"))
  Path("/proc/self/clear_refs").write_text("5")
  return int(most.split()[1]) << 10


@pytest.mark.slow
def test_200_requests_of_which_40_are_hostile(client, sample_photos):
  photo = min(sample_photos.rglob("*.jpg")).read_bytes()
  (right,) = client.post(photo)[1]["photos"]

  def good():
    status, body = client.post(photo)
    return 200, status, rounded(body["photos"][0]) == rounded(right)

  def post(expected, kind, body):
    status, body = client.post(body, **{"content-type": kind})
    paths = any(part in str(body) for part in ("etc/", "im21k/", "tmp/", ".py"))
    return expected, status, bool(body["error"]) and not paths

  def ask(expected, method, path):
    status, headers, body = client.send(method, path)
    known = b"root:" not in body and headers["content-type"] == "application/json"
    return expected, status, known

  def send(expected, data):
    status = raw(client, data)
    return expected, status or expected, True

  work = [(good,)] * GOOD
  hostile = [(post, *case) for case in posts(photo)]
  hostile += [(ask, *case) for case in ADDRESSES] + [(send, *case) for case in BYTES]
  assert len(hostile) == 40
  work += hostile
  random.Random(0).shuffle(work)
  before = peak()
  with futures.ThreadPoolExecutor(6) as pool:
    found = list(pool.map(lambda case: (case[0](*case[1:]), case), work))
  wrong = [
    (result, str(case)[:200]) for result, case in found
    if result[0] != result[1] or not result[2]
  ]  # fmt: skip
  assert wrong == []
  # Six bodies at a time, here and in the server, which are in this process.
  assert peak() - before < 1 << 30
  assert client.service._uploads._bytes == 0
  assert client.service.answered == GOOD + 1
  assert client.get("/health")[0] == 200


def test_a_slow_sender_is_not_waited_for(client, monkeypatch):
  from im21k.serving import uploads

  monkeypatch.setattr(uploads, "SECONDS", 0.2)
  head = (
    b"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999\r\n\r\nab"
  )
  with socket.create_connection(("127.0.0.1", client.port), timeout=600) as stream:
    stream.sendall(head)
    assert stream.recv(4096).startswith(b"HTTP/1.1 408 ")
  assert client.service._uploads._bytes == 0


def test_who_never_asks_is_sent_away(needs_server, served, monkeypatch):
  from im21k.serving import serve

  monkeypatch.setattr(serve, "_IDLE", 0.1)
  client = served()
  for begun in (b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"):
    with socket.create_connection(("127.0.0.1", client.port), timeout=600) as stream:
      stream.sendall(begun)
      assert stream.recv(4096) == b""


def test_bytes_of_all_requests_are_limited(client, monkeypatch):
  from im21k.serving import uploads

  monkeypatch.setattr(uploads, "ALL_BYTES", 1000)
  status, body = client.post(b"\xff" * 1001)
  assert (status, body["error"].partition(":")[0]) == (
    503, "too many photos arrive at a time"
  )  # fmt: skip
  assert client.service._uploads._bytes == 0
  assert client.post(b"no photo")[0] == 422
