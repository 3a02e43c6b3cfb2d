"""The original recipe with labels smoothed over the WordNet hierarchy.

  im21k train inception_bn_21k_smoothed --workdir runs/21k-smoothed \
      --config.data=PACKED

Soft labels: Bertinetto et al. 2020.

Hardware: four GPUs of 4 GB. Time: as inception_bn_21k.py; not yet run.
Expected: top-1 near inception_bn_21k.py's, and mistakes that are nearer to the truth.
"""

from ml_collections import ConfigDict

from im21k.training import configs


def get_config() -> ConfigDict:
  config = configs.get_config("inception_bn_21k")
  config.loss = dict(name="smoothed", beta=30.0)
  return config
