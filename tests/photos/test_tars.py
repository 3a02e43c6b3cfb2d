"""Tars of every make give all their photos, and say what is lost."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from im21k import photos
from im21k.loading.scoring import ScoreLoader
from im21k.photos import gzips, photo_file, tar_headers
from im21k.synsets import ClassList

TENCH, FISH = "n01440764", "n01443537"
CASES = Path(__file__).parent / "cases"


def tar(names, format=tarfile.GNU_FORMAT):
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode="w", format=format) as archive:
    for name in names:
      info = tarfile.TarInfo(name)
      info.size = len(name)
      archive.addfile(info, io.BytesIO(name.encode()))
  return file.getvalue()


def keys(path):
  return [photo.key for photo in photos.open(path)]


def header(name, size=0, kind=tarfile.REGTYPE, **changes):
  """A header with some bytes changed, and its checksum made right again."""
  info = tarfile.TarInfo(name)
  info.size, info.type = size, kind
  block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
  for at, data in changes.items():
    start = int(at.removeprefix("at"))
    block[start : start + len(data)] = data
  block[148:156] = b" " * 8
  block[148:156] = b"%06o\0 " % sum(block)
  return bytes(block)


def put(tmp_path, data, name="x.tar"):
  (tmp_path / name).write_bytes(data)
  return tmp_path / name


def split(path):
  """Keys of the good photos; the bytes that are lost."""
  found = list(photos.open(path))
  lost = sum(photo.loss.size for photo in found if photo.loss)
  return [photo.key for photo in found if not photo.problem], lost


NAMES = [f"{TENCH}/{i}.jpg" for i in range(5)]
MORE = [f"{TENCH}/{i}.jpg" for i in range(5, 9)]


@pytest.mark.parametrize("zipped", [False, True])
def test_two_tars_one_behind_the_other(tmp_path, zipped):
  data = tar(NAMES) + tar(MORE)
  path = tmp_path / ("cat.tar.gz" if zipped else "cat.tar")
  path.write_bytes(gzip.compress(data) if zipped else data)
  assert keys(path) == NAMES + MORE
  assert [photo.data for photo in photos.open(path)] == [
    name.encode() for name in NAMES + MORE
  ]


@pytest.mark.parametrize("zipped", [False, True])
def test_what_follows_a_tar_and_is_none_is_reported(tmp_path, zipped):
  data = tar(NAMES) + b"something else" * 100
  path = tmp_path / ("x.tar.gz" if zipped else "x.tar")
  path.write_bytes(gzip.compress(data) if zipped else data)
  *good, bad = photos.open(path)
  assert [photo.key for photo in good] == NAMES
  assert bad.problem and bad.problem[0] == "damaged archive"
  assert bad.loss == ("x.tar.gz" if zipped else "x.tar", 1400)


@pytest.mark.parametrize("padding", [0, 100, 512, 5000])
@pytest.mark.parametrize("zipped", [False, True])
def test_zeros_behind_a_tar_mean_nothing(tmp_path, zipped, padding):
  data = tar(NAMES).rstrip(b"\0")
  data += bytes(-len(data) % 512 + 1024 + padding)
  path = tmp_path / ("x.tar.gz" if zipped else "x.tar")
  path.write_bytes(gzip.compress(data) if zipped else data)
  assert keys(path) == NAMES


@pytest.mark.parametrize(
  ("end", "is_whole"),
  [
    (b"\xff\xd9", True),
    (b"IEND\xaeB`\x82", True),
    (b"\xff\xd9" + bytes(511 - 2), True),
    (b"\xff\xd9" + bytes(512), False),  # as where a block of the photo is lost
    (b"\xff", False),
  ],
)
@pytest.mark.parametrize("size", [3000, (2 << 20) + 512])  # read, or passed over
def test_zeros_behind_the_image_of_the_last_photo(tmp_path, end, is_whole, size):
  """In a tar of blocking factor 3, of which the zeros at the end say nothing."""
  data = b"x" * (size - len(end) - 1) + end + b"\0"
  info = tarfile.TarInfo(NAMES[0])
  info.size = len(data)
  file = info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)
  path = put(tmp_path, file + bytes(3 * 512))
  assert split(path) == ((NAMES[:1], 0) if is_whole else ([], len(file) + 3 * 512))


def test_a_sparse_member_takes_no_photo_with_it(tmp_path):
  """Old GNU format: four pieces in the header, 21 more in a block behind it."""
  info = tarfile.TarInfo("disk.img")
  info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
  header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
  header[482] = 1
  header[148:156] = b" " * 8
  header[148:156] = b"%06o\0 " % sum(header)
  path = tmp_path / "sparse.tar"
  path.write_bytes(bytes(header) + bytes(512) + b"x" * 512 + tar(NAMES))
  sparse, *rest = photos.open(path)
  assert sparse.problem and sparse.problem[0] == "link or device"
  assert [photo.key for photo in rest] == NAMES


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names(tmp_path, format):
  name = f"{TENCH}/{'deep/' * 60}a.jpg"
  path = tmp_path / "long.tar"
  path.write_bytes(tar([name], format))
  assert keys(path) == [name]


def test_damage_behind_inner_tars_is_reported_and_they_are_read(tmp_path):
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode="w") as outer:
    for synset in (TENCH, "n01443537"):
      data = tar([f"{synset}_1.jpg"])
      info = tarfile.TarInfo(f"{synset}.tar")
      info.size = len(data)
      outer.addfile(info, io.BytesIO(data))
  path = tmp_path / "whole.tar"
  path.write_bytes(file.getvalue() + b"something else" * 100)
  *good, bad = photos.open(path)
  assert [photo.synset for photo in good] == [TENCH, "n01443537"]
  assert bad.problem and bad.problem[0] == "damaged archive"


@pytest.mark.parametrize(
  ("name", "count"), [("cat", 20), ("D", 10), ("M", 4), ("trainval", 6), ("sparse1", 5)]
)
def test_archives_that_were_misread_give_all_with_the_class_of_the_folder(name, count):
  found = [photo for photo in photos.open(CASES / f"{name}.tar") if not photo.problem]
  assert len({photo.key for photo in found}) == count
  assert all(photo.key.startswith(f"{photo.synset}/") for photo in found)


def test_validation_photos_with_the_synset_in_their_names():
  found = list(photos.open(CASES / "val_images.tar.gz"))
  assert [photo.synset for photo in found] == [TENCH] * 5
  assert found[0].key == f"ILSVRC2012_val_00000005_{TENCH}.JPEG"


def test_zeros_where_a_header_should_be_cost_its_photo(tmp_path):
  data = bytearray(tar(NAMES))
  data[1024:1536] = bytes(512)
  found, lost = split(put(tmp_path, data))
  assert (found, lost) == ([NAMES[0], *NAMES[2:]], 1024)


def test_an_unfinished_download_ends_in_more_zeros_than_a_tar_does(tmp_path):
  data = tar(NAMES).rstrip(b"\0")
  data += bytes(-len(data) % 512)
  assert split(put(tmp_path, data + bytes(1 << 20))) == (NAMES, 0)
  assert split(put(tmp_path, data + bytes((1 << 20) + 512))) == (NAMES, (1 << 20) + 512)


def test_bytes_that_were_removed_from_a_photo_cost_it(tmp_path):
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode="w") as archive:
    for name in NAMES:
      info = tarfile.TarInfo(name)
      info.size = 3000
      archive.addfile(info, io.BytesIO(b"x" * 3000))
  data = file.getvalue()
  found = list(photos.open(put(tmp_path, data[:1000] + data[2000:])))
  assert found[0].key == NAMES[0] and found[0].problem[0] == "damaged archive"
  lost = 2 * 3584 - 1000
  reason = f"bytes 0 to {lost} cannot be read: what should be a header is none"
  assert found[1].problem == ("damaged archive", reason)
  assert [photo.key for photo in found[2:]] == NAMES[2:]


def test_a_photo_with_another_ones_header_in_it_is_lost(tmp_path):
  """A block of the first was removed, and a block's remainder hides the rest."""
  name = f"{TENCH}/long.jpg"
  info = tarfile.TarInfo(name)
  info.size = 2048
  first = info.tobuf(tarfile.GNU_FORMAT) + b"x" * 1024  # and 1,024 more
  found = list(photos.open(put(tmp_path, first + tar(NAMES))))
  assert found[0].key == name and found[0].problem[0] == "damaged archive"
  assert [photo.key for photo in found if not photo.problem] == NAMES[1:]


def test_behind_damage_in_a_tar_of_tars_only_what_is_certain_is_read(tmp_path):
  inner = tar([f"{FISH}/a.jpg", "b.jpg"])
  path = inside(tmp_path, {f"{TENCH}.tar": inner, f"{FISH}.tar": inner})
  data = bytearray(path.read_bytes())
  data[512 + len(inner) : 1024 + len(inner)] = bytes(512)  # the second header
  found = list(photos.open(put(tmp_path, data)))
  good = [photo.key for photo in found if not photo.problem]
  assert good == [f"{TENCH}/{FISH}/a.jpg", f"{TENCH}/b.jpg"]
  uncertain = [
    p for p in found if p.problem and "nothing says of which" in p.problem[1]
  ]
  assert len(uncertain) == 2 and uncertain[0].loss == ("x.tar", 1024)


def test_a_tar_without_an_end_may_be_cut_off(tmp_path):
  (*good, bad) = photos.open(put(tmp_path, tar(NAMES)[:2048]))
  assert [photo.key for photo in good] == NAMES[:2]
  assert bad.problem == ("damaged archive", "it has no end mark, so it may be cut off")
  (bad,) = photos.open(put(tmp_path, b""))
  assert bad.problem == ("damaged archive", "it has no bytes")


@pytest.mark.parametrize(
  ("strange", "reason"),
  [
    (header("a.jpg", at124=b"77777777777\0"), "8,589,934,591 bytes, but ends after"),
    (header("a.jpg", at124=b"\x80" + b"\xff" * 11), "bytes, but ends after"),
    (header("a.jpg", at124=b"\xff" * 12), "what should be a header is none"),
    (header("a.jpg", at124=b"99999999999\0"), "what should be a header is none"),
    (header("x", 2 << 30, tarfile.GNUTYPE_LONGNAME), "an extended header of 2,147,483"),
    (header("x", 100, tarfile.XHDTYPE) + b"13 size=abcd\n".ljust(512, b"\0")[:512],
     "an extended header that is none"),
    (header("x", 13, tarfile.XHDTYPE) + b"13 size=abcd\n".ljust(512, b"\0"),
     "an extended header with the size 'abcd'"),
    (header("x", 9, tarfile.XHDTYPE) + b"9999 a=b\n".ljust(512, b"\0"),
     "an extended header that is none"),
  ],
)  # fmt: skip
def test_numbers_of_a_header_are_not_believed(tmp_path, strange, reason):
  """What follows is read, but for the member whose extended header is none."""
  found = list(photos.open(put(tmp_path, strange + tar(NAMES))))
  bad = [photo.problem[1] for photo in found if photo.problem]
  assert len(bad) == 1 and reason in bad[0]
  good = [photo.key for photo in found if not photo.problem]
  assert good == (NAMES[1:] if "extended header" in reason and len(strange) > 512
                  else NAMES)  # fmt: skip


def test_names_that_are_too_long_or_lead_outside(tmp_path):
  long = f"{TENCH}/" + "é" * 40_000
  found = list(photos.open(put(tmp_path, tar([long, f"/{TENCH}/a", "../b", NAMES[0]]))))
  assert [photo.problem and photo.problem[0] for photo in found] == [
    "refused path", "refused path", "refused path", None,
  ]  # fmt: skip
  assert len(found[0].key) < 300


@pytest.mark.parametrize("fields", [
  {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9999",
   "GNU.sparse.name": f"{TENCH}/sparse.jpg"},
  {"GNU.sparse.map": "0,5", "GNU.sparse.size": "9999",
   "GNU.sparse.name": f"{TENCH}/sparse.jpg"},
  {"GNU.sparse.size": "9999", "GNU.sparse.numblocks": "1"},
])  # fmt: skip
def test_sparse_members_of_pax_are_rows_under_their_names(tmp_path, fields):
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
    info = tarfile.TarInfo(f"{TENCH}/sparse.jpg")
    info.pax_headers, info.size = fields, 5
    archive.addfile(info, io.BytesIO(b"12345"))
  data = file.getvalue()[: file.tell() - file.tell() % 512].rstrip(b"\0")
  data += bytes(-len(data) % 512) + tar(NAMES)
  sparse, *rest = photos.open(put(tmp_path, data))
  assert sparse.key == f"{TENCH}/sparse.jpg" and "sparse" in sparse.problem[1]
  assert [photo.key for photo in rest] == NAMES


def test_a_member_of_more_bytes_than_a_photo_may_have(tmp_path, monkeypatch):
  monkeypatch.setattr(photo_file, "LARGEST", 19)
  found = list(photos.open(put(tmp_path, tar([f"{TENCH}/a-larger-one.jpg", NAMES[0]]))))
  assert [p.problem and p.problem[0] for p in found] == ["too large", None]


@pytest.mark.parametrize("name", ["x.TAR", f"{TENCH}.Tar"])
def test_suffixes_in_capitals(tmp_path, name):
  assert keys(put(tmp_path, tar(NAMES), name)) == NAMES


def inside(tmp_path, members):
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode="w") as archive:
    for name, data in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))
  return put(tmp_path, file.getvalue())


def test_tars_within_tars(tmp_path):
  """A class's tar is one where no folder says the class; gzipped it is not read."""
  inner = tar(["a.jpg"])
  path = inside(tmp_path, {
    f"sub/{TENCH}.TAR": inner, f"{FISH}/{TENCH}.tar": inner, "other.tar": inner,
    f"{FISH}.tar.gz": (zipped := gzip.compress(inner)),
  })  # fmt: skip
  first, file, other, gzipped = photos.open(path)
  assert (first.key, first.data) == (f"{TENCH}/a.jpg", b"a.jpg")
  assert (file.key, file.data) == (f"{FISH}/{TENCH}.tar", inner)
  assert (other.key, other.synset) == ("other.tar", "")
  assert "is gzipped within a tar" in gzipped.problem[1]
  assert gzipped.loss == ("x.tar", len(zipped))


def test_a_folder_of_tars_and_what_is_beside_them(tmp_path):
  put(tmp_path, gzip.compress(tar(["a.jpg"])), f"{TENCH}.tgz")
  put(tmp_path, tar(["b.jpg"]), f"{FISH}.tar")
  put(tmp_path, b"photo", "c.jpg")
  put(tmp_path, b"text", "notes.txt")
  (tmp_path / "n02084071").mkdir()
  put(tmp_path / "n02084071", b"photo", "d.jpg")
  found = {photo.key: photo.synset for photo in photos.open(tmp_path)}
  assert found == {
    "n02084071/d.jpg": "n02084071", f"{TENCH}/a.jpg": TENCH, f"{FISH}/b.jpg": FISH,
    "c.jpg": "",
  }  # fmt: skip


@pytest.mark.parametrize("zipped", [False, True])
def test_links_are_the_photos_that_they_lead_to(tmp_path, zipped):
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode="w") as archive:
    for name, kind, target in [
      ("soft.jpg", tarfile.SYMTYPE, "a/0.jpg"),
      ("chain.jpg", tarfile.SYMTYPE, "soft.jpg"),
      ("a/0.jpg", tarfile.REGTYPE, ""),
      ("hard.jpg", tarfile.LNKTYPE, f"{TENCH}/a/0.jpg"),
      ("loop.jpg", tarfile.SYMTYPE, "loop.jpg"),
      ("out.jpg", tarfile.SYMTYPE, "/etc/passwd"),
    ]:
      info = tarfile.TarInfo(f"{TENCH}/{name}")
      info.type, info.linkname, info.size = kind, target, 5 * (not target)
      archive.addfile(info, io.BytesIO(b"photo"))
  data = gzip.compress(file.getvalue()) if zipped else file.getvalue()
  source = photos.open(put(tmp_path, data))
  for some in [source] if zipped else [source, source.shuffled()]:
    found = {p.key.partition("/")[2]: p.problem or p.data for p in some}
    assert {name for name, what in found.items() if what == b"photo"} == {
      "a/0.jpg", "soft.jpg", "chain.jpg", "hard.jpg",
    }  # fmt: skip
    assert found["loop.jpg"][0] == found["out.jpg"][0] == "link or device"


def deflated(tmp_path, at, value=None):
  """Ten photos in two gzip members; one byte of the file changed."""
  first, second = tar(NAMES), tar(MORE)
  pieces = [gzip.compress(data, 0) for data in (first, second)]
  data = bytearray(b"".join(pieces))
  data[at] = data[at] ^ 1 if value is None else value
  return put(tmp_path, data, "x.tar.gz"), len(pieces[0]), len(data)


def test_the_checksum_of_a_gzipped_tar_is_compared(tmp_path):
  path, first, _ = deflated(tmp_path, 600)  # in the data of a photo
  found = list(photos.open(path))
  assert len([photo for photo in found if not photo.problem]) == 9
  (bad,) = (photo for photo in found if photo.problem)
  assert "incorrect data check: photos of it may be damaged" in bad.problem[1]
  assert bad.loss == ("x.tar.gz", first)


def test_broken_deflate_data_is_told_with_its_offset_and_reading_resumes(tmp_path):
  path, first, _ = deflated(tmp_path, 10, 7)  # a type of block that there is not
  found = list(photos.open(path))
  assert [photo.key for photo in found if not photo.problem] == MORE
  assert [photo.loss for photo in found if photo.loss and photo.loss.size] == [
    ("x.tar.gz", first - 10)
  ]


@pytest.mark.parametrize("cut", [1, 8, 9, 100])
def test_a_gzipped_tar_that_is_cut_off(tmp_path, cut):
  data = gzip.compress(tar(NAMES))[:-cut]
  found = list(photos.open(put(tmp_path, data, "x.tar.gz")))
  assert any("it ends early" in p.problem[1] for p in found if p.problem)


def test_what_follows_gzipped_data(tmp_path):
  data = gzip.compress(tar(NAMES))
  assert split(put(tmp_path, data + bytes(999), "x.tgz")) == (NAMES, 0)
  assert split(put(tmp_path, data + b"garbage", "x.tgz")) == (NAMES, 7)


def test_content_of_a_gzipped_file_is_that_of_gzip(tmp_path, rng):
  pieces = [
    rng.integers(0, 4, size).astype("u1").tobytes() for size in (0, 3, 3_000_000)
  ]
  path = put(tmp_path, b"".join(map(gzip.compress, pieces)), "x.gz")
  with gzips.Gzip(path) as zipped:
    read = [zipped.read(count) for count in (1, 5, 700_000, 10_000_000, 1)]
  assert b"".join(read) == b"".join(pieces) and len(read[2]) == 700_000
  assert not zipped.damages


def test_a_bomb_takes_no_more_memory_than_what_is_asked_for(tmp_path):
  path = put(tmp_path, gzip.compress(bytes(64 << 20)), "x.gz")
  with gzips.Gzip(path) as zipped:
    assert zipped.read(10) == bytes(10)
    assert len(zipped._out) <= 1 << 20


def test_evaluation_lists_what_is_lost_in_the_same_words(tmp_path, jpeg):
  path = put(tmp_path, tar(NAMES)[:2048])
  loader = ScoreLoader(
    photos.open(path).shuffled(), ClassList("one", (TENCH,)), batch_size=4, devices=1,
    image_size=32, short_side=36, threads=1,
  )  # fmt: skip
  errors = {item.key: item.error for _, items in loader for item in items}
  assert errors["x.tar at byte 2048"] == "it has no end mark, so it may be cut off"


def test_headers_in_data_are_found_but_not_in_a_tar():
  block = header("a")
  assert tar_headers.are_inside(b"x" * 512 + block)
  assert not tar_headers.are_inside(b"x" * 513 + block)
  assert not tar_headers.are_inside(tar(NAMES))
  assert not tar_headers.are_inside(b"u" * 5000)


def link(name):
  return header(name, kind=tarfile.SYMTYPE, at157=b"nowhere")


def test_a_photo_that_ends_in_the_header_of_a_link_is_damaged(tmp_path):
  """A block was removed, half of it from the photo: no checksum of a header holds."""
  photo = header(NAMES[0], 500) + b"x" * 500 + bytes(12) + link(f"{TENCH}/link")
  sound = photo + tar(NAMES[1:])
  path = put(tmp_path, sound[: 512 + 120] + sound[1024 + 120 :])
  good, lost = split(path)
  assert good == NAMES[1:] and lost == 1024


@pytest.mark.parametrize("kind", [b"x", b"L", b"K"])
def test_two_extended_headers_of_one_kind_are_of_two_members(tmp_path, kind):
  text = b"20 path=n01440764/9\n" if kind == b"x" else b"n01440764/9\0"
  one = header("extended", len(text), kind) + text.ljust(512, b"\0")
  path = put(tmp_path, one + one + tar(NAMES))
  first = NAMES[0] if kind == b"K" else f"{TENCH}/9"
  assert split(path) == ([first, *NAMES[1:]], 1024)


@pytest.mark.parametrize("name", [f"{TENCH}/" + "w" * 90, f"{TENCH}/?.jpg"])
@pytest.mark.parametrize("end", [b"\0", b"\xff\xd9\0"])
def test_behind_an_unclear_end_a_name_may_be_a_part(tmp_path, name, end):
  """The rest of a lost pax header ends in zeros, and so ends the photo before it."""
  data = b"x" * (512 - len(end)) + end
  path = put(tmp_path, header(NAMES[0], 512) + data + tar([name, *NAMES[1:]]))
  good, lost = split(path)
  if end == b"\0":
    assert good == NAMES[1:] and lost == 1024 + 512 + 512
  else:  # The image ends before.
    assert good == [NAMES[0], name, *NAMES[1:]] and not lost


@pytest.mark.parametrize("is_tar", [False, True])
def test_the_size_in_a_damaged_header_passes_over_no_sound_one(tmp_path, is_tar):
  """It says that the next photo belongs to it, too; of a tar, those in it do."""
  content = tar(["inside.jpg"])[:1024] if is_tar else b"x" * 1024
  size = 1024 if is_tar else 2048
  damaged = header(NAMES[0], size).replace(b"0000644", b"0000645")
  path = put(tmp_path, damaged + content + tar(NAMES[1:]))
  assert split(path) == (NAMES[1:], 512 + 1024)


@pytest.mark.parametrize("damage", [range(0, 264), range(130, 512)])
@pytest.mark.parametrize("classes", [1, 2])
def test_a_folder_in_the_first_class_is_none_if_the_header_before_is_lost(
  tmp_path, damage, classes
):
  """The name of the first tar, or that others follow, says that it was in one."""
  inner = tar([f"{FISH}/0.jpg"])
  file = b"".join(
    header(f"n0{number}440764.tar", len(inner)) + inner for number in (1, 2)[:classes]
  )
  data = bytearray(file + bytes(1024))
  for at in damage:
    data[at] = 0
  path = put(tmp_path, bytes(data))
  good, lost = split(path)
  if classes == 1 and damage[0] == 0:
    assert good == [f"{FISH}/0.jpg"], "nothing is left that says more"
  else:
    assert good == [f"n02440764/{FISH}/0.jpg"][: classes - 1]
  assert lost
