"""Names for photos: the right ones, in order, from any kind of image file."""

import json
import os
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from im21k import cli, synsets
from im21k.inference.predict import predict, text
from im21k.packing.pack import pack
from im21k.pages import figures
from im21k.photos import images

FULL = synsets.imagenet21k()


def draw(path, h=48, w=64, mode="RGB", **how):
  """Writes a picture with four coloured quarters, without loss but for JPEG."""
  colours = np.array([[[200, 30, 30], [20, 180, 40]], [[30, 40, 220], [240, 220, 20]]])
  pixels = colours.repeat(h // 2, 0).repeat(w // 2, 1).astype(np.uint8)
  image = Image.fromarray(pixels).convert(mode, palette=Image.Palette.ADAPTIVE)
  image.save(path, **how)
  return path


def tops(result):
  return [
    [(top["synset"], round(top["probability"], 5)) for top in prediction["top"]]
    for prediction in result["predictions"]
  ]


# The answers.


def test_answers_are_the_most_likely_classes_in_order(released, saved, some, by_hand):
  result = predict(saved, *some, top_k=7)
  assert [p["image"] for p in result["predictions"]] == [str(path) for path in some]
  assert result["plot"] is None
  graph = synsets.load()
  for path, prediction in zip(some, result["predictions"], strict=True):
    expected = by_hand(released, images.read(path))
    order = np.argsort(-expected)[:7]
    found = prediction["top"]
    assert [top["synset"] for top in found] == [FULL.synsets[i] for i in order]
    assert [top["name"] for top in found] == [graph.name(t["synset"]) for t in found]
    probabilities = [top["probability"] for top in found]
    np.testing.assert_allclose(probabilities, expected[order], rtol=1e-4)
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) <= 1
  assert len({tuple(top) for top in tops(result)}) > 15


def test_probabilities_sum_to_one_over_all_classes(saved, some):
  (prediction,) = predict(saved, some[0], top_k=len(FULL))["predictions"]
  assert len(prediction["top"]) == len(FULL)
  total = sum(top["probability"] for top in prediction["top"])
  assert total == pytest.approx(1, abs=1e-5)


def test_more_classes_than_there_are_is_refused(saved, some):
  with pytest.raises(
    ValueError, match="top_k is 99999, but the weights have 21,841 cl"
  ):
    predict(saved, some[0], top_k=99999)


# Kinds of files.


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "mode"),
  [
    ("a.PNG", "RGB"),
    ("a.png", "P"),
    ("opaque.png", "RGBA"),
    ("a.gif", "P"),
    ("a.bmp", "RGB"),
    ("a.tiff", "RGB"),
    ("a.webp", "RGB"),
  ],
)
def test_kind_of_file_does_not_matter(saved, tmp_path, name, mode):
  how = {"lossless": True} if name.endswith("webp") else {}
  plain = draw(tmp_path / "plain.png")
  other = draw(tmp_path / name, mode=mode, **how)
  first, second = tops(predict(saved, plain, other))
  assert first == second


@pytest.mark.parametrize(("name", "mode"), [("grey.png", "L"), ("cmyk.jpg", "CMYK")])
def test_other_colour_spaces_are_converted(saved, tmp_path, name, mode):
  path = draw(tmp_path / name, mode=mode)
  as_rgb = tmp_path / "rgb.png"
  with Image.open(path) as image:
    image.convert("RGB").save(as_rgb)
  first, second = tops(predict(saved, path, as_rgb))
  assert first == second


def test_photo_that_was_taken_sideways_is_turned_upright(saved, tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6  # To be turned by 90° clockwise.
  lying = draw(tmp_path / "lying.png", h=48, w=64)
  turned = draw(tmp_path / "turned.png", h=48, w=64, exif=exif)
  upright = tmp_path / "upright.png"
  with Image.open(lying) as image:
    image.transpose(Image.Transpose.ROTATE_270).save(upright)
  first, second, third = tops(predict(saved, lying, turned, upright))
  assert second == third
  assert first != second


# Kinds of places.


@pytest.fixture(scope="module")
def folder(tmp_path_factory, some):
  """Two classes with two photos each, in class folders."""
  folder = tmp_path_factory.mktemp("places") / "classes"
  for at, path in enumerate(some[:4]):
    place = folder / ("n01443537", "n02121620")[at // 2] / path.name
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, place)
  return folder


def as_classes(folder, _):
  return folder


def as_photos(folder, path):
  for photo in folder.rglob("*.jpg"):
    path.mkdir(exist_ok=True)
    shutil.copy(photo, path)
  return path


def as_tar(folder, path):
  with tarfile.open(path := path.with_suffix(".tar"), "w") as file:
    file.add(folder, ".")
  return path


def as_list(folder, path):
  path = path.with_suffix(".tsv")
  photos = [photo.relative_to(folder) for photo in sorted(folder.rglob("*.jpg"))]
  lines = "".join(f"{photo}\t{photo.parts[0]}\n" for photo in photos)
  (folder / path.name).write_text(lines)
  return folder / path.name


def as_packed(folder, path):
  pack(folder, path, eval_per_class=1, shards=2, workers=1)
  return path


@pytest.mark.slow
@pytest.mark.parametrize("make", [as_classes, as_photos, as_tar, as_list, as_packed])
def test_photos_may_be_in_any_place(saved, folder, tmp_path, some, make):
  folder = shutil.copytree(folder, tmp_path / "copy")
  place = make(folder, tmp_path / "place")
  result = predict(saved, place)
  assert result["bad"] == []
  found = result["predictions"]
  assert all(one["image"].startswith(f"{place}/") for one in found)
  expected = predict(saved, *some[:4])
  by_name = {Path(one["image"]).name: one["top"] for one in expected["predictions"]}
  assert len(found) == 4
  assert {Path(one["image"]).name: one["top"] for one in found} == by_name


def test_places_and_files_may_be_mixed(saved, folder, some):
  found = predict(saved, some[5], folder, some[6])["predictions"]
  assert len(found) == 6
  assert (found[0]["image"], found[-1]["image"]) == (str(some[5]), str(some[6]))


def test_damaged_photos_of_a_place_are_listed(saved, folder, tmp_path):
  folder = shutil.copytree(folder, tmp_path / "copy")
  (folder / "n01443537" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
  result = predict(saved, folder)
  assert len(result["predictions"]) == 4
  (bad,) = result["bad"]
  assert bad["photo"].endswith("/n01443537/broken.jpg") and bad["reason"]
  assert f"1 photo cannot be decoded: {bad['photo']} (" in text(result)
  assert result["failed"].startswith(f"1 of 5 photos have no answer; {bad['photo']}: ")
  for photo in folder.rglob("*.jpg"):
    photo.write_bytes(b"\xff\xd8\xff no photo")
  with pytest.raises(ValueError, match=r"^none of 5 photos can be decoded; .*/copy/n"):
    predict(saved, folder)


def test_a_place_with_more_photos_than_a_page_holds_is_refused(saved, sample_photos):
  with pytest.raises(
    ValueError, match="a report has room for 50 photos, but there are"
  ):
    predict(saved, sample_photos, report=sample_photos / "page.html")
  assert not (sample_photos / "page.html").exists()


def test_a_place_that_is_none_is_named(saved, tmp_path):
  (tmp_path / "notes").write_text("text")
  with pytest.raises((OSError, ValueError), match="notes"):
    predict(saved, tmp_path / "notes")


# What cannot be named.


def test_a_bad_photo_among_good_ones_is_a_row_and_a_failure(saved, tmp_path, some):
  (text_file := tmp_path / "holiday.jpg").write_text("not a photo")
  (half := tmp_path / "half.jpg").write_bytes(some[0].read_bytes()[:3000])
  (notes := tmp_path / "notes").write_text("text")
  missing, long = tmp_path / "nowhere.jpg", tmp_path / ("x" * 300)
  given = [some[0], text_file, half, some[1], missing, notes, long, some[2]]
  result = predict(saved, *given)
  assert [p["image"] for p in result["predictions"]] == list(map(str, some[:3]))
  bad = {row["photo"]: row["reason"] for row in result["bad"]}
  assert bad.pop(str(text_file)).startswith("not an image of a common format")
  assert bad.pop(str(half)).startswith("Premature end of JPEG file")
  assert "does not exist" in bad.pop(str(missing))
  assert "none of what photos can be" in bad.pop(str(notes))
  assert bad.pop(str(long)) == "file name too long" and not bad
  assert result["failed"].startswith(
    f"5 of 8 photos have no answer; {text_file}: not an image of a common format"
  )
  alone = predict(saved, some[0])["predictions"]
  assert tops(result)[0] == tops({"predictions": alone})[0]


def test_a_bad_photo_alone_is_an_error_that_names_it(saved, tmp_path, some):
  (half := tmp_path / "half.jpg").write_bytes(some[0].read_bytes()[:3000])
  with pytest.raises(ValueError, match=r"^/.*/half\.jpg: Premature end of JPEG file"):
    predict(saved, half)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"accuracy": 0.9}, "accuracy is for hedged answers only"),
    ({"accuracy": 0.9, "answer": "diverse"}, "accuracy is for hedged answers only"),
    ({"accuracy": float("nan"), "answer": "hedged"}, "accuracy is nan, but must be"),
    ({"accuracy": 1.5, "answer": "hedged"}, "accuracy is 1.5, but must be above 0"),
    ({"top_k": 3, "answer": "hedged"}, "top_k has no effect on hedged answers"),
    ({"plot": "."}, "plot is ., which is a folder"),
    ({"plot": "a", "report": "./a"}, "report and plot are the same file"),
  ],
)
def test_what_does_not_apply_is_refused(saved, some, tmp_path, options, message):
  where = {k: Path(v) for k, v in options.items() if k in ("plot", "report")}
  with pytest.raises(ValueError, match=message):
    predict(saved, some[0], **{**options, **where})


def test_no_photo_is_overwritten(saved, some, tmp_path):
  photo = Path(shutil.copy(some[0], tmp_path / "a.jpg"))
  before = photo.read_bytes()
  for places in ([photo], [tmp_path]):
    with pytest.raises(ValueError, match=r"plot is .*a.jpg, which would overwrite"):
      predict(saved, *places, plot=photo)
  with pytest.raises(
    ValueError, match=r"report is .*model.json, which would overwrite"
  ):
    predict(saved, photo, report=saved / "model.json")
  assert photo.read_bytes() == before


def test_missing_weights_are_named(tmp_path, some):
  with pytest.raises(FileNotFoundError, match="nowhere holds no weights"):
    predict(tmp_path / "nowhere", some[0])


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_must_be_positive(saved, some, top_k):
  with pytest.raises(ValueError, match=f"top_k is {top_k}, but must be at least 1"):
    predict(saved, some[0], top_k=top_k)


def test_no_image_is_an_error(saved):
  with pytest.raises(ValueError, match="no photo is named"):
    predict(saved)


def test_plot_of_too_many_photos_is_refused_before_any_work(tmp_path, some):
  many = [some[0]] * (figures.MOST_PHOTOS + 1)
  with pytest.raises(ValueError, match="room for 50 photos, but there are 51"):
    predict(tmp_path / "nowhere", *many, plot=tmp_path / "plot.png")


# For people.


def test_plot_shows_each_photo(saved, tmp_path, some):
  path = tmp_path / "plots" / "plot.png"
  result = predict(saved, *some[:3], plot=path)
  assert result["plot"] == str(path)
  with Image.open(path) as image:
    assert (image.format, image.size) == ("PNG", (990, 792))


def test_text_has_a_line_for_each_class():
  top = [
    {
      "synset": "n01443537",
      "name": "goldfish, Carassius auratus",
      "probability": 0.98765,
    },
    {"synset": "n01440764", "name": "tench, Tinca tinca", "probability": 0.01},
  ]
  result = {"predictions": [{"image": "a.jpg", "top": top}], "bad": [], "plot": None}
  assert text(result) == (
    "a.jpg\n"
    "   98.77%  n01443537  goldfish, Carassius auratus\n"
    "    1.00%  n01440764  tench, Tinca tinca"
  )
  assert re.search(r"\npicture: b\.png$", text({**result, "plot": "b.png"}))


def test_text_of_many_photos_has_a_line_for_each():
  top = [
    {"synset": "n01443537", "name": "goldfish, Carassius", "probability": 0.98765},
    {"synset": "n01440764", "name": "tench, Tinca tinca", "probability": 0.01},
  ]
  many = [{"image": f"{at}.jpg", "top": top, "none": 0.25} for at in range(21)]
  result = {"predictions": many, "bad": [], "plot": None}
  lines = text(result).splitlines()
  assert lines[20] == "20.jpg: 98.8% goldfish, 1.0% tench, 25.0% none of them"
  assert len(lines) == 21
  result["predictions"] = many[:20]
  assert len(text(result).splitlines()) == 20 * 4


# Rows of JSON, one by one.


def test_rows_come_in_order_with_bad_ones_in_their_place(saved, tmp_path, some):
  (bad := tmp_path / "holiday.jpg").write_text("not a photo")
  given = [some[0], bad, some[1], some[0]]
  result = predict(saved, *given, json_lines=True)
  assert set(result) == {"lines"}
  rows = list(result["lines"])
  assert [row["image"] for row in rows] == list(map(str, given))
  assert rows[1]["reason"].startswith("not an image") and set(rows[1]) == {
    "image", "reason"
  }  # fmt: skip
  whole = predict(saved, *given)
  assert [row for row in rows if "top" in row] == whole["predictions"]
  assert result["failed"] == whole["failed"]
  assert result["failed"].startswith(f"1 of 4 photos have no answer; {bad}: not an im")


def test_no_answer_at_all_is_a_row_and_a_failure(saved, tmp_path):
  result = predict(saved, tmp_path / "none*", json_lines=True)
  assert list(result["lines"]) == [
    {"image": f"{tmp_path}/none*", "reason": "nothing matches this pattern"}
  ]
  assert result["failed"].startswith("1 of 1 photos have no answer; ")
  with pytest.raises(ValueError, match=r"none\*: nothing matches this pattern$"):
    predict(saved, tmp_path / "none*")


def test_paths_on_standard_input_are_answered(saved, tmp_path, some, monkeypatch):
  (tmp_path / "list").write_text(f"{some[0]}\n{tmp_path}/gone.jpg\n{some[1]}\n")
  with open(tmp_path / "list") as stream:
    monkeypatch.setattr("sys.stdin", stream)
    rows = list(predict(saved, Path("-"), json_lines=True)["lines"])
  assert [row["image"] for row in rows] == [
    str(some[0]), f"{tmp_path}/gone.jpg", str(some[1])
  ]  # fmt: skip
  assert "does not exist" in rows[1]["reason"] and rows[2]["top"]
  with open(os.devnull) as stream:
    monkeypatch.setattr("sys.stdin", stream)
    for lines in (True, False):
      with pytest.raises(ValueError, match=r"^standard input names no photos$"):
        list(predict(saved, Path("-"), json_lines=lines).get("lines", ()))


def test_a_photo_that_a_pattern_finds_is_not_overwritten(saved, some, tmp_path):
  shutil.copy(some[0], tmp_path / "a.png")
  with pytest.raises(ValueError, match="would overwrite"):
    predict(saved, tmp_path / "*.png", plot=tmp_path / "a.png")


def test_the_command_prints_each_row_as_it_is_known(saved, some, tmp_path, capsys):
  line = ["predict", str(saved), str(some[0]), str(tmp_path / "gone.jpg")]
  assert cli.main([*line, "--json-lines"]) == 1
  out, err = capsys.readouterr()
  rows = [json.loads(row) for row in out.splitlines()]
  assert [set(row) for row in rows] == [{"image", "top"}, {"image", "reason"}]
  assert err.startswith("im21k predict: 1 of 2 photos have no answer; ")
  assert cli.main([*line[:3], "--json-lines"]) == 0
