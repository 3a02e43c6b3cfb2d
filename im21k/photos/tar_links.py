"""Links in a tar: what each leads to, to be found in another pass over it.

In: members that are links. Out: the places that they lead to, and the links of each.
"""

import dataclasses
import posixpath
from pathlib import PurePosixPath

from im21k.photos import names, tar_headers
from im21k.photos.photo import Photo
from im21k.photos.tar_parts import Member

NO_FILE = "link or device"  # a key of packing's RULES
_MOST_HOPS = 40  # as Linux follows

Place = tuple[int, str]  # where the tar begins that a member is in, and its path there


@dataclasses.dataclass(frozen=True)
class Link:
  """A link in a tar.

  Attributes:
    key, synset: of the photo that it is.
    place: its own.
    target: the place that it leads to; None if that is outside.
    says: what the link says.
  """

  key: str
  synset: str
  place: Place
  target: Place | None
  says: str

  def broken(self) -> Photo:
    """The photo with a problem that it is if nothing is there."""
    reason = f"a link to {self.says[:200]!r}, which is no file of this archive"
    return Photo(self.key, self.synset, problem=(NO_FILE, reason))


def by_target(links: list[Link]) -> tuple[dict[Place, list[Link]], list[Link]]:
  """Links by the place at the end of each chain; and those that lead outside."""
  at = {link.place: link for link in links}
  found: dict[Place, list[Link]] = {}
  outside = []
  for link in links:
    target, hops = link.target, 0
    while target in at and hops < _MOST_HOPS:
      target, hops = at[target].target, hops + 1
    if target is None:
      outside.append(link)
    else:
      found.setdefault(target, []).append(link)
  return found, outside


def target(member: Member, path: PurePosixPath, start: int) -> Place | None:
  """The place that a link leads to; None if that is outside the tar."""
  if member.type == tar_headers.LINKS[0]:  # A hard link names a member.
    return start, str(PurePosixPath(member.link))
  target = posixpath.normpath(posixpath.join(path.parent, member.link))
  return None if names.leaves(target) else (start, target)
