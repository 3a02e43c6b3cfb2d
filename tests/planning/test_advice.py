"""One sentence, from figures that were compiled."""

import pytest

from im21k.planning import advice

FITS = {
  "fits": True, "batch": 64, "needed_mib": 3000.0, "limit_mib": 3584.0, "hosts": 1,
  "waiting_share": 0.001, "recomputed_share": 0.0, "images_per_s_peak": 400.0,
}  # fmt: skip


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({}, "It fits."),
    ({"waiting_share": 0.0}, "It fits."),
    ({"needed_mib": 4000.0, "fits": False}, "416 MiB too much: try a smaller --batch"),
    ({"needed_mib": 4000.0, "fits": False, "largest_batch": 48}, "--batch 48 fits"),
    ({"needed_mib": 4000.0, "fits": False, "largest_batch": 0}, "try --remat block"),
    ({"waiting_share": 0.31}, "Up to 31% of the step waits for gradients"),
    ({"recomputed_share": 0.337}, "It fits."),
    ({"recomputed_share": 0.337, "needed_mib": 629.0}, "2,955 MiB stay free while"),
    ({"largest_batch": 64}, "It fits."),
    (
      {"largest_batch": 80, "at_largest_batch": {"images_per_s_peak": 404.0}},
      "a larger batch is not faster by more than 5%",
    ),
    (
      {"largest_batch": 80, "at_largest_batch": {"images_per_s_peak": 480.0}},
      "--batch 80 fits too, and is 20% faster",
    ),
    ({"fastest": {"batch": 72, "images_per_s_peak": 424.0}}, "--batch 72 is 6% fast"),
    (
      {"fastest": {"batch": 72, "images_per_s_peak": 404.0}, "largest_batch": 240},
      "no batch is faster by more than 5%",
    ),
  ],
)  # fmt: skip
def test_the_sentence(changes, sentence):
  said = advice.advise({**FITS, **changes})
  assert sentence in said and said.endswith(".") and "\n" not in said
