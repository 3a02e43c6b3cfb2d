"""What people want to know about weights: one line, a small table, a model card.

In: the facts. Out: text for `repr`, HTML for notebooks, Markdown for README.md.
"""

import dataclasses
import html
from typing import Any

from im21k import synsets
from im21k.weights.input import Input


@dataclasses.dataclass(frozen=True)
class Card:
  """The facts about released weights.

  Attributes:
    model_name, model_fields: what `models.create` takes.
    parameters: how many numbers were trained.
    input: how photos are prepared.
    classes: what the logits mean.
    scores: results of evaluations, free of form; those without a value are left out.
  """

  model_name: str
  model_fields: dict[str, Any]
  parameters: int
  input: Input
  classes: synsets.ClassList
  scores: dict[str, Any]

  def line(self) -> str:
    """Model, classes and input in one line."""
    return (
      f"{self.model_name!r}, {len(self.classes):,} classes of {self.classes.name!r}, "
      f"input {self.input.size}×{self.input.size}, {self.parameters:,} parameters"
    )

  def html(self) -> str:
    """The facts as a small HTML table; every value is escaped."""
    fields = ", ".join(f"{key}={value!r}" for key, value in self.model_fields.items())
    mean, std = self.input.mean, self.input.std
    facts = {
      "model": f"{self.model_name}({fields})",
      "parameters": f"{self.parameters:,}",
      "input": (
        f"RGB, centre square of {self.input.size} pixels of a photo with a short side "
        f"of {self.input.short_side}; (value − {mean}) / {std}"
      ),
      "classes": f"{len(self.classes):,} of {self.classes.name}",
      **{name: _short(score) for name, score in self.scores.items() if score},
    }
    rows = "".join(
      f'<tr><th scope="row" style="text-align:left">{html.escape(str(name))}</th>'
      f'<td style="text-align:left">{html.escape(value)}</td></tr>'
      for name, value in facts.items()
    )
    return f"<table>{rows}</table>"

  def markdown(self) -> str:
    """The README.md of a release folder."""
    fields = ", ".join(f"{key}={value!r}" for key, value in self.model_fields.items())
    scores = [f"- {name}: {score}" for name, score in self.scores.items() if score]
    return "\n".join(
      [
        f"# {self.model_name}, {len(self.classes):,} classes",
        "",
        f"{self.parameters:,} parameters. Model: `{self.model_name}({fields})`.",
        f"Classes: {self.classes.name} (hash {self.classes.hash}), in classes.txt.",
        "",
        f"Input: RGB, the centre square of {self.input.size} pixels of a photo whose "
        f"short side is {self.input.short_side}; (value − {self.input.mean}) / "
        f"{self.input.std} on the scale 0–255.",
        "",
        "```python",
        "import im21k",
        'model = im21k.load("…")  # this folder',
        "logits = model.logits(model.prepare(photos))  # paths, PIL pictures or arrays",
        "```",
        "",
        "Scores:" if scores else "No scores are recorded.",
        *scores,
        "",
        "Classes of ImageNet contain people and slurs, unbalanced and out of date: not "
        "for decisions about people. How it was trained is in model.json, `config`.",
        "",
      ]
    )


def _short(score: Any) -> str:
  return f"{score:.4g}" if isinstance(score, float) else str(score)
