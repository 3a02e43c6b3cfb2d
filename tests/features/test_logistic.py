"""The linear probe against scikit-learn, and what it does with odd classes."""

import numpy as np
import pytest

from im21k.features import logistic

# predict_proba of scikit-learn 1.9.1's LogisticRegression (C = 1 / (l2 · n), tol 1e-10)
# on standardised features, for the first two of `problem()`; by l2.
SCIKIT_LEARN = {
  0.001: [
    [0.04438435, 0.09435553, 0.57914049, 0.28211962],
    [0.04009239, 0.01103623, 0.12842111, 0.82045027],
  ],
  0.1: [
    [0.11559278, 0.17676091, 0.45389695, 0.25374936],
    [0.15430476, 0.07668693, 0.20976881, 0.5592395],
  ],
}


def problem(n=60, d=8, classes=4, seed=0):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(n, d)).astype(np.float32) * rng.uniform(0.1, 5, d)
  x += rng.normal(size=d)
  y = rng.integers(0, classes, n)
  x[np.arange(n), y] += 2
  x[:, 3] = 2  # A feature that says nothing.
  return x, y


def probabilities(x, head):
  logits = x.astype(np.float64) @ head.kernel + head.bias
  odds = np.exp(logits - logits.max(1, keepdims=True))
  return odds / odds.sum(1, keepdims=True)


@pytest.mark.parametrize("l2", SCIKIT_LEARN)
def test_it_is_the_regression_of_scikit_learn(l2):
  x, y = problem()
  found = probabilities(x[:2], logistic.fit(x, y, 4, l2))
  np.testing.assert_allclose(found, SCIKIT_LEARN[l2], atol=2e-8)


@pytest.mark.parametrize("shape", [(60, 8), (12, 40)], ids=["tall", "wide"])
def test_nothing_near_is_better(shape):
  """The gradient of the loss over standardised features is 0, in both forms."""
  x, y = problem(*shape)
  l2 = 0.05
  head = logistic.fit(x, y, 4, l2)
  deviation = x.std(0, dtype=np.float64)
  used = deviation > 1e-6
  z = (x[:, used] - x[:, used].mean(0, dtype=np.float64)) / deviation[used]
  errors = probabilities(x, head) - np.eye(4)[y]
  kernel = head.kernel[used] * deviation[used, None]
  np.testing.assert_allclose(z.T @ errors / len(y) + l2 * kernel, 0, atol=1e-6)
  np.testing.assert_allclose(errors.mean(0), 0, atol=1e-6)
  assert not head.kernel[~used].any()


def test_the_l2_is_the_best_of_brute_force():
  x, y = problem(80, 20)
  grid = (1e-3, 1e-2, 1e-1, 1.0)
  fold = logistic._folds(y)
  losses = []
  for l2 in grid:
    loss = 0
    for left_out in range(4):
      head = logistic.fit(x[fold != left_out], y[fold != left_out], 4, l2)
      p = probabilities(x[fold == left_out], head)
      loss -= np.log(p[np.arange(len(p)), y[fold == left_out]]).sum()
    losses.append(loss)
  assert logistic.choose(x, y, 4, grid).l2 == grid[int(np.argmin(losses))]


def test_folds_hold_each_class_evenly():
  _, y = problem(203, 8, 7)
  y = np.concatenate([y, [50, 51]])
  fold = logistic._folds(y)
  assert (fold[-2:] == -1).all()
  for label in range(7):
    counts = np.bincount(fold[y == label], minlength=4)
    assert counts.max() - counts.min() <= 1
  assert np.ptp(np.bincount(fold[fold >= 0])) <= 1


def test_classes_without_photos_are_never_answered():
  x, y = problem()
  head = logistic.fit(x, y * 2, 9, 0.1)
  answers = (x @ head.kernel + head.bias).argmax(1)
  assert set(answers) <= {0, 2, 4, 6}
  same = logistic.fit(x, y, 4, 0.1)
  np.testing.assert_allclose(head.kernel[:, ::2][:, :4], same.kernel)
  assert np.isfinite(head.kernel).all() and (head.bias[1::2] == -1e4).all()


def test_a_photo_alone_in_its_class_is_fitted():
  x, y = problem(40, 60)
  y[0] = 4
  head = logistic.choose(x, y, 5, (1e-4, 1e-3))
  assert (x[0] @ head.kernel + head.bias).argmax() == 4
  alone = logistic.choose(x[:2], np.array([0, 1]), 2)  # Nothing can be left out.
  assert alone.l2 == logistic.GRID[7]
  assert ((x[:2] @ alone.kernel + alone.bias).argmax(1) == [0, 1]).all()


def test_too_few_classes_and_bad_features_are_refused():
  x, y = problem()
  with pytest.raises(ValueError, match="1 class has photos, but a head needs two"):
    logistic.fit(x, np.zeros_like(y), 4, 0.1)
  x[3, 2] = np.nan
  with pytest.raises(ValueError, match="not finite"):
    logistic.fit(x, y, 4, 0.1)


def test_of_many_numbers_one_fold_is_left_out(monkeypatch):
  x, y = problem(80, 20)
  grid = (1e-3, 1e-1, 10.0)
  fold = logistic._folds(y)
  losses = []
  for l2 in grid:
    head = logistic.fit(x[fold != 0], y[fold != 0], 4, l2)
    p = probabilities(x[fold == 0], head)
    losses.append(-np.log(p[np.arange(len(p)), y[fold == 0]]).sum())
  monkeypatch.setattr(logistic, "_MANY", 1)
  assert logistic.choose(x, y, 4, grid).l2 == grid[int(np.argmin(losses))]
