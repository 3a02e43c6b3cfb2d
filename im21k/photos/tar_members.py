"""One pass over a tar: which of its members are photos, with which key and class.

In: a `Reader`. Out: photos, in the order of the file, and a photo with a problem for
each other thing in it and for bytes that are lost. Links are kept for another pass.
"""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from im21k.photos import gzips, image_files, names, tar_headers, tar_links
from im21k.photos.archives import Reader
from im21k.photos.photo import Loss, Photo
from im21k.photos.tar_links import NO_FILE, Link, Place
from im21k.photos.tar_parts import Lost, Member

DAMAGED, REFUSED = "damaged archive", "refused path"  # keys of packing's RULES
_MOST_LINKS = 1_000_000  # held in memory


class Walk:
  """A pass over a tar and the tars in it.

  Args:
    archive: name of the file.
    photo: makes the photo of a member, given its key and synset.
    labels: see `names.locate`.
    after_tars: whether tars of classes came before.
    own: ids of own classes, see `names.locate`.
    wanted: links by place, if only what they lead to is asked for; those that are
      found are removed.

  Attributes:
    links: those that were met.
  """

  def __init__(
    self,
    archive: str,
    photo: Callable[[Reader, Member, str, str], Photo],
    labels: tuple[str, ...] | None,
    after_tars: bool = False,
    wanted: dict[Place, list[Link]] | None = None,
    own: frozenset[str] = frozenset(),
  ):
    self._own = own
    self._archive, self._photo, self._labels = archive, photo, labels
    self._has_tars, self._has_others, self._wanted = after_tars, False, wanted
    self.links: list[Link] = []

  def photos(self, reader: Reader, synset: str = "", start: int = 0) -> Iterator[Photo]:
    """The photos of a reader; each is given when what follows it is known.

    Args:
      reader: at the beginning of a tar.
      synset: class of all its photos; "" where the names of the members say it.
      start: identifies the tar.
    """
    waiting: list[Photo] = []
    for item in reader:
      if isinstance(item, Lost):
        if item.doubtful:
          waiting = [self._doubted(photo) for photo in waiting]
        yield from waiting
        waiting = []
        yield from self.reported(self._lost(item, synset))
        if synset and names.CLASS_TAR.fullmatch(item.name):
          # The header of the next tar: the one around this one goes on.
          yield from self.reported(self._lost(reader.pass_over_rest(), synset))
        continue
      path = PurePosixPath(item.name)
      class_tar = names.CLASS_TAR.fullmatch(path.name) if path.parts else None
      is_tar = class_tar and item.regular and not names.class_folder(path)
      if synset and start and reader.is_behind_zeros:
        reader.damaged = True  # Behind its end, what is around it goes on.
      if is_tar and synset:  # Not of this tar, so bytes before it were removed.
        waiting = [self._doubted(photo) for photo in waiting]
      yield from waiting
      waiting = []
      if item.type in tar_headers.FOLDERS or (
        self._wanted is None and names.is_hidden(path)
      ):
        continue
      if is_tar and synset:
        yield from self._foreign(reader, item, synset)
      elif is_tar and class_tar and not names.leaves(item.name):
        yield from self._inner(reader, item, class_tar[1])
      else:
        waiting = list(self._of_member(reader, item, path, synset, start))
    yield from waiting

  def lost(self, offset: int, size: int, reason: str) -> Photo:
    """Bytes of the file that could not be read, as a photo with a problem."""
    if size:
      reason = f"bytes {offset} to {offset + size} cannot be read: {reason}"
    key = f"{self._archive} at byte {offset}"
    loss = Loss(self._archive, size)
    return Photo(key, "", problem=(DAMAGED, reason), loss=loss)

  def _foreign(self, reader: Reader, member: Member, synset: str) -> Iterator[Photo]:
    """A tar of a class within that of another one."""
    if reader.damaged or reader.is_cut or reader.is_behind_zeros:
      # The tar around this one goes on.
      lost = reader.pass_over_rest(member)
    else:
      reason = f"{member.name!r} is within the tar of {synset}"
      lost = Lost(member.start, member.end - member.start, reason)
      reader.damaged = True
    yield from self.reported(self._lost(lost, synset))

  def _inner(self, reader: Reader, member: Member, synset: str) -> Iterator[Photo]:
    start = member.offset
    if reader.head(member, 2) == gzips.MAGIC[:2]:
      reason = f"{member.name!r} is gzipped within a tar, which is not read: unpack it"
      yield from self.reported(self.lost(start, member.size, reason))
      return
    self._has_tars = True
    reader.damaged = False  # It is clear again where this is.
    if member.is_cut:
      reason = f"{member.name!r} ends early: only {member.size:,} bytes are there"
      yield from self.reported(self.lost(start, 0, reason))
    inside = reader.inner(member)
    yield from self.photos(inside, synset, start)
    reader.damaged = inside.damaged

  def _of_member(
    self, reader: Reader, member: Member, path: PurePosixPath, synset: str, start: int
  ) -> Iterator[Photo]:
    key, said = self._located(path, synset)
    if reader.damaged and not self._is_certain(path, synset):
      yield from self.reported(self._uncertain(member))
      return
    self._has_others |= bool(said) and not key.startswith(f"{said}/")
    place = start, str(path)
    if not path.parts or names.leaves(member.name):
      reason = f"{member.name[:200]!r} is absolute or leaves its folder"
      yield from self.reported(Photo(key, said, problem=(REFUSED, reason)))
    elif len(key) > names.LONGEST // 4 and len(_bytes(key)) > names.LONGEST:
      reason = f"a name of {len(_bytes(key)):,} bytes"
      key = f"{key[:200]}…"
      yield from self.reported(Photo(key, said, problem=(REFUSED, reason)))
    elif member.type in tar_headers.LINKS:
      link = Link(key, said, place, tar_links.target(member, path, start), member.link)
      if len(self.links) < _MOST_LINKS:
        self.links.append(link)
      else:
        yield from self.reported(link.broken())
    elif not member.regular:
      what = (
        "a sparse file" if member.is_sparse else f"a member of type {member.type!r}"
      )
      reason = f"{what}: unpack the archive to pack it"
      yield from self.reported(Photo(key, said, problem=(NO_FILE, reason)))
    elif self._wanted is None:
      if said or _may_be_photo(reader, member, path):
        yield self._photo(reader, member, key, said)
    else:
      links = self._wanted.pop(place, [])
      likely = any(link.synset for link in links) or (
        bool(links) and _may_be_photo(reader, member, path)
      )
      if likely:
        photo = self._photo(reader, member, key, said)
        yield from (photo.named(link.key, link.synset) for link in links)

  def _located(self, path: PurePosixPath, synset: str) -> tuple[str, str]:
    if not synset:
      synset, key = names.locate(path, self._labels, self._own)
      return key, synset
    return (names.within(synset, str(path)) if path.parts else synset), synset

  def _is_certain(self, path: PurePosixPath, synset: str) -> bool:
    """Whether it is clear, behind damage, which of several tars a member is in."""
    if synset:
      return path.parts[:1] == (synset,) or names.in_name(path.name) == synset
    if self._has_tars:
      return False
    return self._has_others or names.class_folder(path, self._own) is not None

  def _uncertain(self, member: Member) -> Photo:
    reason = f"behind damage, nothing says of which class {member.name[:200]!r} is"
    return self.lost(member.start, member.end - member.start, reason)

  def _doubted(self, photo: Photo) -> Photo:
    reason = "bytes of it were lost or added, for no header follows it"
    loss = Loss(self._archive, 0)  # They are counted with what follows.
    return Photo(photo.key, photo.synset, problem=(DAMAGED, reason), loss=loss)

  def _lost(self, lost: Lost, synset: str) -> Photo:
    row = self.lost(lost.offset, lost.size, lost.reason)
    path = PurePosixPath(lost.name)
    if not lost.name or not path.parts or names.leaves(lost.name):
      return row
    key, said = self._located(path, synset)
    if not self._is_certain(path, synset) or len(key) > names.LONGEST // 4:
      return row
    return Photo(key, said, problem=row.problem, loss=row.loss)

  def reported(self, photo: Photo) -> Iterator[Photo]:
    """A photo with a problem, in a pass that is not only for links."""
    if self._wanted is None:
      yield photo


def _may_be_photo(reader: Reader, member: Member, path: PurePosixPath) -> bool:
  return image_files.may_be_photo(path.name, reader.head(member, image_files.SIGNATURE))


def _bytes(text: str) -> bytes:
  return text.encode("utf-8", "surrogateescape")
