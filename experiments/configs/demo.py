"""A narrow net with all 21,841 outputs, on the sample photos: `make demo`.

  im21k train demo --workdir runs/demo

Hardware: two CPU cores; four virtual CPU devices stand for four GPUs. Time: minutes.
Expected: train top-1 near 100 %; the README shows the last lines.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = "runs/demo-photos"
  config.classes = "imagenet21k"
  config.model = dict(
    name="inception_bn_21k",
    width=0.25,
    remat="none",
    bn_epsilon=1e-5,
    bn_momentum=0.9,
    init_scale=0.3,
  )
  config.batch_size = 32
  config.total = dict(epochs=65)
  config.schedule = dict(name="cosine", peak=0.2, warmup=dict(epochs=5))
  config.optimizer = dict(momentum=0.9, weight_decay=1e-5, decay="all")
  config.augment = dict(crop="straight", mirror=True, order="blockwise")
  config.image_size = 64
  config.devices = 4
  config.sync_bn = True
  config.seed = 0
  config.log_every = dict(epochs=1)
  config.eval_every = dict(epochs=15)
  config.save_every = dict(epochs=15)
  return config
