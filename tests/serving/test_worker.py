"""One thread for the model: right rows to each, one batch for who waits, a limit."""

import asyncio
import itertools
import threading

import numpy as np
import pytest

from im21k import synsets
from im21k.inference.classifier import Classifier
from im21k.inference.classify import Seen
from im21k.serving import worker
from im21k.synsets import ClassList

CLASSES = ClassList("three", synsets.imagenet21k().synsets[:3])


@pytest.fixture
def model(linear_weights, rng):
  kernel = rng.normal(scale=1 / 300, size=(48, 3)).astype(np.float32)
  return Classifier(linear_weights(kernel, np.zeros(3, np.float32), CLASSES))


@pytest.fixture
def photos(rng):
  squares = rng.integers(0, 256, (40, 32, 32, 3), np.uint8)
  return [Seen(str(at), square) for at, square in enumerate(squares)]


@pytest.fixture
def running(model):
  found = worker.Worker(model)
  yield found
  found.stop()


def test_each_request_has_its_own_rows_in_order(model, photos, running):
  logits = model.logits(np.stack([photo.square for photo in photos]))
  odds = np.exp(np.asarray(logits, np.float64))
  expected = odds / odds.sum(1, keepdims=True)

  async def ask():
    sizes = [1, 3, 20, 1, 8, 7]
    starts = np.cumsum([0, *sizes])
    parts = [photos[a:b] for a, b in itertools.pairwise(starts)]
    return await asyncio.gather(*map(running.classify, parts))

  found = asyncio.run(ask())
  assert [len(rows) for rows in found] == [1, 3, 20, 1, 8, 7]
  np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-4)


def test_requests_that_wait_share_a_batch_and_more_are_refused(
  photos, running, monkeypatch
):
  begun, go, sizes = threading.Event(), threading.Event(), []

  def several(some):
    sizes.append(len(some))
    begun.set()
    assert go.wait(600)
    return np.zeros((len(some), 3), np.float32)

  monkeypatch.setattr(running, "_one", several)
  monkeypatch.setattr(running, "_several", several)

  async def ask():
    first = asyncio.create_task(running.classify(photos[:1]))
    await asyncio.to_thread(begun.wait, 600)
    waiting = [
      asyncio.create_task(running.classify(photos[1:2]))
      for _ in range(worker.MOST_WAITING)
    ]
    await asyncio.sleep(0)
    with pytest.raises(worker.Full):
      await running.classify(photos[:1])
    waiting[0].cancel()  # Its client is gone,
    await asyncio.wait([waiting[0]])
    await asyncio.sleep(0)  # and the thread's own future knows it.
    go.set()
    await first
    return await asyncio.gather(*waiting[1:])

  assert len(asyncio.run(ask())) == worker.MOST_WAITING - 1
  assert sizes == [1, worker.BATCH - 1, *[worker.BATCH] * 3]


def test_an_error_of_the_model_is_that_of_the_request(photos, running, monkeypatch):
  def fail(_):
    raise RuntimeError("out of memory")

  with monkeypatch.context() as broken:
    broken.setattr(running, "_one", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
      asyncio.run(running.classify(photos[:1]))
  assert asyncio.run(running.classify(photos[:1])).shape == (1, 3)
