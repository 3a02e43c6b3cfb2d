"""Statistics over many photos are those of all of them together."""

import dataclasses

import jax
import numpy as np
import pytest

from im21k import weights
from im21k.evaluation import inputs
from im21k.evaluation import recalibrate as recalibrating
from im21k.weights import normalize


@pytest.fixture(scope="module")
def recalibrated(packed, tiny_weights, tmp_path_factory):
  folder = tmp_path_factory.mktemp("recalibrated")
  tiny_weights.save(folder / "before")
  result = recalibrating.recalibrate(
    folder / "before", packed, folder / "after", images=100, batch_size=16, devices=4
  )
  return folder, result


@pytest.mark.slow
def test_the_first_layers_statistics_equal_brute_force(
  recalibrated, packed, tiny_weights
):
  """Its input is the photos alone, so all can be computed at once."""
  folder, result = recalibrated
  assert result["images"] == 96
  source = inputs.open_photos(packed, "train")
  first = source.pick(range(96))
  photos = np.stack([inputs.square(photo, tiny_weights.input) for photo in first])
  images = normalize(photos, 117.0, 70.0)
  conv = tiny_weights.variables["params"]["conv1"]["conv"]
  y = np.float64(
    jax.lax.conv_general_dilated(
      images, conv["kernel"], (2, 2), [(3, 3)] * 2,
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
  ) + conv["bias"]  # fmt: skip
  found = weights.load(folder / "after").variables["batch_stats"]["conv1"]["bn"]
  np.testing.assert_allclose(found["mean"], y.mean((0, 1, 2)), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(found["var"], y.var((0, 1, 2)), rtol=1e-4)


@pytest.mark.slow
def test_only_statistics_change(recalibrated):
  folder, _ = recalibrated
  before, after = (weights.load(folder / name) for name in ("before", "after"))
  jax.tree.map(
    np.testing.assert_array_equal, before.variables["params"], after.variables["params"]
  )
  pairs = zip(
    jax.tree.leaves(before.variables["batch_stats"]),
    jax.tree.leaves(after.variables["batch_stats"]),
    strict=True,
  )
  for a, b in pairs:
    assert a.shape == b.shape and b.dtype == np.float32
    assert np.isfinite(b).all() and not np.array_equal(a, b)
  assert after.scores == {} and dataclasses.asdict(after.input) == dataclasses.asdict(
    before.input
  )


@pytest.mark.slow
def test_accuracy_before_and_after_is_reported(recalibrated):
  _, result = recalibrated
  rows = [(row["statistics"], row["split"], row["answers"]) for row in result["rows"]]
  answers = ("all 21,841", "999 of ilsvrc2012")
  assert rows == [(s, "eval", a) for s in ("before", "after") for a in answers]
  assert "after     all 21,841" in recalibrating.text(result)


@pytest.mark.slow
def test_photos_that_cannot_be_decoded_do_not_take_part(packed, tiny_weights, tmp_path):
  """Of class folders, in another order; with a damaged photo among them."""
  tiny_weights.save(tmp_path / "w")
  source = inputs.open_photos(packed, "eval")
  for number, photo in enumerate(source.pick(range(16))):
    path = tmp_path / "photos" / photo.synset / f"{number}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(photo.data)
  bad = path.with_name("bad.jpg")
  bad.write_bytes(b"no photo")
  found = []
  for out, others in (("all", []), ("good", [bad])):
    for path in others:
      path.unlink()
    result = recalibrating.recalibrate(
      tmp_path / "w", tmp_path / "photos", tmp_path / out, batch_size=16, devices=4
    )
    assert result["images"] == 16 and len(result["rows"]) == 4
    assert [row["photo"] for row in result["bad"]] == [
      key for key in [f"{path.parent.name}/bad.jpg"] if out == "all"
    ]
    text = recalibrating.text(result)
    assert ("16 used, 1 unreadable" in text) == (out == "all")
    assert {row["split"] for row in result["rows"]} == {""}  # A folder has none.
    stats = weights.load(tmp_path / out).variables["batch_stats"]["conv1"]["bn"]
    found.append(stats)
  np.testing.assert_allclose(found[0]["mean"], found[1]["mean"], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(found[0]["var"], found[1]["var"], rtol=1e-4)


def test_too_few_photos_for_a_batch(packed, tiny_weights, tmp_path):
  tiny_weights.save(tmp_path / "w")
  with pytest.raises(ValueError, match="10 photos make no whole batch of 16"):
    recalibrating.recalibrate(
      tmp_path / "w", packed, tmp_path / "out", images=10, batch_size=16
    )
  assert not (tmp_path / "out").exists()


def test_photos_without_a_class_are_not_silently_too_few(tiny_weights, tmp_path):
  tiny_weights.save(tmp_path / "w")
  (tmp_path / "photos").mkdir()
  (tmp_path / "photos" / "a.jpg").write_bytes(b"")
  with pytest.raises(ValueError, match=r"0 photos .*; 1 cannot be used \(a.jpg: noth"):
    recalibrating.recalibrate(
      tmp_path / "w", tmp_path / "photos", tmp_path / "out", batch_size=1, devices=1
    )


def test_the_weights_that_are_read_are_not_written_over(tiny_weights, tmp_path):
  tiny_weights.save(tmp_path / "w")
  with pytest.raises(ValueError, match="w holds the weights that are read: take ano"):
    recalibrating.recalibrate(tmp_path / "w", tmp_path / "photos", tmp_path / "w" / ".")
