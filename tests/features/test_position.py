"""The rest of a source, wherever it was left."""

import pytest

from im21k import photos
from im21k.features.part_files import Place
from im21k.features.position import Ends, OtherPhotos, Rest, Turns
from im21k.hosts import session
from im21k.photos import packed

COUNTS = {"n01443537": 3, "n02121620": 1, "n03481172": 4}


@pytest.mark.parametrize("kind", ["classes", "tar", "packed"])
def test_the_rest_behind_any_photo_is_what_follows_it(photos, kept_as, kind):
  source = sources(kept_as(kind, photos(COUNTS)))
  keys = [photo.key for photo in source]
  assert len(keys) == 8
  for read in range(1, 9):
    whole = Rest(source)
    # Threads read ahead of what has been computed.
    assert [photo.key for photo in whole.photos()] == keys
    place = whole.place(read, keys[read - 1])
    rest = Rest(source, place, read)
    assert [photo.key for photo in rest.photos()] == keys[read:]
    assert rest.count in (8 - read, None)
    for more in range(read + 1, 9):  # Places behind a place are the same.
      assert rest.place(more - read, keys[more - 1]) == whole.place(
        more, keys[more - 1]
      )


sources = photos.open


def test_photos_that_have_changed_are_refused(photos):
  source = sources(photos(COUNTS))
  for place in (Place(0, 2, "x"), Place(1, 2, "n02121620/x"), Place(3, 1, "x")):
    with pytest.raises(ValueError, match="the photos have changed: photo"):
      list(Rest(source, place, 2).photos())


@pytest.mark.parametrize("kind", ["classes", "tar", "packed"])
@pytest.mark.parametrize("hosts", [2, 3])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_hosts_have_each_photo_once_batch_after_batch(
  photos, kept_as, kind, hosts, size
):
  source = sources(kept_as(kind, photos(COUNTS)))
  keys = [photo.key for photo in source]
  whole = Rest(source)
  list(whole.photos())
  for read in (0, 1, 4, 5, 8):
    begin = whole.place(read, keys[read - 1]) if read else None
    rests = [Rest(source, begin, read, Turns(h, hosts, size)) for h in range(hosts)]
    own = [[photo.key for photo in rest.photos()] for rest in rests]
    joined = [
      key
      for start in range(0, len(keys), size)
      for part in own
      for key in part[start : start + size]
    ]
    assert joined == keys[read:]
    assert all(rest.begun == rests[0].begun for rest in rests)


def test_a_shard_that_cannot_be_opened_is_one_photo_on_all_hosts(photos, kept_as):
  folder = kept_as("packed", photos(COUNTS))
  shard = sorted(folder.glob("train*"))[0]
  shard.write_bytes(b"\0" * shard.stat().st_size)
  source = sources(folder)
  keys = [photo.key for photo in source]
  own = [
    [photo.key for photo in Rest(source, turns=Turns(host, 2, 1)).photos()]
    for host in range(2)
  ]
  assert shard.name in keys and own == [keys[::2], keys[1::2]]


def test_of_a_shard_no_record_of_another_host_is_read(photos, kept_as, monkeypatch):
  source = sources(kept_as("packed", photos(COUNTS)))
  read = []
  whole = packed.Shard._photo
  monkeypatch.setattr(
    packed.Shard, "_photo", lambda *given: read.append(1) or whole(*given)
  )
  own = list(Rest(source, turns=Turns(1, 2, 2)).photos())
  assert len(own) == len(read) == 4


@pytest.mark.parametrize(
  ("other", "is_same"),
  [
    ([4, {"stream": 1, "photos": 1, "key": "x"}, [[0, 0], [1, 3]]], True),
    ([4, {"stream": 0, "photos": 4, "key": "x"}, [[0, 0]]], False),
    ([4, {"stream": 1, "photos": 2, "key": "x"}, [[0, 0], [1, 2]]], False),
    ([0, None, [[0, 0], [1, 2]]], False),
  ],
)
def test_hosts_that_read_other_photos_are_noticed(photos, monkeypatch, other, is_same):
  """This one has photos 0 and 1 of batches of 4, of which the first stream has 3."""
  turns = Turns(0, 2, 2)
  rest = Rest(sources(photos(COUNTS)), turns=turns)
  list(rest.photos())
  monkeypatch.setattr(session, "all_say", lambda name, value: [value, other])
  ends = Ends(rest, turns)
  if is_same:
    assert ends.place(4, 4, "x") == Place(1, 1, "x")
    ends.check()
  else:
    with pytest.raises(OtherPhotos, match="hosts have not read the same photos"):
      ends.place(4, 4, "x")
