"""Photos -> shards -> batches.

`pack.pack` writes shuffled ArrayRecord shards and a manifest; `loader.TrainLoader`
and `loader.EvalLoader` read them as batches `[devices, batch, h, w, 3]`.
"""

from typing import TYPE_CHECKING, Any

from im21k.data.pack import pack
from im21k.data.records import Example, Manifest

if TYPE_CHECKING:
  from im21k.data.loader import EvalLoader, TrainLoader

__all__ = ["EvalLoader", "Example", "Manifest", "TrainLoader", "pack"]


def __getattr__(name: str) -> Any:
  """Imports the loaders when first asked for.

  Grain brings JAX and orbax along: 3 s and 170 MB that each process of `pack`, which
  needs none of them, would pay again.
  """
  if name not in ("EvalLoader", "TrainLoader"):
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  from im21k.data import loader

  return getattr(loader, name)
