"""Best and worst classes, and confusion: true numbers, the right photos."""

import numpy as np

from im21k.pages import mistakes, render
from im21k.synsets import hierarchy

GRAPH = hierarchy.Hierarchy(
  ["n00001740", "n11608250", "n12268246", "n02121620"],
  [[], [0], [0], [0]],
  [1, 2, 3],
)
FIR, OAK, CAT = range(3)
# Photo by photo: fir is right twice of two, oak once of two, cat never.
LABELS = np.array([FIR, OAK, CAT, FIR, OAK])
P = np.array(
  [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.7, 0.2, 0.1], [0.6, 0.2, 0.2], [0.5, 0.3, 0.2]],
  np.float32,
)
PHOTOS = [np.full((8, 8, 3), 40 * at, np.uint8) for at in range(5)]


def photos(indices):
  """The photos with these numbers."""
  return [PHOTOS[at] for at in indices]


def test_classes_are_ordered_by_their_share_of_correct_predictions():
  best, worst = mistakes.best_and_worst(GRAPH, P, LABELS, photos)
  fir, oak, cat = (mistakes._name(GRAPH, label) for label in range(3))
  assert [figure.name for figure in best] == [fir, oak]
  assert [figure.name for figure in worst] == [cat]
  assert best[0].caption == f"{fir}: 2 of 2 correct; this one predicted {fir} (90%)"
  assert best[1].caption == f"{oak}: 1 of 2 correct; this one predicted {oak} (80%)"
  assert worst[0].caption == f"{cat}: 0 of 1 correct; this one predicted {fir} (70%)"
  # The most certain photo of the best, the least certain of the worst.
  assert [figure.source for figure in best] == [
    render.data_uri(PHOTOS[0]),
    render.data_uri(PHOTOS[1]),
  ]
  assert worst[0].source == render.data_uri(PHOTOS[2])


def test_classes_that_are_always_right_are_not_among_the_worst():
  best, worst = mistakes.best_and_worst(GRAPH, P, P.argmax(1), photos)
  assert len(best) == 2 and worst == []


def test_of_few_classes_some_are_the_worst(monkeypatch):
  """All three are right at times: the best half, and the rest."""
  p = np.tile(P[:1], (6, 1))
  p[:] = 0.1
  labels = np.repeat([0, 1, 2], 2)
  p[np.arange(6), [0, 0, 1, 0, 2, 1]] = 0.8
  best, worst = mistakes.best_and_worst(
    GRAPH, p, labels, lambda chosen: [PHOTOS[0]] * len(chosen)
  )
  assert (len(best), len(worst)) == (2, 1)


def test_rows_of_the_confusion_are_of_100_photos():
  head, rows = mistakes.confusion(GRAPH, P, LABELS)
  assert head == ["branch (photos)", "1", "2", "3"]
  by_name = {first: rest for first, *rest in rows}
  names = [mistakes._name(GRAPH, label) for label in range(3)]
  firs = next(key for key in by_name if names[FIR] in key)
  oaks = next(key for key in by_name if names[OAK] in key)
  assert firs.endswith("(2)") and oaks.endswith("(2)")
  column = int(firs.split()[0]) - 1
  assert by_name[firs][column] == "100" and by_name[oaks][column] == "50"


def test_answers_outside_all_branches_have_a_column():
  head, rows = mistakes.confusion(GRAPH, P[2:3], LABELS[2:3])
  assert head == ["branch (photos)", "1", "else"]
  assert rows[0][1:] == ("", "100")
