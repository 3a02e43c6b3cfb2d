"""Durations are the same number of steps in every unit."""

from hypothesis import given
from hypothesis import strategies as st

from im21k.training.durations import Duration, Durations


@given(st.integers(1, 500), st.integers(1, 10**7), st.integers(1, 9))
def test_durations_agree_in_every_unit(batch_size, train_examples, epochs):
  by_epochs = Duration(epochs, "epochs").steps(batch_size, train_examples)
  examples = Duration(epochs * train_examples, "examples")
  assert examples.steps(batch_size, train_examples) == by_epochs
  assert Duration(by_epochs, "steps").steps(batch_size, train_examples) == by_epochs


def test_a_duration_is_a_step_at_least_and_rounded():
  assert Duration(0, "epochs").steps(8, 100) == 1
  assert Duration(0.25, "epochs").steps(8, 100) == 3
  assert Durations((1, 2), "epochs").steps(8, 100) == [12, 25]
