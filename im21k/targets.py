"""Paths that are to be written -> an error at once, instead of after hours of work."""

import os
from collections.abc import Sequence
from pathlib import Path


def check(inputs: Sequence[Path], **outputs: Path | None) -> None:
  """Refuses files that cannot be written, or would overwrite what is read.

  Args:
    inputs: files and folders that the command reads; an existing file in such a folder
      is one of them.
    outputs: files to write, by the name of the parameter; None is not written.

  Raises:
    ValueError: an output is a folder, has no folder and cannot have one, is named
      twice, or is an input.
  """
  named: dict[Path, str] = {}
  read = [Path(os.path.realpath(path)) for path in inputs]
  for name, path in outputs.items():
    if path is None:
      continue
    real = Path(os.path.realpath(path))
    if real.is_dir():
      raise ValueError(f"{name} is {path}, which is a folder: name a file")
    if real in named:
      raise ValueError(f"{name} and {named[real]} are the same file, {path}")
    named[real] = name
    if real.is_file() and any(real.is_relative_to(one) for one in read):
      raise ValueError(
        f"{name} is {path}, which would overwrite a file that is read: name another"
      )
    _check_writable(name, path, real.parent)


def check_folder(inputs: Sequence[Path], **outputs: Path) -> None:
  """The same for folders that a command fills."""
  for name, path in outputs.items():
    if path.exists() and not path.is_dir():
      raise ValueError(f"{name} is {path}, which is not a folder")
    if any(os.path.realpath(path) == os.path.realpath(one) for one in inputs):
      raise ValueError(f"{name} is {path}, which is read: name another folder")
    _check_writable(name, path, Path(os.path.realpath(path)))


def _check_writable(name: str, path: Path, folder: Path) -> None:
  """ValueError unless a file can be made in `folder`, or the folder be made."""
  above = next(one for one in (folder, *folder.parents) if one.exists())
  if not above.is_dir():
    raise ValueError(f"{name} is {path}, but {above} is not a folder")
  if not os.access(above, os.W_OK):
    raise ValueError(f"{name} is {path}, but {above} is not writable")
