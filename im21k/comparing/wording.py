"""The result of `compare` -> text for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from im21k import words
from im21k.evaluation import results

_MOST_TEXT = 40  # Characters of a value in a column.


def text(result: Mapping[str, Any]) -> str:
  """Settings, where each run is, scores and tests, as lines."""
  names = [run["name"] for run in result["runs"]]
  lines = [f"{words.counted(len(names), 'run')}: {result['sentence']}"]
  for title, rows in (("", result["settings"]), ("ran on", result["environment"])):
    if rows:
      head = [title or "key", *names]
      lines += ["", *aligned([head, *([r["key"], *r["values"]] for r in rows)])]
  for run in result["runs"]:
    lines += [f"{run['name']}: at step {change}" for change in changes(run["history"])]
  lines += ["", *aligned(summaries(result["summaries"]))]
  if shared := at_shared(result):
    lines.append(shared)
  lines.append("")
  if result["scores"] is None:
    lines.append(f"scores not compared: {result['no_scores']}")
  else:
    lines += [about(result["scores"]), *aligned(scores(result["scores"])), ""]
    lines += [tested(result["scores"]), *verdicts(result["scores"])]
    lines += results.lines_about({}, result["scores"]["bad"], "")
  return "\n".join([*lines, "", f"page: {result['page']}"])


def changes(history: Sequence[Any]) -> list[str]:
  """`400: workers was 2, is 0` for each change of a run that was resumed."""
  return [
    f"{one[0]}: {one[1]} was {one[2]}, is {one[3]}"
    for one in history
    if isinstance(one, list) and len(one) == 4
  ]


def summaries(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
  """Head and rows of where the runs are."""
  head = [
    "run", "steps", "images", "held-out top-1", "best", "train top-1", "loss",
    "images/s", "hours",
  ]  # fmt: skip
  found = [head]
  for row in rows:
    best = "-"
    if row["best_top_1"] is not None:
      best = f"{share(row['best_top_1'])} at {row['best_step']:,}"
    found.append(
      [
        row["run"], whole(row["steps"]), whole(row["images"]), share(row["eval_top_1"]),
        best, share(row["train_top_1"]), number(row["loss"]),
        number(row["images_per_s"]), number(row["hours"]),
      ]
    )  # fmt: skip
  return found


def at_shared(result: Mapping[str, Any]) -> str | None:
  """The scores where all runs have been, in words; None: there are none."""
  shared = result["at_shared"]
  if shared is None:
    return None
  what = "held-out" if shared["measure"] == "eval_top_1" else "train"
  each = ", ".join(f"{name} {share(value)}" for name, value in shared["values"].items())
  at = number(shared["x"]) if result["axis"] == "hours" else whole(shared["x"])
  where = f"{at} {result['axis']}"
  return f"{what} top-1 at {where}, which all have reached: {each}"


def about(scores_: Mapping[str, Any]) -> str:
  """Which photos, and among which classes."""
  split = f"{scores_['split']} " if scores_["split"] else ""
  classes = f"all {scores_['classes']:,} classes"
  if not scores_["all_classes"]:
    classes = f"the {words.counted(scores_['classes'], 'class')} that all runs have"
  left = f"; {scores_['left']:,} of other classes left out" if scores_["left"] else ""
  return (
    f"{words.counted(scores_['used'], f'{split}photo')} of {scores_['data']}, answers "
    f"among {classes}{left}"
  )


def scores(scores_: Mapping[str, Any]) -> list[list[str]]:
  """Head and rows of the scores with intervals."""
  found = [["run", "step", "top-1", "95 % interval", "top-5", "95 % interval"]]
  for row in scores_["rows"]:
    cells = [row["run"], whole(row["step"])]
    for k in (1, 5):
      low, high = (100 * row[f"top_{k}_{end}"] for end in ("low", "high"))
      cells += [share(row[f"top_{k}"]), f"{low:.1f}–{high:.1f}"]
    found.append(cells)
  return found


def tested(scores_: Mapping[str, Any]) -> str:
  """What the tests are."""
  tests = len(scores_["tests"])
  holm = f", p corrected for {tests} tests (Holm)" if tests > 1 else ""
  return (
    f"top-1 against {scores_['first']} on the same {scores_['used']:,} photos "
    f"(McNemar, exact{holm}):"
  )


def verdicts(scores_: Mapping[str, Any]) -> list[str]:
  """A line for each run that is tested against the first."""
  several, lines = len(scores_["tests"]) > 1, []
  for test in scores_["tests"]:
    ends = f"{100 * test['low']:+.2f} to {100 * test['high']:+.2f}"
    p = f"p = {p_value(test['p'])}"
    if several:
      p = f"p = {p_value(test['p_holm'])} ({p_value(test['p'])} uncorrected)"
    lines.append(
      f"{test['run']}: {100 * test['difference']:+.2f} points (95 %: {ends}); right "
      f"alone on {words.counted(test['only_this'], 'photo')}, {scores_['first']} on "
      f"{test['only_first']:,}; {p}"
    )
  return lines


def tests(scores_: Mapping[str, Any]) -> list[list[str]]:
  """The same as head and rows of a table."""
  several = len(scores_["tests"]) > 1
  head = ["run", "points", "95 % interval", "right alone, it : first"]
  found = [[*head, *(["p (Holm)", "p uncorrected"] if several else ["p"])]]
  for test in scores_["tests"]:
    ps = [test["p_holm"], test["p"]] if several else [test["p"]]
    found.append(
      [
        test["run"], f"{100 * test['difference']:+.2f}",
        f"{100 * test['low']:+.2f} to {100 * test['high']:+.2f}",
        f"{test['only_this']:,} : {test['only_first']:,}", *map(p_value, ps),
      ]
    )  # fmt: skip
  return found


def p_value(p: float) -> str:
  """Two digits, however small it is."""
  return f"{p:.2g}"


def share(value: float | None) -> str:
  """In percent, or "-"."""
  return "-" if value is None else f"{100 * value:.2f} %"


def number(value: float | None) -> str:
  """Four digits, or "-"."""
  return "-" if value is None else f"{value:.4g}"


def whole(value: float | None) -> str:
  """With groups of digits, or "-"."""
  return "-" if value is None else f"{value:,.0f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
  """Rows as lines with columns; a long cell is cut at its end."""
  cut = [[_cut(cell) for cell in row] for row in rows]
  widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
  return [
    "  ".join(c.ljust(width) for c, width in zip(row, widths, strict=True)).rstrip()
    for row in cut
  ]


def _cut(cell: str) -> str:
  # Of a path, the end says which it is.
  return cell if len(cell) <= _MOST_TEXT else f"…{cell[-_MOST_TEXT + 1 :]}"
