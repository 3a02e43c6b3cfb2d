"""A tree is the same photos in every form; damage costs no more than what is told."""

import itertools
import random

import pytest
import trees

from im21k import photos

SEEDS = range(25)


def read(path):
  """Good photos by key, with synset and bytes; the keys of the rows; and all."""
  found = list(photos.open(path))
  good = {p.key: (p.synset, p.data) for p in found if p.synset and not p.problem}
  rows = {p.key for p in found} - set(good)
  assert len(found) == len(good) + len(rows), "a key comes twice"
  return good, rows, found


@pytest.mark.parametrize("seed", SEEDS)
def test_what_lies_there_is_read_or_counted_in_every_form(tmp_path, seed):
  rng = random.Random(seed)
  made = trees.tree(rng, trees.random_bytes)
  for form, path in trees.forms(made, rng, tmp_path).items():
    sound, bad = made.photos(), made.bad()
    if form == "wrapped":  # There is nothing beside the classes.
      sound = {key: sound[key] for key in sound if key[:9] in trees.CLASSES}
      bad = {key for key in bad if key[:9] in trees.CLASSES}
    good, rows, found = read(path)
    assert good == sound, form
    assert rows == bad, form
    assert not any(photo.loss for photo in found), form


@pytest.mark.parametrize("form", ["tar", "tar of tars"])
@pytest.mark.parametrize("kind", trees.DAMAGES)
def test_damage_costs_no_more_than_what_is_told(tmp_path, form, kind):
  for seed in SEEDS:
    rng = random.Random(seed)
    (folder := tmp_path / str(seed)).mkdir()
    made = trees.tree(rng, trees.random_bytes)
    path = trees.forms(made, rng, folder)[form]
    archive = path.read_bytes()
    data, damage = trees.hurt(archive, kind, rng)
    path.write_bytes(data)
    assert trees.faults(made, archive, damage, list(photos.open(path))) == [], seed


def test_damage_to_a_gzipped_tar_is_told(tmp_path):
  """Its content may be other bytes where only the checksum at the end shows it."""
  for seed, kind in itertools.product(SEEDS, trees.DAMAGES):
    rng = random.Random(seed)
    (folder := tmp_path / f"{seed}{kind}").mkdir()
    made = trees.tree(rng, trees.random_bytes)
    path = trees.forms(made, rng, folder)["tar.gz"]
    archive = path.read_bytes()
    data, damage = trees.damaged(archive, kind, rng)
    if not archive[damage.start : damage.stop].strip(b"\0") and kind != "insert":
      continue  # of what fills it up
    path.write_bytes(data)
    found = list(photos.open(path))
    good = {p.key: (p.synset, p.data) for p in found if p.synset and not p.problem}
    told = any(photo.loss for photo in found)
    assert told or good == made.photos(), (seed, kind)
    assert set(good) <= set(made.photos()), (seed, kind)
