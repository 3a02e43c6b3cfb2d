"""Steps, examples and durations, counted step by step beside the formulas."""

import itertools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from im21k.training import course as courses
from im21k.training.durations import Duration, Durations
from im21k.training.schedules import Cosine, Stepwise

UNITS = st.sampled_from(["steps", "epochs", "examples"])


@st.composite
def made(draw, most=4):
  """A course of up to `most` phases, and what it is made of."""
  count = draw(st.integers(1, most))
  sizes = [
    (draw(st.sampled_from([32, 48])), draw(st.sampled_from([1, 4, 7, 16])))
    for _ in range(count)
  ]
  ends = tuple(sorted(draw(st.sets(st.integers(1, 60), min_size=count - 1,
                                   max_size=count - 1))))  # fmt: skip
  photos = draw(st.integers(1, 90))
  until = Durations(ends, draw(UNITS))
  return courses.of(sizes, until, photos), sizes, until, photos


def test_a_phase_that_a_run_ends_before_is_named():
  course = courses.of([(32, 8), (48, 4)], Durations((5,), "steps"), 100)
  first = "from step 0: 32 pixels, 8 photos a step"
  assert course.lines(6) == [first, "from step 5: 48 pixels, 4 photos a step"]
  assert course.lines(5)[1].endswith("4 photos a step, which this run ends before")
  assert courses.steady(32, 8, 100).lines(5) == []


def test_nothing_is_due_by_a_phase_that_has_not_begun():
  """16 examples are a period of the second phase, but 17 of the first."""
  course = courses.of([(32, 1), (32, 4)], Durations((16,), "steps"), 2)
  every = course.every(Duration(17, "examples"))
  assert [step for step in range(25) if every.due(step)] == [0, 17, 20, 24]


def batches(course, steps):
  """The batch of each of the first steps."""
  return [course.at(step).batch_size for step in range(steps)]


@settings(max_examples=60)
@given(made())
def test_examples_are_the_sum_of_the_batches(parts):
  course, *_ = parts
  seen = 0
  for step, batch in enumerate(batches(course, 200)):
    assert course.examples(step) == seen
    if course.begins(step):
      assert course.at(step).example == seen
    assert course.begins(step) == (step > 0 and course.at(step) != course.at(step - 1))
    seen += batch


@settings(max_examples=100)
@given(made())
def test_a_phase_ends_at_the_step_nearest_to_its_end(parts):
  course, sizes, until, photos = parts
  assume(len(course.phases) == len(sizes))  # None is left out, or as the one before.
  pairs = itertools.pairwise(course.phases)
  for (before, phase), end in zip(pairs, until.amounts, strict=True):
    assert (before.image_size, before.batch_size) == sizes.pop(0)
    if until.unit == "steps":
      assert phase.first == end
      continue
    wanted = end * (photos if until.unit == "epochs" else 1)
    far = abs(phase.example - wanted)
    assert far <= before.batch_size / 2 or (phase.first == 1 and phase.example > wanted)


@settings(max_examples=60)
@given(made(), st.integers(1, 400), UNITS)
def test_a_duration_ends_at_the_step_with_the_nearest_number_of_examples(
  parts, amount, unit
):
  course, _, _, photos = parts
  found = course.steps(Duration(amount, unit))
  if unit == "steps":
    assert found == amount
    return
  wanted = amount * (photos if unit == "epochs" else 1)
  far = abs(course.examples(found) - wanted)
  assert found == 1 or far <= abs(course.examples(found - 1) - wanted)
  assert far <= abs(course.examples(found + 1) - wanted)


@settings(max_examples=60)
@given(made(), st.integers(1, 60), UNITS)
def test_what_recurs_does_so_after_as_many_examples_in_every_phase(parts, amount, unit):
  course, _, _, photos = parts
  every = course.every(Duration(amount, unit))
  assert every.due(0)
  last, count = 0, 0
  for step in range(1, 200):
    batch = course.at(step - 1).batch_size
    if unit == "steps":
      due = step % amount == 0
    else:
      wanted = amount * (photos if unit == "epochs" else 1)
      period = max(1, round(wanted / batch)) * batch
      due = course.examples(step) - last >= period
      last += (course.examples(step) - last) // period * period
    count += due
    assert every.due(step) == due, step
    assert every.count(step) == count


@given(
  st.integers(1, 64), st.integers(1, 999), st.floats(0.01, 9), UNITS,
  st.sampled_from([(), (16,), (16, 48)]),
)  # fmt: skip
def test_with_one_batch_steps_are_as_without_phases(batch, photos, amount, unit, sides):
  sizes = [(side, batch) for side in (*sides, 32)]
  until = Durations(tuple(range(3, 3 + len(sides))), "steps")
  course = courses.of(sizes, until, photos)
  duration = Duration(amount, unit)
  steps = duration.steps(batch, photos)
  assert course.steps(duration) == steps
  every = course.every(duration)
  for step in range(40):
    assert every.due(step) == (step % steps == 0)
    assert every.count(step) == step // steps
  assert every.count(-1) == -1


def test_durations_of_a_schedule_become_steps():
  """100 photos: an epoch in batches of 10 is 10 steps, then 5 steps of 20 photos."""
  course = courses.of([(32, 10), (32, 20)], Durations((1,), "epochs"), 100)
  made = Stepwise(rates=(3.0, 2.0, 1.0), until=Durations((0.5, 2), "epochs"))
  assert course.in_steps(made).until == Durations((5, 15), "steps")
  made = Cosine(peak=1.0, warmup=Duration(120, "examples"))
  assert course.in_steps(made) == Cosine(peak=1.0, warmup=Duration(11, "steps"))
  assert course.steps(Duration(3, "epochs")) == 20


def test_phases_that_are_alike_are_one():
  course = courses.of([(32, 8), (32, 8), (48, 8)], Durations((2, 5), "steps"), 9)
  assert [(p.first, p.image_size) for p in course.phases] == [(0, 32), (5, 48)]
  again = courses.of([(32, 8), (48, 8), (32, 8)], Durations((2, 5), "steps"), 9)
  assert [(p.first, p.example) for p in again.phases] == [(0, 0), (2, 16), (5, 40)]


def test_a_phase_without_a_step_is_left_out_and_refused():
  until = Durations((0.01, 0.02, 1), "epochs")
  sizes = [(16, 8), (24, 8), (32, 8), (48, 8)]
  course = courses.of(sizes, until, 100)
  assert [p.image_size for p in course.phases] == [16, 32, 48]
  with pytest.raises(ValueError, match=r"phases\.until is after 1, 1, 12 steps: each"):
    courses.check(course, until)
  ascending = Durations((1, 2), "epochs")
  courses.check(courses.of(sizes[:3], ascending, 100), ascending)


def test_the_work_left_is_counted_in_steps_of_the_last_phase():
  course = courses.of([(16, 8), (32, 8)], Durations((10,), "steps"), 100)
  assert course.work(0, 20) == 10 / 4 + 10
  assert course.work(8, 12) == 2 / 4 + 2
  assert course.work(15, 20) == 5 and course.work(3, 4) == 1 / 4
  assert course.work(20, 20) == course.work(21, 20) == 0
  assert courses.steady(32, 8, 100).work(3, 20) == 17
