"""Vectors and labels -> multinomial logistic regression, the linear probe.

The loss is the mean cross-entropy plus l2 / 2 · |kernel|², over features brought to
mean 0 and variance 1; SciPy's L-BFGS minimises it in float64. What comes out applies to
the features as they are.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int
from scipy import optimize, special

# Values of l2 that `choose` tries: from nearly no restraint to nearly nothing else.
GRID = tuple(float(10**exponent) for exponent in np.arange(-5, 2.5, 0.5))
_FOLDS, _SEED = 4, 0
_MANY = 20_000_000  # Numbers, of which each fold holds copies of 8 bytes.
_WORSE = 3  # Values of l2 in a row that are worse than the best: the rest are too.
_FLAT = 1e-6  # Features with less of the largest standard deviation are left out.
_ROUGH, _FINE = 1e-4, 1e-8  # Gradients at which a solution is near enough.
_NEVER = -1e4  # Bias of a class without photos: no logit is as low.

_Array = npt.NDArray[np.float64]


class Logistic(NamedTuple):
  """A head: logits = features @ kernel + bias.

  Attributes:
    kernel: `[d, classes]`.
    bias: `[classes]`; -10,000 of a class without a photo, which is never answered.
    l2: how much the kernel was held back.
  """

  kernel: Float[np.ndarray, "d classes"]
  bias: Float[np.ndarray, " classes"]
  l2: float


def fit(
  features: Float[np.ndarray, "n d"],
  labels: Int[np.ndarray, " n"],
  num_classes: int,
  l2: float,
) -> Logistic:
  """The head of least loss.

  Args:
    features: of n photos.
    labels: the class of each.
    num_classes: of the head; those without photos are never answered.
    l2: multiple of half the squared kernel; above 0, so that there is one solution.

  Raises:
    ValueError: fewer than two classes have photos, or a feature is not finite.
  """
  problem = _Problem(features, labels)
  return problem.unfolded(problem.solve(l2), num_classes, l2)


def choose(
  features: Float[np.ndarray, "n d"],
  labels: Int[np.ndarray, " n"],
  num_classes: int,
  grid: Sequence[float] = GRID,
) -> Logistic:
  """The same with the `l2` of the grid that is best on photos left out in turn.

  The loss is that of four folds, in which each class is spread evenly; each fold is
  judged by the others' heads. Photos that are alone in their class are always fitted.
  Of many numbers only the first fold is left out, which saves memory. The folds are the
  same each time. Where all are alone it is the middle of the grid.
  Errors as of `fit`.
  """
  fold = _folds(labels)
  if features.size > _MANY:
    fold[fold > 0] = -1
  inside = [fold != left_out for left_out in range(int(fold.max()) + 1)]
  problems = [_Problem(features[mask], labels[mask]) for mask in inside]
  if not problems:
    return fit(features, labels, num_classes, sorted(grid)[len(grid) // 2])
  starts: list[_Array | None] = [None] * len(problems)
  losses: dict[float, float] = {}
  for l2 in sorted(grid, reverse=True):  # The easiest first.
    losses[l2] = 0.0
    for at, (problem, mask) in enumerate(zip(problems, inside, strict=True)):
      starts[at] = found = problem.solve(l2, starts[at], _ROUGH)
      losses[l2] += problem.loss(found, features[~mask], labels[~mask])
    if min([*losses.values()][-_WORSE:]) > min(losses.values()):
      break
  best = min(losses, key=lambda l2: losses[l2])
  return fit(features, labels, num_classes, best)


class _Problem:
  """Standardised features of the classes that have photos."""

  def __init__(self, features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]):
    self.present, self._labels = np.unique(labels, return_inverse=True)
    if len(self.present) < 2:
      raise ValueError(
        f"{len(self.present)} class has photos, but a head needs two at least"
      )
    x = np.asarray(features, np.float64)
    self._mean, deviation = x.mean(0), x.std(0)
    if not np.isfinite(deviation).all():
      raise ValueError("there are features that are not finite")
    used = deviation > _FLAT * deviation.max(initial=0)
    self._scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=used)
    self._x = self._standard(x)
    self._axes: _Array | None = None
    if len(x) < x.shape[1]:  # The best kernel lies in the span of the photos.
      self._axes = np.linalg.svd(self._x, full_matrices=False)[2].T
      self._x = self._x @ self._axes

  def solve(
    self, l2: float, start: _Array | None = None, tolerance: float = _FINE
  ) -> _Array:
    """Kernel and bias `[axes + 1, present]` for standardised features."""
    n, d = self._x.shape
    k = len(self.present)
    if start is None:
      start = np.zeros((d + 1, k))
    own = (np.arange(n), self._labels)

    def objective(flat: _Array) -> tuple[float, _Array]:
      weights = flat.reshape(d + 1, k)
      logits = self._x @ weights[:-1] + weights[-1]
      total = special.logsumexp(logits, axis=1)
      loss = (total - logits[own]).mean() + l2 / 2 * (weights[:-1] ** 2).sum()
      errors = np.exp(logits - total[:, None])
      errors[own] -= 1
      errors /= n
      gradient = np.vstack([self._x.T @ errors + l2 * weights[:-1], errors.sum(0)])
      return float(loss), gradient.reshape(-1)

    options = {"maxiter": 1_000, "maxfun": 10_000, "gtol": tolerance, "ftol": 0.0}
    found = optimize.minimize(
      objective, start.reshape(-1), jac=True, method="L-BFGS-B", options=options
    )
    solution: _Array = found.x.reshape(d + 1, k)
    return solution

  def loss(
    self,
    weights: _Array,
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
  ) -> float:
    """Sum of the cross-entropies of other photos of the same classes."""
    x = self._standard(np.asarray(features, np.float64))
    logits = x @ self._over_features(weights) + weights[-1]
    own = np.searchsorted(self.present, labels)
    picked = logits[np.arange(len(labels)), own]
    return float((special.logsumexp(logits, axis=1) - picked).sum())

  def unfolded(self, weights: _Array, num_classes: int, l2: float) -> Logistic:
    """The head for the features as they are, and for all classes."""
    kernel = np.zeros((len(self._scale), num_classes))
    bias = np.full(num_classes, _NEVER)
    kernel[:, self.present] = self._over_features(weights) * self._scale[:, None]
    bias[self.present] = weights[-1] - self._mean @ kernel[:, self.present]
    return Logistic(kernel, bias, l2)

  def _standard(self, x: _Array) -> _Array:
    standard: _Array = (x - self._mean) * self._scale
    return standard

  def _over_features(self, weights: _Array) -> _Array:
    """The kernel `[d, present]` of a solution."""
    return weights[:-1] if self._axes is None else self._axes @ weights[:-1]


def _folds(labels: Int[np.ndarray, " n"]) -> npt.NDArray[np.int64]:
  """A fold for each photo, -1 for those that are always fitted."""
  fold = np.full(len(labels), -1)
  rng = np.random.default_rng(_SEED)
  first = 0
  for label in np.unique(labels):
    mine = rng.permutation(np.flatnonzero(labels == label))
    if len(mine) > 1:  # Each class begins where the one before ended.
      fold[mine] = (first + np.arange(len(mine))) % _FOLDS
      first += len(mine)
  return fold
