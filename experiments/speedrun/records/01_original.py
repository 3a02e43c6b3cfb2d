"""The recipe of 2015: nine passes, batch 64, rates in steps.

make record RECORD=1 PHOTOS=tiny_imagenet_subset.tar
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = "runs/speedrun/data"
  config.classes = "imagenet21k"
  config.model = dict(name="inception_bn_21k", width=0.25)
  config.batch_size = 64
  config.total = dict(epochs=9)
  config.schedule = dict(
    name="stepwise", rates=(0.05, 0.01, 0.005, 0.001), until=dict(epochs=(4, 6, 8))
  )
  config.optimizer = dict(momentum=0.9, weight_decay=1e-5, decay="all")
  config.augment = dict(crop="straight", mirror=True, order="blockwise")
  config.image_size = 64
  config.devices = 1
  config.log_every = dict(epochs=1)
  config.eval_every = dict(epochs=9)
  config.save_every = dict(epochs=9)
  return config
