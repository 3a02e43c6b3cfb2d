"""The plain net on ILSVRC2012, with a cosine schedule and the Inception crop.

  im21k train inception_bn_1k --workdir runs/1k --config.data=PACKED

Pack with `--classes ilsvrc2012`. Hardware: four GPUs of 4 GB and more.
Time: not yet run. Expected: not yet run.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = "data/ilsvrc2012"
  config.classes = "ilsvrc2012"
  config.model = dict(
    name="inception_bn_1k", remat="fit", bn_epsilon=1e-5, bn_momentum=0.9
  )
  config.batch_size = 256
  config.total = dict(epochs=60)
  config.schedule = dict(name="cosine", peak=0.2, warmup=dict(epochs=3))
  config.optimizer = dict(momentum=0.9, weight_decay=5e-5, decay="kernels")
  config.augment = dict(crop="inception", mirror=True, order="blockwise")
  config.image_size = 224
  config.devices = 4
  config.sync_bn = False
  config.seed = 0
  config.log_every = dict(steps=100)
  config.eval_every = dict(epochs=1)
  config.save_every = dict(epochs=1)
  return config
