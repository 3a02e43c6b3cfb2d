"""The original recipe: all 21,841 classes, nine passes, on four GPUs.

  im21k train inception_bn_21k --workdir runs/21k --config.data=PACKED

Hardware: four GPUs of 4 GB. Time: 8.5 days in 2015 on four GTX 980; here not yet run.
Expected: train top-1 37.2 % at the end of pass 9; on ILSVRC2012 val, over its 1,000
classes, top-1 68.3 %, top-5 89.0 % (the original's figures).
"""

from ml_collections import ConfigDict

from im21k import original


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = "data/imagenet21k"
  config.classes = "imagenet21k"
  config.model = dict(name="inception_bn_21k", remat="fit")
  config.batch_size = 64
  config.total = dict(epochs=9)
  config.schedule = dict(
    name="stepwise", rates=(0.05, 0.01, 0.005, 0.001), until=dict(epochs=(4, 6, 8))
  )
  config.optimizer = dict(momentum=0.9, weight_decay=1e-5, decay="all")
  config.augment = dict(crop="straight", mirror=True, order="blockwise")
  config.image_size = 224
  config.devices = 4
  config.sync_bn = False
  config.seed = 0
  config.log_every = dict(steps=100)
  config.eval_every = dict(epochs=0.25)
  config.save_every = dict(steps=5000)
  config.reference = original.LEARNING_CURVE
  return config
