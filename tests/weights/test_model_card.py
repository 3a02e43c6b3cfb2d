"""What people see of weights: one line, a table without markup of files, a card."""

import dataclasses
import html.parser

import jax
import numpy as np
import pytest

from im21k.inference.classifier import Classifier
from im21k.synsets import ClassList

EVIL = "<script>alert(1)</script>&\"'"
CLASSES = ClassList("three", ("n01440764", "n01443537", "n01484850"))


@pytest.fixture
def small(linear_weights):
  """Weights of a linear model for three classes."""
  kernel = np.zeros((48, 3), np.float32)
  return linear_weights(
    kernel, np.zeros(3, np.float32), CLASSES, scores={"eval_top_1": 0.25, "none": None}
  )


class Parsed(html.parser.HTMLParser):
  """Tags and texts of a piece of HTML."""

  def __init__(self, text):
    super().__init__(convert_charrefs=True)
    self.tags, self.texts = set(), []
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.tags.add(tag)

  def handle_data(self, data):
    self.texts.append(data)


def test_repr_is_one_short_line(small, tiny_weights):
  for weights in (small, tiny_weights):
    for text in (repr(weights), repr(Classifier(weights))):
      assert "\n" not in text and len(text) < 160
  assert repr(Classifier(small)) == (
    "Classifier(Weights('linear', 3 classes of 'three', input 32×32, 147 parameters))"
  )


def test_repr_is_one_line_whatever_the_names(small):
  classes = dataclasses.replace(CLASSES, name="a\nb")
  assert "\n" not in repr(dataclasses.replace(small, classes=classes))


def test_html_shows_name_input_classes_and_scores(small):
  parsed = Parsed(Classifier(small)._repr_html_())
  texts = parsed.texts
  assert parsed.tags == {"table", "tr", "th", "td"}
  assert texts[texts.index("model") + 1] == "linear(num_classes=3)"
  assert "square of 32 pixels" in texts[texts.index("input") + 1]
  assert texts[texts.index("classes") + 1] == "3 of three"
  assert texts[texts.index("eval_top_1") + 1] == "0.25"
  assert "none" not in texts


@pytest.mark.parametrize(
  "where",
  [
    {"model_name": EVIL},
    {"model_fields": {EVIL: 1}},
    {"model_fields": {"a": EVIL}},
    {"classes": dataclasses.replace(CLASSES, name=EVIL)},
    {"scores": {EVIL: 0.5}},
    {"scores": {"top": EVIL}},
  ],
  ids=str,
)
def test_no_name_becomes_markup(small, where):
  text = dataclasses.replace(small, **where)._repr_html_()
  parsed = Parsed(text)
  assert parsed.tags == {"table", "tr", "th", "td"}
  assert "alert(1)" in "".join(parsed.texts)


def test_the_card_says_what_it_is(small, tmp_path):
  small.save(tmp_path)
  text = (tmp_path / "README.md").read_text(encoding="utf-8")
  parameters = sum(leaf.size for leaf in jax.tree.leaves(small.variables["params"]))
  assert f"{parameters:,} parameters" in text and small.classes.hash in text
  assert "- eval_top_1: 0.25" in text and "none:" not in text
