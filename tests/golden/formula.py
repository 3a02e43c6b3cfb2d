"""Weights and images by formula: the same numbers here and in MXNet's environment.

Only numpy, and nothing newer than Python 3.8 knows. Nothing has to be stored but what
MXNet computes from them.
"""

import zlib

import numpy as np

CLASSES = {"full": 21841, "plain": 1000}
SIDE, BATCH = 224, 2
GAMMA, BETA = 0.35, 1.0
# Where a unit's sign or a window's largest value hangs on the last bits, two float32
# programs (MXNet's own two convolutions, too) differ by up to 5 % in some gradients;
# among ten million units there is one in half of all batches. So gradients are taken of
# several, by the numbers of their images.
BATCHES = {"full": (5, 7, 14, 17, 10, 2), "plain": (11, 6, 2, 12, 14, 10)}
SAMPLES = 64  # entries of a gradient that are stored
STEPS, CHANGE = 20, 12  # of the trajectory, and where its learning rate changes
RATES, MOMENTUM, DECAY = (2e-3, 5e-4), 0.9, 1e-3


def generator(name):
  """A generator of numbers that belongs to a name."""
  return np.random.RandomState(zlib.crc32(name.encode()))


def array(name, shape):
  """The array called `name`, as MXNet spells names and shapes; float32."""
  draw = generator(name).uniform(-1, 1, shape)
  if name.endswith("_weight"):
    fan_in = int(np.prod(shape[1:]))
    draw = draw * np.sqrt(6.0 / fan_in)
  elif name.endswith("_gamma"):
    draw = GAMMA * (1 + 0.3 * draw)
  elif name.endswith("_beta"):
    # Most units are on, so that few signs hang on the last bits; the stem's are not,
    # as behind its pools a shift of all would do nothing.
    draw = 0.1 * draw + (0.0 if "_conv1" in name else 0.3 if "_conv" in name else BETA)
  elif name.endswith("_var"):
    draw = 1 + 0.3 * draw
  else:
    draw = 0.1 * draw
  return draw.astype(np.float32)


def images(net, index=0):
  """`[b, 3, h, w]` float32, as after the mean is taken away and scaled."""
  return (
    generator(f"images {BATCHES[net][index]}")
    .normal(size=(BATCH, 3, SIDE, SIDE))
    .astype("f4")
  )


def labels(classes, index=0):
  """int `[b]`."""
  return generator(f"labels {index}").randint(0, classes, BATCH)


def sample(name, values):
  """Some entries of an array, the same ones every time."""
  flat = np.asarray(values).reshape(-1)
  return flat[generator(f"sample {name}").randint(0, flat.size, SAMPLES)]
