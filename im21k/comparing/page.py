"""The result of `compare` -> one page: settings, curves over each other, scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from im21k import words
from im21k.comparing import curves, wording
from im21k.pages import charts, render

_SHARES = ("_top_1", "_share")  # Ends of keys.


def make(result: Mapping[str, Any]) -> str:
  """The page, as HTML."""
  names = [run["name"] for run in result["runs"]]
  scores = result["scores"]
  drawn = names[: charts.MOST_LINES]
  return render.page(
    "compare_page",
    title=f"{words.counted(len(names), 'run')} compared",
    sentence=f"{result['sentence'][0].upper()}{result['sentence'][1:]}.",
    names=names,
    settings=_rows(result["settings"]),
    environment=_rows(result["environment"]),
    changes=[
      f"{run['name']}: at step {change}"
      for run in result["runs"]
      for change in wording.changes(run["history"])
    ],
    summaries=wording.summaries(result["summaries"]),
    at_shared=wording.at_shared(result),
    axis=result["axis"],
    charts=_charts(result, drawn),
    not_drawn=names[charts.MOST_LINES :],
    no_scores=result["no_scores"],
    about=wording.about(scores) if scores else None,
    scores=wording.scores(scores) if scores else [],
    bars=_bars(scores) if scores else [],
    tested=wording.tested(scores) if scores else "",
    tests=wording.tests(scores) if scores else [],
    left_out=words.counted(len(scores["bad"]), "photo") if scores else "",
    bad=[f"{one['photo']} ({one['reason']})" for one in scores["bad"]]
    if scores
    else [],
  )


def _rows(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
  """Rows of settings, with a remark where places hold the same."""
  return [
    [
      f"{row['key']} (same content)" if row.get("same_content") else row["key"],
      *row["values"],
    ]
    for row in rows
  ]


def _charts(result: Mapping[str, Any], names: Sequence[str]) -> list[charts.Chart]:
  """A chart for each curve that there is, a line for each run."""
  found = []
  for key, lines in result["curves"].items():
    unit = charts.SHARE if key.endswith(_SHARES) else charts.NUMBER
    series = {name: lines[name] for name in names}
    one = charts.chart(
      curves.title(key) or key, series, unit=unit, x_name=result["axis"]
    )
    if one:
      found.append(one)
  return found


def _bars(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Top-1 and its interval of each run, as coordinates from 0 to 100."""
  rows = scores["rows"]
  end = max(row["top_1_high"] for row in rows) or 1.0
  return [
    {
      "name": row["run"],
      "text": wording.share(row["top_1"]),
      "low": 100 * row["top_1_low"] / end,
      "width": 100 * (row["top_1_high"] - row["top_1_low"]) / end,
      "at": 100 * row["top_1"] / end,
      "number": 1 + place % charts.MOST_LINES,
    }
    for place, row in enumerate(rows)
  ]
