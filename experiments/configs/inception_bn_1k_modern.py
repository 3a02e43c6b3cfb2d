"""The plain net on ILSVRC2012 by the recipe of docs/recipe.md, in 18 passes.

  im21k train inception_bn_1k_modern --workdir runs/1k-modern --config.data=PACKED

Pack with `--classes ilsvrc2012`. Hardware: four GPUs of 4 GB and more. Time: not yet
run; by `im21k plan` 8 to 15 hours on four GTX 1650 (an estimate). Expected: not yet
run. It sees its photos oftener than `inception_bn_21k_modern`: hence the random crop.
"""

from ml_collections import ConfigDict

from im21k.training import configs


def get_config() -> ConfigDict:
  config = configs.get_config("inception_bn_21k_modern")
  config.data = "data/ilsvrc2012"
  config.classes = "ilsvrc2012"
  config.model.name = "inception_bn_1k"
  config.total = dict(epochs=18)
  config.schedule.warmup = dict(epochs=1)
  config.augment = dict(crop="inception", mirror=True, order="blockwise")
  config.phases.until = dict(epochs=(8, 14))
  config.reference = None
  return config
