"""Random trees of photos, in every form that a source can have, and damage to them."""

import dataclasses
import gzip
import io
import os
import posixpath
import random
import tarfile
import unicodedata
from pathlib import Path

CLASSES = ("n01440764", "n01443537", "n01484850", "n02084071")
OTHER = "n02121808"  # has no folder
FORMATS = (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
DAMAGES = ("flip", "cut", "zeros", "insert", "remove")
BLOCK, RECORD = 512, 20 * 512


@dataclasses.dataclass
class Tree:
  """What lies in a folder, by path.

  Attributes:
    files: their bytes.
    hard, soft: the paths that hard links are of; the texts of symbolic links.
    pipes, folders: paths.
  """

  files: dict[str, bytes] = dataclasses.field(default_factory=dict)
  hard: dict[str, str] = dataclasses.field(default_factory=dict)
  soft: dict[str, str] = dataclasses.field(default_factory=dict)
  pipes: list[str] = dataclasses.field(default_factory=list)
  folders: list[str] = dataclasses.field(default_factory=list)

  def photos(self) -> dict[str, tuple[str, bytes]]:
    """Synset and bytes of each photo, by key."""
    found = dict(self.files)
    found |= {path: self.files[target] for path, target in self.hard.items()}
    for path, text in self.soft.items():
      target = posixpath.normpath(posixpath.join(posixpath.dirname(path), text))
      if target in self.files:
        found[path] = self.files[target]
    return {
      path: (synset_of(path), data)
      for path, data in found.items()
      if synset_of(path) and not is_hidden(path)
    }

  def bad(self) -> set[str]:
    """The keys of what is none, but counted."""
    every = [*self.files, *self.hard, *self.soft, *self.pipes]
    shown = {path for path in every if not is_hidden(path) and path != "README.txt"}
    return shown - set(self.photos())


def synset_of(path: str) -> str:
  first = path.partition("/")[0]
  if first in CLASSES:
    return first
  named = [synset for synset in (*CLASSES, OTHER) if synset in path]
  if path == "ILSVRC2012_val_00000001.JPEG":
    return "n01751748"
  return named[0] if len(named) == 1 else ""


def is_hidden(path: str) -> bool:
  return any(part.startswith(".") for part in path.split("/"))


def tree(rng: random.Random, payload, beside: bool = True) -> Tree:
  """A random tree; `payload(rng)` gives the bytes of a photo."""
  made = Tree()
  for synset in rng.sample(CLASSES, rng.randint(1, 3)):
    folders = [synset]
    for _ in range(rng.randint(0, 3)):
      name = rng.choice(["a", "b", "é", "x.jpg", CLASSES[1], "deep" * 20, ".hidden"])
      folders.append(f"{rng.choice(folders)}/{name}")
    if rng.random() < 0.3:
      made.folders.append(f"{synset}/empty")
    for number in range(rng.randint(1, 6)):
      path = f"{rng.choice(folders)}/{_name(rng, synset, number)}"
      made.files[path] = payload(rng)
    mine = [path for path in made.files if path.startswith(f"{synset}/")]
    if rng.random() < 0.4:
      made.hard[f"{rng.choice(folders)}/hard.jpg"] = rng.choice(mine)
    if rng.random() < 0.4:
      folder, target = rng.choice(folders), rng.choice(mine)
      made.soft[f"{folder}/soft.jpg"] = posixpath.relpath(target, folder)
    if rng.random() < 0.2:
      made.soft[f"{synset}/broken.jpg"] = rng.choice(["nowhere", "broken.jpg", "a"])
    if rng.random() < 0.2:
      made.pipes.append(f"{synset}/pipe.jpg")
  if beside and rng.random() < 0.4:
    made.files["README.txt"] = b"nothing to see\n"
    made.files["nothing says my class.jpg"] = payload(rng)
    made.files[f"{OTHER}_7.JPEG"] = payload(rng)
    made.files["ILSVRC2012_val_00000001.JPEG"] = payload(rng)
  # A file and a folder of one name cannot be.
  folders = {posixpath.dirname(p) for p in [*made.files, *made.hard, *made.soft]}
  folders |= {up for path in folders for up in _above(path)}
  for paths in (made.files, made.hard, made.soft):
    for path in set(paths) & folders:
      del paths[path]
  made.hard = {p: t for p, t in made.hard.items() if t in made.files}
  return made


def _above(path: str) -> list[str]:
  parts = path.split("/")
  return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _name(rng: random.Random, synset: str, number: int) -> str:
  text = rng.choice(["0", f"{synset}_{number}", "é", "?", "\udce9", "w" * 150, "a b"])
  if rng.random() < 0.3:
    text = unicodedata.normalize("NFD", text)
  hidden = rng.choice(["._", ".", *[""] * 6])
  return f"{hidden}{text}{number}{rng.choice(['.JPEG', '.jpg', '', '.png', '.tar'])}"


def random_bytes(rng: random.Random) -> bytes:
  """What is no photo, but ends in no zero."""
  return rng.randbytes(rng.choice([0, 1, 511, 512, rng.randint(2, 6000)])) + b"\xd9"


def lay(made: Tree, root: Path) -> Path:
  """The tree on the disk."""
  for folder in made.folders:
    (root / folder).mkdir(parents=True, exist_ok=True)
  for path, data in made.files.items():
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)
  for path, target in made.hard.items():
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    os.link(root / target, root / path)
  for path, text in made.soft.items():
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).symlink_to(text)
  for path in made.pipes:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(root / path)
  return root


def tar(
  made: Tree, rng: random.Random, prefix: str = "", format: int = FORMATS[0], below=""
) -> bytes:
  """The tree, or what is in its folder `below`, in any order."""
  file = io.BytesIO()
  members = [(path, tarfile.REGTYPE, data) for path, data in made.files.items()]
  members += [(path, tarfile.SYMTYPE, text) for path, text in made.soft.items()]
  members += [(path, tarfile.FIFOTYPE, "") for path in made.pipes]
  members += [(path, tarfile.DIRTYPE, "") for path in made.folders]
  rng.shuffle(members)
  # Behind what they are of.
  members += [(path, tarfile.LNKTYPE, target) for path, target in made.hard.items()]
  with tarfile.open(fileobj=file, mode="w", format=format) as archive:
    for path, kind, content in members:
      if not path.startswith(below):
        continue
      info = tarfile.TarInfo(prefix + path.removeprefix(below))
      info.type = kind
      if isinstance(content, bytes):
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
        continue
      if kind == tarfile.LNKTYPE:
        content = prefix + content.removeprefix(below)
      info.linkname = content
      archive.addfile(info)
  return file.getvalue()


def class_tars(made: Tree, rng: random.Random, format: int) -> dict[str, bytes]:
  """A tar of each class, with or without its folder in it; and what is beside them."""
  found = {}
  every = [*made.files, *made.hard, *made.soft, *made.pipes, *made.folders]
  for synset in sorted({path.partition("/")[0] for path in every} & set(CLASSES)):
    prefix = rng.choice(["", "./", f"{synset}/", f"./{synset}/"])
    if any(p.startswith(f"{synset}/{synset}/") for p in every):
      prefix = f"{synset}/"
    found[f"{synset}.tar"] = tar(made, rng, prefix, format, below=f"{synset}/")
  beside = {p: d for p, d in made.files.items() if p.partition("/")[0] not in CLASSES}
  return found | beside


def packed_together(files: dict[str, bytes], format: int) -> bytes:
  """Files in a tar."""
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode="w", format=format) as archive:
    for name, data in files.items():
      info = tarfile.TarInfo(name)
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))
  return file.getvalue()


def zipped(data: bytes, rng: random.Random) -> bytes:
  """Gzipped, in one or several members."""
  cuts = sorted(rng.randint(0, len(data)) for _ in range(rng.choice([0, 0, 1, 3])))
  ends = [*cuts, len(data)]
  pieces = [data[a:b] for a, b in zip([0, *cuts], ends, strict=True)]
  return b"".join(gzip.compress(piece, 1) for piece in pieces) + bytes(
    rng.choice([0, 100])
  )


def forms(made: Tree, rng: random.Random, folder: Path) -> dict[str, Path]:
  """The tree in all forms, by name of the form."""
  format = rng.choice(FORMATS)
  whole = tar(made, rng, rng.choice(["", "./"]), format)
  separate = class_tars(made, rng, format)
  # With a folder around all, nothing says that what is beside the classes is there.
  inside = dataclasses.replace(
    made,
    files={p: d for p, d in made.files.items() if p.partition("/")[0] in CLASSES},
  )
  written = {
    "tar": ("photos.tar", whole),
    "wrapped": ("wrapped.tar", tar(inside, rng, "data/train/", format)),
    "tar.gz": ("photos.tar.gz", zipped(whole, rng)),
    "tar of tars": ("whole.tar", packed_together(separate, format)),
    "tar.gz of tars": ("whole.tgz", zipped(packed_together(separate, format), rng)),
  }
  found = {"folder": lay(made, folder / "folder")}
  for form, (name, data) in written.items():
    (folder / name).write_bytes(data)
    found[form] = folder / name
  (folder / "tars").mkdir()
  for name, data in separate.items():
    (folder / "tars" / name).write_bytes(data)
  return found | {"folder of tars": folder / "tars"}


@dataclasses.dataclass(frozen=True)
class Damage:
  """What was done to an archive: bytes `[start, stop)` of it became others.

  Attributes:
    kind: one of `DAMAGES`.
    added: how many bytes stand there now.
  """

  kind: str
  start: int
  stop: int
  added: int

  def moved(self, at: int) -> int:
    """Where a byte of the sound archive is now; one that is gone, at its end."""
    if at < self.start or self.added == self.stop - self.start:
      return at
    return self.start + self.added + max(at - self.stop, 0)


def damaged(data: bytes, kind: str, rng: random.Random) -> tuple[bytes, Damage]:
  """The archive with damage of a kind, somewhere."""
  at = rng.randrange(len(data))
  if rng.random() < 0.5:
    at -= at % BLOCK
  size = rng.choice([rng.randint(1, 700), rng.randint(1, 12) * BLOCK, 9000])
  end = min(at + size, len(data))
  if kind == "flip":
    flipped = bytearray(data)
    flipped[at] ^= 1 << rng.randrange(8)
    return bytes(flipped), Damage(kind, at, at + 1, 1)
  if kind == "cut":
    return data[:at], Damage(kind, at, len(data), 0)
  if kind == "zeros":
    while at < end and not data[at]:  # Those that are zero stay as they are.
      at += 1
    while at < end and not data[end - 1]:
      end -= 1
    return data[:at] + bytes(end - at) + data[end:], Damage(kind, at, end, end - at)
  if kind == "insert":
    return data[:at] + rng.randbytes(size) + data[at:], Damage(kind, at, at, size)
  return data[:at] + data[end:], Damage("remove", at, end, 0)


def hurt(data: bytes, kind: str, rng: random.Random) -> tuple[bytes, Damage]:
  """The same for a tar, but not where no checksum can show it."""
  silent = extended(data)
  while True:
    changed, damage = damaged(data, kind, rng)
    of_names = kind in ("flip", "zeros") and any(
      damage.start < part.stop and part.start < damage.stop for part in silent
    )
    if changed != data and not of_names:
      return changed, damage


def layout(data: bytes, base: int = 0, synset: str = "") -> dict[str, range]:
  """By key of each photo that is a file: its bytes in a sound archive, header first."""
  found = {}
  with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8") as archive:
    for info in archive:
      name = posixpath.normpath(info.name)
      start, stop = info.offset_data, info.offset_data + info.size
      if name.endswith(".tar") and "/" not in name and synset_of(name) and not synset:
        found |= layout(data[start:stop], base + start, name[:9])
      elif info.isreg():
        at = name.split("/")
        outer = next((i for i, part in enumerate(at[:-1]) if part in CLASSES), None)
        if synset:
          key = "/".join([synset, *at[at[0] == synset :]])
        else:
          key = name if outer is None else "/".join(at[outer:])
        found[key] = range(base + info.offset, base + stop)
  return found


def extended(data: bytes) -> list[range]:
  """Where the data of extended headers is, in which no checksum shows a flipped bit."""
  found, at = [], 0
  while (at := data.find(b"ustar", at)) >= 0:
    head = data[at - 257 : at + 255]
    if head[156:157] in (b"L", b"K", b"x") and len(head) == BLOCK:
      found.append(range(at + 255, at + 255 + int(head[124:135], 8)))
    at += 1
  return found


def faults(made: Tree, archive: bytes, damage: Damage, found: list) -> list[str]:
  """What is wrong with the photos that were read from a damaged archive."""
  sound, where = made.photos(), layout(archive)
  given = {p.key for p in found if p.synset and not p.problem}
  rows = {p.key for p in found} - given
  unseen = _is_unseen(archive, where, damage)
  wrong = [
    fault
    for photo in found
    if photo.key in given and (fault := _fault(photo, made, sound, where, damage))
    if not (unseen and fault.endswith(("bytes", "photo")))
  ]
  if unseen:
    return wrong
  lost = _lost(found)
  for key in where.keys() & sound.keys() - given - rows:
    start, stop = damage.moved(where[key].start), damage.moved(where[key].stop)
    if damage.kind == "zeros" and damage.start <= where[key].start < damage.stop:
      start = min(damage.stop, stop)  # Before that there is nothing.
    left = set(range(start, stop))
    for part in lost:
      left -= set(part)
    if len(left) >= BLOCK:  # Less is in a block of another member.
      wrong.append(f"{key}: {len(left)} bytes of it are not accounted for")
  some_left = any(
    damage.moved(part.start) < damage.moved(part.stop)
    for key, part in where.items()
    if key in sound.keys() - given
  )
  if some_left and not (rows - made.bad()):
    wrong.append("photos are missing, and nothing says so")
  return wrong


def _fault(photo, made: Tree, sound: dict, where: dict, damage: Damage) -> str:
  """What is wrong with a photo that was given."""
  if photo.key not in sound:
    return f"{photo.key}: there is no such photo"
  synset, data = sound[photo.key]
  if photo.synset != synset:
    return f"{photo.key}: {photo.synset}"
  if photo.data == data:
    return ""
  # Bits that are flipped in a photo are its own affair: a tar has no checksums.
  source = made.hard.get(photo.key, photo.key)
  if photo.key in made.soft:
    folder = posixpath.dirname(photo.key)
    source = posixpath.normpath(posixpath.join(folder, made.soft[photo.key]))
  inside = where[source]
  start, stop = inside.stop - len(data), inside.stop + -inside.stop % BLOCK
  is_long = damage.added == damage.stop - damage.start
  if is_long and start <= damage.start and damage.stop <= stop:
    return ""
  return f"{photo.key}: other bytes"


def _lost(found: list) -> list[range]:
  """The bytes that rows say are lost."""
  lost = []
  for photo in found:
    if photo.loss and " at byte " in photo.key:
      start = int(photo.key.rpartition(" ")[2])
      lost.append(range(start, start + photo.loss.size))
  return lost


def _is_unseen(archive: bytes, where: dict, damage: Damage) -> bool:
  """Whether damage leaves a tar that a writer could have written, too."""
  rest = archive[damage.stop :].lstrip(b"\0")
  end = len(archive) - len(rest)
  if damage.kind == "zeros":
    zeros = end - damage.stop
    first = damage.start + -damage.start % BLOCK
    is_full = end % RECORD == 0 and end - first >= 2 * BLOCK
    return not rest or zeros >= 2 * BLOCK or end - first == 2 * BLOCK or is_full
  if damage.kind != "remove":
    return False
  at, stop = damage.start, damage.stop
  if (stop - at) % BLOCK == 0 and archive[at - at % BLOCK : at] == (
    archive[stop - stop % BLOCK : stop]
  ):  # The same as if it had begun with a block.
    at, stop = at - at % BLOCK, stop - stop % BLOCK
  # The end of one photo and that of another one, of as many blocks.
  left = [
    (end - place + BLOCK - 1) // BLOCK
    for place in (at, stop)
    for part in where.values()
    if part.start <= place < (end := part.stop + -part.stop % BLOCK)
  ]
  is_header = archive[stop + 257 : stop + 262] == b"ustar" and stop % BLOCK == 0
  return not rest or is_header or (len(left) == 2 and left[0] == left[1])
