"""`im21k classes suggest`: own classes -> a CSV that says what each hangs under."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from im21k import files, synsets, targets, words
from im21k.answers import calibration
from im21k.evaluation import inputs
from im21k.inference import classify
from im21k.inference.classifier import load
from im21k.photos import Photo, folders, own_folders, sources
from im21k.synsets import class_files, hierarchy, lookup, suggestions
from im21k.weights import ARRAYS, find

_SHOWN = 3  # Proposals for a class.
_LEAST = 0.2  # Mean probability below which photos alone propose nothing.


def suggest(
  classes: Path,
  out: Path,
  *,
  weights: Path | None = None,
  images: int = 20,
) -> dict[str, Any]:
  """Proposes a synset for each class of your own, in a file that you correct.

  The last words of a name are looked up in WordNet; with weights, what they see in the
  photos of a class orders the senses of its name, or proposes one where it has none.
  With the file, `im21k pack PHOTOS DST --classes OUT` makes a data set whose weights
  give hedged and diverse answers. Nothing but this file is written.

  Args:
    classes: A folder of class folders, packed photos, or a file with a class list.
    out: CSV file to write, with header id,name,under.
    weights: Release folder of weights over synsets that look at the photos.
    images: With weights, look at this many photos of each class.

  Returns:
    `classes`: for each `id`, its `name`, `under` (the proposal, "" without one) and
    `proposals`, the best first: `synset`, `name`, `definition`, `probability` (mean
    over its photos, None without weights) and `by`, name or photos; `out`: the file;
    `without`: number of classes for which nothing is proposed.

  Raises:
    FileNotFoundError: there are no such classes or weights.
    ValueError: classes holds no classes, out exists, or there are no photos to look at.
  """
  if images < 1:
    raise ValueError(f"images is {images}, but must be at least 1")
  targets.check([classes], out=out)
  if out.exists():
    raise ValueError(f"out is {out}, which exists already: name another file")
  listed = _classes(classes)
  seen = _seen(listed, classes, find(weights), images) if weights else None
  rows = [_row(listed, label, seen) for label in range(len(listed))]
  with_under = synsets.ClassList(
    listed.name,
    listed.synsets,
    listed.given_names,
    tuple(row["under"] for row in rows),
  )
  files.write_text(out, class_files.as_csv(with_under))
  without = sum(not (row["under"] or synsets.is_synset(row["id"])) for row in rows)
  return {"classes": rows, "out": str(out), "without": without}


def text(result: dict[str, Any]) -> str:
  """The result of `classes suggest` for people."""
  lines = []
  for row in result["classes"]:
    named = f" ({row['name']})" if row["name"] != row["id"] else ""
    kept = row["under"] and not row["proposals"]
    state = f": {row['under']}, as it was" if kept else ""
    if not (row["under"] or row["proposals"]):
      state = ": its own place" if synsets.is_synset(row["id"]) else ": no proposal"
    lines.append(f"{row['id']}{named}{state}")
    for one in row["proposals"]:
      mark = "->" if one["synset"] == row["under"] else "  "
      mass = (
        "" if one["probability"] is None else f"  {one['probability']:.0%} of photos"
      )
      lines.append(f"  {mark} {one['synset']}  {one['name']}{mass}")
      lines.append(f"       {one['definition']}")
  if result["without"]:
    what = words.counted(result["without"], "class")
    lines.append(f"nothing is proposed for {what}: `im21k synset WORD` lists synsets")
  lines.append(
    f"proposals: {result['out']}; correct the column under, then use it as --classes"
  )
  return "\n".join(lines)


class _Seen:
  """What weights see in the photos of each class."""

  def __init__(
    self, graph: hierarchy.Hierarchy, mass: dict[str, Float[np.ndarray, " nodes"]]
  ):
    self._graph, self._mass = graph, mass
    self._node = {one: node for node, one in enumerate(graph.ids)}

  def probability(self, one: str, synset: str) -> float | None:
    """Mean probability of a synset over the photos of a class; None: not known."""
    if one not in self._mass or synset not in self._node:
      return None
    return float(self._mass[one][self._node[synset]])

  def best(self, one: str) -> list[str]:
    """Synsets by the bits of information that they are expected to be right with."""
    if one not in self._mass:
      return []
    mass = self._mass[one]
    gain = np.where(mass >= _LEAST, mass * self._graph.information, 0)
    order = np.argsort(-gain, kind="stable")[:_SHOWN]
    return [self._graph.ids[node] for node in order if gain[node] > 0]


def _classes(where: Path) -> synsets.ClassList:
  if where.is_file():
    return synsets.from_file(where)
  if inputs.is_packed(where):
    return synsets.get(str(where))
  if not where.exists():
    raise FileNotFoundError(f"there is no {where}")
  if found := own_folders.names(where):
    own_folders.check_are_classes(where, found)
    return own_folders.class_list(where, found)
  raise ValueError(f"{where} has no class folders, and is no file with a class list")


def _row(listed: synsets.ClassList, label: int, seen: _Seen | None) -> dict[str, Any]:
  one, name = listed.synsets[label], listed.names[label]
  under = listed.under[label] if listed.under else ""
  row: dict[str, Any] = {"id": one, "name": name, "under": under, "proposals": []}
  if under or synsets.is_synset(one):
    return row
  by_name = suggestions.candidates(name) or suggestions.candidates(one)
  ordered = [(synset, "name") for synset in by_name]
  if seen:  # Of equal ones, the order of before stays.
    ordered.sort(key=lambda pair: -(seen.probability(one, pair[0]) or 0))
    found = seen.probability(one, ordered[0][0]) if ordered else 0
    if found is not None and found < _LEAST:  # They see something else.
      others = [(synset, "photos") for synset in seen.best(one)]
      ordered = ordered[: _SHOWN - 1] + others
  graph = synsets.load()
  row["proposals"] = [
    {
      "synset": synset,
      "name": lookup.distinct_name(synset),
      "definition": graph.definition(synset),
      "probability": seen.probability(one, synset) if seen else None,
      "by": by,
    }
    for synset, by in ordered[:_SHOWN]
  ]
  row["under"] = ordered[0][0] if ordered else ""
  return row


def _seen(listed: synsets.ClassList, where: Path, folder: Path, images: int) -> _Seen:
  """Mean probabilities of all nodes over some photos of each class."""
  if where.is_file():
    raise ValueError(f"{where} is a list: weights need the photos, in class folders")
  model = load(folder)
  graph = hierarchy.over(model.classes)
  stored = calibration.load(folder / ARRAYS)
  temperature = stored.temperature if stored else 1.0
  total = np.zeros((len(listed), len(model.classes)))
  count = np.zeros(len(listed))
  chosen = _chosen(sources.open(where, classes=listed), listed, images)
  for batch in classify.batches(model, chosen, temperature):
    for photo, row in zip(batch.good, batch.probabilities, strict=True):
      total[listed.index(photo.name)] += row
      count[listed.index(photo.name)] += 1
  have = np.flatnonzero(count)
  mass = graph.probabilities(total[have] / count[have, None])
  names = [listed.synsets[label] for label in have]
  return _Seen(graph, dict(zip(names, mass, strict=True)))


def _chosen(
  photos: sources.Source, listed: synsets.ClassList, most: int
) -> Iterator[Photo]:
  """The first photos of each class that can be read, by the name of their class."""
  left = dict.fromkeys(listed.synsets, most)
  for stream in photos.streams:
    for photo in stream.photos():
      if left.get(photo.synset, 0):
        if not photo.problem:
          yield photo.named(photo.synset, photo.synset)
          left[photo.synset] -= 1
      elif isinstance(stream, folders.ClassFolder) or not any(left.values()):
        break  # The rest of a folder is of the same class.
