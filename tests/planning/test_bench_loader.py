"""The measurement of the training loader: its result, not its speed."""

import json

import pytest

from im21k.planning import bench_loader, loader_speed


@pytest.fixture(scope="module")
def result(packed, tmp_path_factory):
  picture = tmp_path_factory.mktemp("bench") / "stages.png"
  return bench_loader.bench_loader(
    packed, batch_size=4, image_size=32, threads=1, workers=0, seconds=0.01,
    gpu_images_per_s=500.0, picture=picture,
  )  # fmt: skip


def test_all_figures_are_there(result):
  json.dumps(result)
  assert result["images_per_s"] > 0 and result["cpu_ms_per_image"] > 0
  assert (result["threads"], result["workers"], result["bad_photos"]) == (1, 0, 0)
  assert {"batch", "transfer"} < result["stages"].keys()
  assert all(ms >= 0 for ms in result["stages"].values())


def test_cores_follow_from_the_time_of_an_image(result):
  needed = result["cores_for_gpus"]
  assert needed.keys() == {"1", "2", "4", "8"}
  each = result["cpu_ms_per_image"] / 1e3
  assert needed["8"] == pytest.approx(8 * 500.0 * each, rel=0.05, abs=0.1)


def test_text_and_picture(result):
  text = bench_loader.table(result)
  assert "1 process of 1 thread" in text and "limit: " in text
  assert "cores needed, by number of GPUs of 500 images/s: 1: " in text
  with open(result["picture"], "rb") as file:
    assert file.read(4) == b"\x89PNG"


@pytest.mark.parametrize(
  ("busy", "threads", "limit"),
  [
    (0.95, 64, "the cores, all busy; most of it to decode"),
    (0.5, 0, "the number of threads and workers"),
    (0.5, 64, "waiting for the disk, or for other work: the cores are 50% busy"),
  ],
)
def test_what_limits(busy, threads, limit):
  stages = {"read": 0.1, "decode": 2.0}
  assert loader_speed._limit(busy, stages, threads).startswith(limit)


def test_photos_of_any_source_go_through_the_loader_of_evaluation(sample_photos):
  result = bench_loader.bench_loader(
    sample_photos, batch_size=8, image_size=32, threads=2, seconds=0.01
  )
  assert (result["loader"], result["threads"]) == ("evaluation", 2)
  assert result["images_per_s"] > 0 and result["bad_photos"] == 0
  assert "limit: " in bench_loader.table(result)


def test_photos_without_a_class_are_an_error_and_no_endless_loop(sample_photos):
  folder = sample_photos / "n04587559"
  with pytest.raises(ValueError, match="nothing says their classes"):
    bench_loader.bench_loader(folder, batch_size=4, image_size=32, seconds=0.01)


def test_no_photos_are_an_error(tmp_path):
  with pytest.raises((OSError, ValueError), match="nowhere"):
    bench_loader.bench_loader(tmp_path / "nowhere")


@pytest.mark.parametrize("option", ["seconds", "gpu_images_per_s"])
def test_an_option_out_of_range_is_named(packed, option):
  with pytest.raises(ValueError, match=f"{option} is 0, but must be more than 0"):
    bench_loader.bench_loader(packed, **{option: 0})
