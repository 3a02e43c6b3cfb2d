"""What orbax forgets is dropped; other reports are not."""

import logging
import sys
from types import SimpleNamespace

from im21k.training import quiet


def test_only_forgotten_tasks_are_dropped(caplog, monkeypatch):
  monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
  quiet.silence()
  quiet.silence()
  logger = logging.getLogger("asyncio")
  for kind in ("Task", "_GatheringFuture"):
    logger.error("%s exception was never retrieved\nfuture: x", kind)
  logger.error("Task was destroyed but it is pending!")
  logger.error("another error")
  assert [record.getMessage() for record in caplog.records] == ["another error"]
  assert logging.getLogger("absl").level == logging.CRITICAL


def test_only_their_ignored_exceptions_are_dropped(monkeypatch):
  passed = []
  monkeypatch.setattr(sys, "unraisablehook", passed.append)
  quiet.silence()
  closed, other = RuntimeError("Event loop is closed"), RuntimeError("other")
  for source, error in ((None, closed), (None, other), (object(), closed)):
    sys.unraisablehook(SimpleNamespace(object=source, exc_value=error))
  assert [(seen.object is None, seen.exc_value) for seen in passed] == [
    (True, other), (False, closed),
  ]  # fmt: skip
