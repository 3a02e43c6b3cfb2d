"""Probabilities of labelled photos -> accuracy and mistakes by the hierarchy."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from im21k.answers import rules
from im21k.synsets.hierarchy import Hierarchy

# Least number of training photos of the classes of each group.
_GROUPS = (0, 1, 10, 50, 100, 500, 1000)


def measure(
  hierarchy: Hierarchy,
  classes: Float[np.ndarray, "n classes"],
  labels: Int[np.ndarray, " n"],
  lambdas: Mapping[float, float],
  train_photos: Int[np.ndarray, " classes"] | None = None,
) -> dict[str, Any]:
  """Hierarchical measures of the probabilities `[n, classes]` of labelled photos.

  An answer is a node; it is right if it is at or above the photo's class, and its bits
  of information count if it is right. A fixed level answers with the likeliest of the
  nodes of one depth and the classes above that, these by their own probability alone.

  Args:
    hierarchy: over the classes.
    classes: `[n, classes]`, calibrated probabilities.
    labels: `[n]`, the right classes.
    lambdas: λ of hedged answers by asked accuracy, from `calibrate`.
    train_photos: `[classes]`, number of training photos of each class.

  Returns:
    `depths`: for each depth `photos` whose class is at or below a node of it, and
    `accuracy`: the share of these whose likeliest node of that depth is above the
    class. `mistake_height`: how many levels the lowest node above both the first
    answer and the truth is above the truth, on average over wrong first answers (None:
    there are none). `flat`, `levels` and `hedged`: `accuracy`, mean `information` in
    bits and mean `depth` of first answers, of each fixed `level`, and of hedged answers
    for each `asked` accuracy; with these `fixed`, the fixed level of most information
    among those that reach the asked accuracy on these very photos. `groups`, with
    `train_photos`: `depths` again, `top_1`, `photos` and `classes` by the number of
    training photos of a class, from `least` to `most` (None: no limit).

  Raises:
    ValueError: there are no photos.
  """
  if not len(labels):
    raise ValueError("there are no photos to measure on")
  levels = [_Level.of(hierarchy, d) for d in range(int(hierarchy.depth.max()) + 1)]
  right_at = np.full((len(labels), len(levels)), np.nan)
  flat = hierarchy.label_node[classes.argmax(1)].tolist()
  fixed: list[list[int]] = [[] for _ in levels]
  hedged: dict[float, list[int]] = {accuracy: [] for accuracy in lambdas}
  truth = labels.tolist()
  for at, (row, label) in enumerate(zip(classes, truth, strict=True)):
    nodes = hierarchy.probabilities(row[None])
    for depth in {int(hierarchy.depth[node]) for node in hierarchy.above(label)}:
      best = levels[depth].likeliest(nodes[0])
      right_at[at, depth] = hierarchy.is_right(best, label)
    for level, answers in zip(levels, fixed, strict=True):
      answers.append(level.answer(hierarchy, nodes[0], row))
    for accuracy, lambda_ in lambdas.items():
      hedged[accuracy].append(rules.hedged(hierarchy, nodes, lambda_)[0][0])
  by_level = [
    {"level": depth, **_scored(hierarchy, answers, truth)}
    for depth, answers in enumerate(fixed)
  ]
  result = {
    "depths": _by_depth(right_at),
    "mistake_height": _mistake_height(hierarchy, classes.argmax(1), truth),
    "flat": _scored(hierarchy, flat, truth),
    "levels": by_level,
    "hedged": [
      {
        "asked": asked,
        **_scored(hierarchy, answers, truth),
        "fixed": _best(by_level, asked),
      }
      for asked, answers in hedged.items()
    ],
  }
  if train_photos is not None:
    right = classes.argmax(1) == labels
    result["groups"] = _groups(train_photos, labels, right, right_at)
  return result


def text(measured: dict[str, Any]) -> str:
  """The result of `measure` for people."""
  lines = [f"{'depth':<8}{'photos':>9}{'accuracy':>10}"]
  lines += [
    f"{row['depth']:<8}{row['photos']:>9,}{row['accuracy']:>10.2%}"
    for row in measured["depths"]
  ]
  if measured["mistake_height"] is not None:
    lines.append(f"mistakes meet the truth {measured['mistake_height']:.2f} levels up")
  lines += ["", f"{'answers':<26}{'accuracy':>10}{'bits':>8}{'depth':>8}"]
  lines.append(_row("flat", measured["flat"]))
  for row in measured["hedged"]:
    lines.append(_row(f"hedged for {row['asked']:.0%}", row))
    if row["fixed"]:
      lines.append(_row(f"  best fixed level, {row['fixed']['level']}", row["fixed"]))
  if "groups" in measured:
    lines += ["", *_group_lines(measured["groups"])]
  return "\n".join(lines)


def _row(name: str, row: dict[str, Any]) -> str:
  numbers = f"{row['accuracy']:>10.2%}{row['information']:>8.2f}{row['depth']:>8.2f}"
  return f"{name:<26}{numbers}"


def _group_lines(groups: list[dict[str, Any]]) -> list[str]:
  """A column for each third depth, so that a line fits."""
  shown = sorted({row["depth"] for group in groups for row in group["depths"]})[1::3]
  heads = "".join(f"{f'depth {depth}':>10}" for depth in shown)
  lines = [f"{'training photos':<16}{'classes':>8}{'photos':>8}{'top-1':>9}{heads}"]
  for group in groups:
    most = "and more" if group["most"] is None else f"to {group['most']}"
    shares = {row["depth"]: f"{row['accuracy']:.2%}" for row in group["depths"]}
    lines.append(
      f"{group['least']:>5,} {most:<10}{group['classes']:>8,}{group['photos']:>8,}"
      f"{group['top_1']:>9.2%}" + "".join(f"{shares.get(d, ''):>10}" for d in shown)
    )
  return lines


@dataclasses.dataclass(frozen=True)
class _Level:
  """Answers of one depth: its nodes, and the labels of classes above it."""

  nodes: npt.NDArray[np.int64]
  higher: npt.NDArray[np.int64]

  @classmethod
  def of(cls, hierarchy: Hierarchy, depth: int) -> "_Level":
    higher = np.flatnonzero(hierarchy.depth[hierarchy.label_node] < depth)
    return cls(np.flatnonzero(hierarchy.depth == depth), higher)

  def likeliest(self, nodes: npt.NDArray[np.float32]) -> int:
    """The likeliest node of the depth, given the probabilities of all nodes."""
    return int(self.nodes[nodes[self.nodes].argmax()])

  def answer(
    self,
    hierarchy: Hierarchy,
    nodes: npt.NDArray[np.float32],
    classes: npt.NDArray[np.float32],
  ) -> int:
    """The likeliest of the nodes of the depth and of the classes above it.

    Everything below a class above has a node of the depth, so only the class's own
    probability counts for it.
    """
    best = self.likeliest(nodes)
    if len(self.higher):
      label = int(self.higher[classes[self.higher].argmax()])
      if classes[label] > nodes[best]:
        return int(hierarchy.label_node[label])
    return best


def _scored(
  hierarchy: Hierarchy, answers: Sequence[int], labels: Sequence[int]
) -> dict[str, float]:
  right = [hierarchy.is_right(v, c) for v, c in zip(answers, labels, strict=True)]
  return {
    "accuracy": float(np.mean(right)),
    "information": float(np.mean(hierarchy.information[answers] * right)),
    "depth": float(hierarchy.depth[answers].mean()),
  }


def _best(levels: list[dict[str, Any]], asked: float) -> dict[str, Any] | None:
  enough = [row for row in levels if row["accuracy"] >= asked]
  return max(enough, key=lambda row: row["information"], default=None)


def _by_depth(right_at: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
  photos = (~np.isnan(right_at)).sum(0)
  return [
    {"depth": d, "photos": int(n), "accuracy": float(np.nansum(right_at[:, d]) / n)}
    for d, n in enumerate(photos)
    if n
  ]


def levels_off(hierarchy: Hierarchy, answer: int, label: int) -> tuple[int, int]:
  """How far a predicted class is from the right one, and where they meet.

  Returns:
    The number of levels from the right class up to the lowest node above both classes
    (0: the answer is right), and that node.
  """
  own = int(hierarchy.label_node[label])
  if answer == label:
    return 0, own
  common = hierarchy.lowest_common(answer, label)
  return int(hierarchy.depth[own] - hierarchy.depth[common]), common


def _mistake_height(
  hierarchy: Hierarchy, first: npt.NDArray[np.int64], labels: Sequence[int]
) -> float | None:
  pairs = zip(first.tolist(), labels, strict=True)
  heights = [levels_off(hierarchy, a, c)[0] for a, c in pairs if a != c]
  return float(np.mean(heights)) if heights else None


def _groups(
  train_photos: npt.NDArray[np.int64],
  labels: npt.NDArray[np.int64],
  right: npt.NDArray[np.bool_],
  right_at: npt.NDArray[np.float64],
) -> list[dict[str, Any]]:
  group_of = np.searchsorted(_GROUPS, train_photos[labels], side="right") - 1
  groups = []
  for index, least in enumerate(_GROUPS):
    if (inside := group_of == index).any():
      most = _GROUPS[index + 1] - 1 if index + 1 < len(_GROUPS) else None
      groups.append(
        {
          "least": least,
          "most": most,
          "classes": len(set(labels[inside].tolist())),
          "photos": int(inside.sum()),
          "top_1": float(right[inside].mean()),
          "depths": _by_depth(right_at[inside]),
        }
      )
  return groups
