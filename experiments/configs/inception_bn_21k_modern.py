"""All 21,841 classes by the recipe of docs/recipe.md, in the time of nine passes.

  im21k train inception_bn_21k_modern --workdir runs/modern --config.data=PACKED

Hardware: four GPUs of 4 GB and more, 64 photos each at a time. Time: not yet run; by
`im21k plan` 4.5 to 8.1 days on four GTX 1650 (an estimate), as the original's recipe.
Expected: not yet run. The ground: Tiny ImageNet of 32 pixels, where with a net of width
0.125 these parts reach twice the top-1 of the base at equal arithmetic. How they are
scaled to the full net is a reason, not a measurement: docs/recipe.md.
"""

from ml_collections import ConfigDict

from im21k.training import configs


def get_config() -> ConfigDict:
  config = configs.get_config("inception_bn_21k")
  config.model = dict(
    name="inception_bn_21k", remat="fit", bn_epsilon=1e-5, bn_momentum=0.9,
    init_scale=0.1,
  )  # fmt: skip
  config.batch_size = 1024
  config.accumulate = 4
  config.total = dict(epochs=13.5)
  config.schedule = dict(name="linear", peak=0.005, warmup=dict(epochs=0.1))
  config.optimizer = dict(
    name="muon", rms=None, decay="kernels",
    groups=dict(kernels_rate=10.0, head_rate=0.7, biases_rate=0.0),
  )  # fmt: skip
  config.phases = dict(image_sizes=(160, 176), until=dict(epochs=(6, 10.5)))
  config.image_size = 208
  config.eval_size = 256
  return config
