"""The original recipe with a softmax for each level of the WordNet hierarchy.

  im21k train inception_bn_21k_semantic --workdir runs/21k-semantic \
      --config.data=PACKED

Semantic softmax (Ridnik et al. 2021), beside the usual one over all classes.

Hardware: four GPUs of 4 GB. Time: as inception_bn_21k.py; not yet run.
Expected: top-1 near inception_bn_21k.py's, and mistakes that are nearer to the truth.
"""

from ml_collections import ConfigDict

from im21k.training import configs


def get_config() -> ConfigDict:
  config = configs.get_config("inception_bn_21k")
  config.loss = dict(name="semantic_softmax", flat=0.5)
  return config
