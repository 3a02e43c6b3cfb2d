"""Sound bytes and JSON trees -> damaged ones, for the fuzzers; all chance from outside.

In: `random.Random` and something sound. Out: the damaged thing, never the same object.
"""

import copy
import json
import random
from typing import Any

NUMBERS = (
  0, -1, 1, 7, 10**5, 10**9, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63,
  2**64, -(2**63), 10**30, 10**400, 0.0, -0.0, 0.5, 1e-320, 1e308, -1e308, 1e39,
  float("nan"), float("inf"), -float("inf"), True, False,
)  # fmt: skip
STRINGS = (
  "", " ", "nan", "1", "NaN", "\ud800", "\x00", "../../etc/passwd", "/dev/zero",
  "é" * 99, "x" * 10_000, "n00000000", "<script>", "\x1b[31m", "\u202e", "\n",
)  # fmt: skip


def damaged(rng: random.Random, data: bytes, other: bytes = b"") -> bytes:
  """Bytes with one to four flips, cuts, insertions, zero holes or splices."""
  for _ in range(rng.choice((1, 1, 1, 2, 4))):
    at = rng.randrange(len(data) + 1)
    length = min(rng.choice((1, 2, 4, 8, 64, 512, 4096)), len(data) - at)
    kind = rng.choice(
      ("flip", "flip", "byte", "cut", "end", "insert", "zero", "splice")
    )
    if kind == "flip" and at < len(data):
      flipped = data[at] ^ 1 << rng.randrange(8)
      data = data[:at] + bytes([flipped]) + data[at + 1 :]
    elif kind == "byte" and at < len(data):
      chosen = rng.choice((0, 255, 32, 48, 127, 128, rng.randrange(256)))
      data = data[:at] + bytes([chosen]) + data[at + 1 :]
    elif kind == "cut":
      data = data[:at] + data[at + length :]
    elif kind == "end":
      data = data[:at]
    elif kind == "insert":
      data = data[:at] + rng.randbytes(rng.choice((1, 8, 512))) + data[at:]
    elif kind == "zero":
      data = data[:at] + bytes(length) + data[at + length :]
    elif kind == "splice":
      source = other or data
      start = rng.randrange(len(source) + 1)
      data = data[:at] + source[start : start + 512] + data[at + length :]
  return data


def tree(rng: random.Random, sound: Any) -> Any:
  """A JSON tree with one to three nodes replaced, removed, added, renamed or nested."""
  changed = copy.deepcopy(sound)
  for _ in range(rng.choice((1, 1, 1, 2, 3))):
    places = list(_places(changed))
    if not places:
      return value(rng)
    parent, key = rng.choice(places)
    kind = rng.choice(("value", "value", "value", "remove", "add", "rename", "nest"))
    if kind == "value":
      parent[key] = value(rng, parent[key])
    elif kind == "remove":
      del parent[key]
    elif kind == "nest":
      parent[key] = rng.choice(([parent[key]], {"x": parent[key]}))
    elif isinstance(parent, dict):
      name = rng.choice((*STRINGS, f"{key}s", str(key).upper()))
      parent[name] = parent.pop(key) if kind == "rename" else value(rng)
    else:
      parent.insert(key, parent[key] if kind == "rename" else value(rng))
  return changed


def value(rng: random.Random, old: Any = None) -> Any:
  """An absurd value; now and then one near the old one."""
  if isinstance(old, int | float) and abs(old) < 1e300 and rng.random() < 0.3:
    return rng.choice((old + 1, -old, old * 2, old / 3, str(old), [old]))
  if isinstance(old, str) and old and rng.random() < 0.4:
    at = rng.randrange(len(old))
    return rng.choice((old[:at], old + "x", old[:at] + "\x00" + old[at + 1 :], [old]))
  return rng.choice(
    (rng.choice(NUMBERS), rng.choice(STRINGS), None, [], {}, [[]], rng.choice(NUMBERS))
  )


def text(rng: random.Random, changed: Any) -> bytes:
  """A tree as JSON, at times with what a writer never writes."""
  data = json.dumps(changed, indent=rng.choice((None, 1))).encode()
  kind = rng.random()
  if kind < 0.03:
    deep = rng.choice((1_000, 100_000))
    return b"[" * deep + (b"]" * deep if rng.random() < 0.5 else b"")
  if kind < 0.06:
    return b"\xef\xbb\xbf" + data
  if kind < 0.09:
    return data + rng.choice((b"{}", b"\x00", b"x", data))
  if kind < 0.12:  # The first key twice.
    return data.replace(b"{", b'{"format_version": 1,', 1)
  if kind < 0.15:
    return rng.choice(
      (data.decode().encode("utf-16"), b"", b"null", b"[]", b"1" * 9999)
    )
  return data


def _places(node: Any) -> Any:
  """Every (parent, key) below a node."""
  items: Any = ()
  if isinstance(node, dict):
    items = list(node.items())
  elif isinstance(node, list):
    items = list(enumerate(node))
  for key, child in items:
    yield node, key
    yield from _places(child)
