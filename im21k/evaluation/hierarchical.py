"""How wrong wrong answers are, by the hierarchy, beside top-k."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from im21k.answers import rules
from im21k.synsets.hierarchy import Hierarchy

# Least number of training photos of the classes of each group.
_GROUPS = (0, 1, 10, 50, 100, 500, 1000)


def measure(
  hierarchy: Hierarchy,
  classes: npt.NDArray[np.float32],
  labels: Sequence[int],
  trades: dict[float, float],
  train_photos: npt.NDArray[np.int64] | None = None,
) -> dict[str, Any]:
  """Hierarchical measures of the probabilities `[n, classes]` of labelled photos.

  An answer is a node; it is right if it is at or above the photo's class, and its bits
  of information count if it is right. A fixed level answers with the likeliest of the
  nodes of one depth and the classes above that, these by their own probability alone.

  Args:
    hierarchy: of the classes.
    classes: `[n, classes]`, probabilities, calibrated for `trades`.
    labels: `[n]`, what the photos are of.
    trades: λ by asked accuracy, of `calibrate`.
    train_photos: `[classes]`, how many photos of each class were trained on.

  Returns:
    `depths`: for each depth `photos` whose class lies at or below a node of it, and
    `accuracy`: the share of these whose likeliest node of that depth is above the
    class. `mistake_height`: how many levels the lowest node above both the first
    answer and the truth is above the truth, on average over wrong first answers (None:
    there are none). `flat`, `levels` and `hedged`: `accuracy`, mean `information` in
    bits and mean `depth` of first answers, of each fixed `level`, and of hedged answers
    for each `asked` accuracy; with these `fixed`, the fixed level of most information
    among those that reach what is asked on these very photos. `groups`, with
    `train_photos`: `depths` again, `top_1`, `photos` and `classes` by the number of
    training photos of a class, from `least` to `most` (None: no limit).

  Raises:
    ValueError: there are no photos.
  """
  if not len(labels):
    raise ValueError("there are no photos to measure on")
  depths = int(hierarchy.depth.max()) + 1
  at_depth = [np.flatnonzero(hierarchy.depth == depth) for depth in range(depths)]
  depth_of = hierarchy.depth[hierarchy.label_node]
  higher = [np.flatnonzero(depth_of < depth) for depth in range(depths)]
  flat: list[int] = []
  levels: list[list[int]] = [[] for _ in range(depths)]
  hedged: dict[float, list[int]] = {accuracy: [] for accuracy in trades}
  right_at = np.full((len(labels), depths), np.nan)
  for at, (row, label) in enumerate(zip(classes, labels, strict=True)):
    nodes = hierarchy.probabilities(row[None])
    for depth in {int(hierarchy.depth[node]) for node in hierarchy.above(label)}:
      best = at_depth[depth][nodes[0, at_depth[depth]].argmax()]
      right_at[at, depth] = hierarchy.is_right(int(best), label)
    flat.append(int(hierarchy.label_node[row.argmax()]))
    for depth, some in enumerate(levels):
      some.append(_at_level(hierarchy, nodes[0], row, at_depth[depth], higher[depth]))
    for accuracy, trade in trades.items():
      hedged[accuracy].append(rules.hedged(hierarchy, nodes, trade)[0][0])

  def scored(some: list[int]) -> dict[str, float]:
    right = [hierarchy.is_right(v, c) for v, c in zip(some, labels, strict=True)]
    return {
      "accuracy": float(np.mean(right)),
      "information": float(np.mean(hierarchy.information[some] * right)),
      "depth": float(hierarchy.depth[some].mean()),
    }

  by_level = [{"level": depth, **scored(some)} for depth, some in enumerate(levels)]
  result = {
    "depths": _by_depth(right_at),
    "mistake_height": _mistake_height(hierarchy, classes.argmax(1), labels),
    "flat": scored(flat),
    "levels": by_level,
    "hedged": [
      {"asked": asked, **scored(some), "fixed": _best(by_level, asked)}
      for asked, some in hedged.items()
    ],
  }
  if train_photos is not None:
    found = np.array(labels)
    result["groups"] = _groups(
      train_photos, found, classes.argmax(1) == found, right_at
    )
  return result


def text(measured: dict[str, Any]) -> str:
  """What `measure` found, for people."""
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
    found = {row["depth"]: f"{row['accuracy']:.2%}" for row in group["depths"]}
    lines.append(
      f"{group['least']:>5,} {most:<10}{group['classes']:>8,}{group['photos']:>8,}"
      f"{group['top_1']:>9.2%}" + "".join(f"{found.get(d, ''):>10}" for d in shown)
    )
  return lines


def _at_level(
  hierarchy: Hierarchy,
  nodes: npt.NDArray[np.float32],
  classes: npt.NDArray[np.float32],
  inside: npt.NDArray[np.int64],
  higher: npt.NDArray[np.int64],
) -> int:
  """The likeliest of the nodes `inside` a level and of the labels of `higher` classes.

  What lies below a higher class has a node in the level, so only the class's own
  probability speaks for it.
  """
  best = int(inside[nodes[inside].argmax()])
  if len(higher):
    label = int(higher[classes[higher].argmax()])
    if classes[label] > nodes[best]:
      return int(hierarchy.label_node[label])
  return best


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


def _mistake_height(
  hierarchy: Hierarchy, first: npt.NDArray[np.int64], labels: Sequence[int]
) -> float | None:
  heights = []
  for answer, label in zip(first.tolist(), labels, strict=True):
    if answer != label:
      common = hierarchy.lowest_common(answer, label)
      own = hierarchy.label_node[label]
      heights.append(int(hierarchy.depth[own] - hierarchy.depth[common]))
  return float(np.mean(heights)) if heights else None


def _groups(
  train_photos: npt.NDArray[np.int64],
  labels: npt.NDArray[np.int64],
  right: npt.NDArray[np.bool_],
  right_at: npt.NDArray[np.float64],
) -> list[dict[str, Any]]:
  group_of = np.searchsorted(_GROUPS, train_photos[labels], side="right") - 1
  found = []
  for index, least in enumerate(_GROUPS):
    if (inside := group_of == index).any():
      most = _GROUPS[index + 1] - 1 if index + 1 < len(_GROUPS) else None
      found.append(
        {
          "least": least,
          "most": most,
          "classes": len(set(labels[inside].tolist())),
          "photos": int(inside.sum()),
          "top_1": float(right[inside].mean()),
          "depths": _by_depth(right_at[inside]),
        }
      )
  return found
