"""Changes of a batch on the device: colours, RandAugment, mixup, cutmix.

Photos are float32 `[b, h, w, 3]` on the scale 0–255, before and after. All changes are
functions of a random key, so that a step can be repeated.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from im21k.training.keys import key
from im21k.training.values import SHARE, Bounds

# Grey value of what rotations and shifts bring in from outside the photo.
_OUTSIDE = 128.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mix:
  """Which changes are made and how strong, in this order; by default none.

  RandAugment: Cubuk et al. 2019, arXiv:1909.13719. Mixup: Zhang et al. 2017,
  arXiv:1710.09412. Cutmix: Yun et al. 2019, arXiv:1905.04899.
  """

  color_jitter: float = key(
    0.0,
    "Multiply brightness, contrast and saturation of each photo by random factors from "
    "1 − x to 1 + x.",
    bounds=SHARE,
  )
  rand_augment: int = key(
    0, "Apply this many RandAugment operations to each photo.", bounds=Bounds(0, 100)
  )
  magnitude: float = key(
    0.5, "Strength of RandAugment operations, from 0 to 1.", bounds=SHARE
  )
  mixup: float = key(
    0.0,
    "Blend pairs of photos; shares are drawn from Beta(x, x). 0 turns it off.",
    bounds=Bounds(0, 1e6),
  )
  cutmix: float = key(
    0.0,
    "Paste a rectangle of another photo; shares are drawn from Beta(x, x). 0 turns it "
    "off. With mixup too, each step draws one of the two.",
    bounds=Bounds(0, 1e6),
  )

  @property
  def changes_photos(self) -> bool:
    """Whether there is anything to do."""
    return any((self.color_jitter, self.rand_augment, self.mixup, self.cutmix))

  def apply(
    self,
    common: jax.Array,
    own: jax.Array,
    image: Float[Array, "b h w 3"],
    label: Int[Array, " b"],
  ) -> tuple[Float[Array, "b h w 3"], Int[Array, " b"], Float[Array, ""]]:
    """Changes a batch.

    Args:
      common: key that all devices share: one share of photos holds for a step.
      own: key of this device.
      image: `[b, h, w, 3]`.
      label: int `[b]`.

    Returns:
      The photos, the labels of what was mixed into each, `[b]`, and the share of the
      photos' own labels: labels stay sparse.
    """
    jitter, augment = jax.random.split(own)
    if self.color_jitter:
      image = color_jitter(jitter, image, self.color_jitter)
    if self.rand_augment:
      for operation in jax.random.split(augment, self.rand_augment):
        image = rand_augment(operation, image, self.magnitude)
    share = jnp.ones(())
    which, of_mixup, of_cutmix, place = jax.random.split(common, 4)
    if self.mixup or self.cutmix:
      image, share = jax.lax.cond(
        self._takes_mixup(which),
        lambda: mixup(image, _beta(of_mixup, self.mixup)),
        lambda: cutmix(place, image, _beta(of_cutmix, self.cutmix)),
      )
    return image, label[::-1], share

  def _takes_mixup(self, key: jax.Array) -> jax.Array:
    if self.mixup and self.cutmix:
      return jax.random.bernoulli(key)
    return jnp.asarray(bool(self.mixup))


def mixup(
  image: Float[Array, "b h w 3"], share: Float[Array, ""]
) -> tuple[Float[Array, "b h w 3"], Float[Array, ""]]:
  """`share` of each photo and the rest of its counterpart in the reversed batch."""
  return share * image + (1 - share) * image[::-1], share


def cutmix(
  key: jax.Array, image: Float[Array, "b h w 3"], share: Float[Array, ""]
) -> tuple[Float[Array, "b h w 3"], Float[Array, ""]]:
  """A rectangle of the other photo; returns the share of pixels that are left."""
  height, width = image.shape[1:3]
  side = jnp.sqrt(1 - share)
  rows, columns = side * height, side * width
  y, x = jax.random.uniform(key, (2,)) * jnp.array([height, width], jnp.float32)
  inside = (jnp.abs(_centres(height) - y) <= rows / 2)[:, None] & (
    jnp.abs(_centres(width) - x) <= columns / 2
  )[None]
  mixed = jnp.where(inside[None, :, :, None], image[::-1], image)
  return mixed, 1 - inside.mean(dtype=jnp.float32)


def color_jitter(
  key: jax.Array, image: Float[Array, "b h w 3"], strength: float
) -> Float[Array, "b h w 3"]:
  """Brightness, contrast and saturation, in this order."""
  low, high = 1 - strength, 1 + strength
  factors = jax.random.uniform(key, (3, len(image), 1, 1, 1), minval=low, maxval=high)
  for change, factor in zip((brightness, contrast, saturation), factors, strict=True):
    image = change(image, factor)
  return image


def brightness(
  image: Float[Array, "*b h w 3"], factor: jax.Array
) -> Float[Array, "*b h w 3"]:
  """Towards black, or away from it."""
  return jnp.clip(image * factor, 0, 255)


def contrast(
  image: Float[Array, "*b h w 3"], factor: jax.Array
) -> Float[Array, "*b h w 3"]:
  """Towards the photo's mean grey, or away from it."""
  mean = _grey(image).mean((-3, -2), keepdims=True)
  return jnp.clip(mean + (image - mean) * factor, 0, 255)


def saturation(
  image: Float[Array, "*b h w 3"], factor: jax.Array
) -> Float[Array, "*b h w 3"]:
  """Towards grey, or away from it."""
  grey = _grey(image)
  return jnp.clip(grey + (image - grey) * factor, 0, 255)


def rand_augment(
  key: jax.Array, image: Float[Array, "b h w 3"], magnitude: float
) -> Float[Array, "b h w 3"]:
  """One operation for each photo: a change of colours, or a motion.

  Identity, brightness, contrast, saturation, posterize, solarize; rotation up to 30°,
  shear up to 0.3 and translation up to 0.45 of the side along either axis.
  """

  def one(key: jax.Array, photo: jax.Array) -> jax.Array:
    which, sign = jax.random.split(key)
    signed = magnitude * jax.random.rademacher(sign, (), jnp.float32)
    operation = jax.random.randint(which, (), 0, len(_COLORS) + len(_MOTIONS))
    moved = jnp.clip(operation - len(_COLORS) + 1, 0, len(_MOTIONS))
    colored = jnp.where(operation < len(_COLORS), operation, 0)
    motions = [lambda m, h, w: jnp.eye(2, 3), *_MOTIONS]
    matrix = jax.lax.switch(
      moved, [lambda m, f=f: f(m, *photo.shape[:2]) for f in motions], signed
    )
    changed: jax.Array = jax.lax.switch(colored, _COLORS, affine(photo, matrix), signed)
    return changed

  photos: jax.Array = jax.vmap(one)(jax.random.split(key, len(image)), image)
  return photos


def affine(
  image: Float[Array, "h w c"], matrix: Float[Array, "2 3"]
) -> Float[Array, "h w c"]:
  """`[h, w, c]`, moved: a pixel comes from `matrix @ (y, x, 1)`, from the middle on."""
  height, width = image.shape[:2]
  y = _centres(height)[:, None] - height / 2
  x = _centres(width)[None] - width / 2
  from_y, from_x = (
    a * y + b * x + c + (side - 1) / 2
    for (a, b, c), side in zip(matrix, (height, width), strict=True)
  )

  def channel(plane: jax.Array) -> jax.Array:
    sampled: jax.Array = jax.scipy.ndimage.map_coordinates(
      plane, [from_y, from_x], order=1, mode="constant", cval=_OUTSIDE
    )
    return sampled

  moved: jax.Array = jax.vmap(channel, in_axes=-1, out_axes=-1)(image)
  return moved


def _centres(side: int) -> jax.Array:
  """Middle of each pixel along a side."""
  return jnp.arange(side, dtype=jnp.float32) + 0.5


def _posterize(image: jax.Array, magnitude: jax.Array) -> jax.Array:
  step = 2.0 ** jnp.round(4 * jnp.abs(magnitude))
  return jnp.floor(image / step) * step


def _solarize(image: jax.Array, magnitude: jax.Array) -> jax.Array:
  return jnp.where(image >= 256 * (1 - jnp.abs(magnitude)), 255 - image, image)


_COLORS = [
  lambda image, m: image,
  lambda image, m: brightness(image, 1 + 0.9 * m),
  lambda image, m: contrast(image, 1 + 0.9 * m),
  lambda image, m: saturation(image, 1 + 0.9 * m),
  _posterize,
  _solarize,
]


def _rotation(m: jax.Array, height: int, width: int) -> jax.Array:
  del height, width
  cos, sin = jnp.cos(m * jnp.pi / 6), jnp.sin(m * jnp.pi / 6)
  return jnp.array([[cos, sin, 0.0], [-sin, cos, 0.0]])


_MOTIONS = [
  _rotation,
  lambda m, h, w: jnp.array([[1.0, 0.0, 0.0], [0.3 * m, 1.0, 0.0]]),
  lambda m, h, w: jnp.array([[1.0, 0.3 * m, 0.0], [0.0, 1.0, 0.0]]),
  lambda m, h, w: jnp.array([[1.0, 0.0, 0.45 * m * h], [0.0, 1.0, 0.0]]),
  lambda m, h, w: jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.45 * m * w]]),
]


def _grey(image: jax.Array) -> jax.Array:
  """As Rec. 601 weighs the colours, which Pillow's enhancers use."""
  weights = jnp.array([0.299, 0.587, 0.114])
  return (image * weights.reshape((1,) * (image.ndim - 1) + (3,))).sum(
    -1, keepdims=True
  )


def _beta(key: jax.Array, alpha: float) -> jax.Array:
  return jax.random.beta(key, alpha, alpha) if alpha else jnp.ones(())
