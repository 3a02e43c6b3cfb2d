"""What JAX reports about CUDA on a machine that has no GPU -> silence.

Beside the CUDA plugin, which `im21k plan` needs, an import of JAX prints a notice for
each of the plugin's libraries, before any setting of a log level counts; and where JAX
looks for devices, a traceback. Where there is a driver nothing is changed here, so that
what is wrong with it is shown.
"""

import contextlib
import functools
import importlib.abc
import importlib.machinery
import os
import shutil
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any

# Modules and packages that load a library which looks for the driver.
_LIBRARIES = tuple(
  f"{package}{version}{end}"
  for version in (12, 13)
  for package, end in (("jax_cuda", "_plugin."), ("jax_plugins.xla_cuda", ""))
)
_NOTICES = (b"cudart_stub.cc", b"before absl::InitializeLog()")


def silence() -> None:
  """Silences these notices from now on; call it before JAX is imported."""
  if has_nvidia_driver() or any(isinstance(f, _Finder) for f in sys.meta_path):
    return
  # JAX reads it when it first looks for devices; a value of the user's own stays.
  os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
  sys.meta_path.insert(0, _Finder())


def has_nvidia_driver() -> bool:
  """Whether there is a driver for NVIDIA's GPUs, here or behind WSL."""
  places = ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg")
  return any(map(os.path.exists, places)) or shutil.which("nvidia-smi") is not None


class _Finder(importlib.abc.MetaPathFinder):
  """Finds the plugin's modules as usual, and has them loaded without the notices."""

  def find_spec(
    self,
    fullname: str,
    path: Sequence[str] | None,
    target: types.ModuleType | None = None,
  ) -> importlib.machinery.ModuleSpec | None:
    if not fullname.startswith(_LIBRARIES):
      return None
    spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
    if spec is not None and spec.loader is not None:
      spec.loader = _Loader(spec.loader)
    return spec


class _Loader(importlib.abc.Loader):
  def __init__(self, usual: Any):
    self._usual = usual

  def __getattr__(self, name: str) -> Any:
    return getattr(self._usual, name)

  def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
    with _without_notices():
      return self._usual.create_module(spec)

  def exec_module(self, module: Any) -> None:
    with _without_notices():
      self._usual.exec_module(module)
    if hasattr(module, "initialize"):  # It loads the largest library.
      module.initialize = _quiet(module.initialize)


def _quiet(function: Any) -> Any:
  @functools.wraps(function)
  def call(*args: Any, **kwargs: Any) -> Any:
    with _without_notices():
      return function(*args, **kwargs)

  return call


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
  """Drops the notices that libraries write to descriptor 2 meanwhile, and no more."""
  import tempfile  # Here, so that `import im21k` stays light.

  try:
    before = os.dup(2)
  except OSError:  # There is no standard error.
    yield
    return
  with tempfile.TemporaryFile() as written:
    os.dup2(written.fileno(), 2)
    try:
      yield
    finally:
      os.dup2(before, 2)
      os.close(before)
      written.seek(0)
      for line in written:
        if not any(notice in line for notice in _NOTICES):
          with contextlib.suppress(OSError):
            os.write(2, line)
