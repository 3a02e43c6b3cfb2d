"""Parts of features -> one `.npz`; either of them -> arrays.

In an `.npz`: `features`, `labels`, `keys`, `classes` (what the labels index) and
`about`, JSON with what was asked for, the counts, and the photos without a row.
"""

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from im21k import documents, files
from im21k.features import part_files

NPZ = ".npz"
_DATE = (1980, 1, 1, 0, 0, 0)  # So that the same features have the same bytes.


class Features(NamedTuple):
  """What `im21k features` has written.

  Attributes:
    values: `[n, …]`, a stage of the network.
    labels: `[n]`, indices of `classes`; -1 where nothing says the class.
    keys: text `[n]`, of the photos.
    classes: text `[classes]`, class ids.
    about: `asked` and counts.
  """

  values: Float[np.ndarray, "n ..."]
  labels: Int[np.ndarray, " n"]
  keys: npt.NDArray[np.str_]
  classes: npt.NDArray[np.str_]
  about: dict[str, Any]


def join(parts: part_files.Parts, out: Path) -> None:
  """Writes all parts as one `.npz`, a part in memory at a time."""
  about = {**parts.summary(), "bad": parts.bad}
  with files.whole(out) as aside, zipfile.ZipFile(aside, "w") as archive:
    for name in part_files.ARRAYS:
      _add(archive, name, list(parts.arrays(name)))
    _add(archive, "classes", [np.array(parts.classes, np.str_)])
    _add(archive, "about", [np.array(json.dumps(about))])


def about(path: Path) -> dict[str, Any]:
  """What an `.npz` says about itself; `asked` is what determines its bytes.

  Raises:
    ValueError: it is no such file.
  """
  try:
    # Of a damaged file np.load would leave the descriptor open.
    with files.open_regular(path) as file, np.load(file, allow_pickle=False) as arrays:
      said = documents.parse(str(arrays["about"]).encode())
      asked = said["asked"]
  except (ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
    raise ValueError(
      f"{path} is not a whole file of `im21k features`: name another file"
    ) from error
  return {**said, "asked": asked}


def read(path: Path) -> Features:
  """The features in an `.npz` or a folder; those of a folder are copied to memory.

  Raises:
    FileNotFoundError: there is nothing.
    ValueError: it is something else, or was not written to its end.
  """
  if not path.is_dir():
    said = about(path)
    with np.load(path, allow_pickle=False) as arrays:
      try:
        values, labels, keys = (arrays[name] for name in part_files.ARRAYS)
        return Features(values, labels, keys, arrays["classes"], said)
      except KeyError as error:
        raise ValueError(f"{path} has no array {error}") from error
  if not (path / part_files.DOCUMENT).exists():
    raise ValueError(
      f"{path / part_files.DOCUMENT} does not exist: {path} holds no features, or "
      "only the first of them, until the same `im21k features` has ended"
    )
  said = documents.read(path / part_files.DOCUMENT, part_files.REMEDY)
  parts = part_files.Parts(path, said["asked"], ())
  values, labels, keys = (
    np.concatenate(list(parts.arrays(name))) for name in part_files.ARRAYS
  )
  classes = np.array(said.pop("classes"), np.str_)
  return Features(values, labels, keys, classes, said)


def _add(archive: zipfile.ZipFile, name: str, arrays: list[npt.NDArray[Any]]) -> None:
  """Adds arrays as one, row after row; an array of no axes is alone."""
  dtype = max((array.dtype for array in arrays), key=lambda dtype: dtype.itemsize)
  shape = arrays[0].shape
  if shape:
    shape = (sum(len(array) for array in arrays), *shape[1:])
  member = zipfile.ZipInfo(f"{name}.npy", _DATE)
  member.external_attr = 0o644 << 16
  header = {
    "descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape
  }  # fmt: skip
  with archive.open(member, "w", force_zip64=True) as file:
    np.lib.format.write_array_header_1_0(file, header)
    _write(file, arrays, dtype)


def _write(file: Any, arrays: Iterable[npt.NDArray[Any]], dtype: Any) -> None:
  for array in arrays:
    file.write(np.ascontiguousarray(array, dtype).tobytes())
