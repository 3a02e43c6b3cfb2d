"""The original recipe with a softmax for each level of the WordNet hierarchy.

  python experiments/run.py --config=experiments/configs/inception_bn_21k_semantic.py \
      --workdir=runs/21k-semantic --config.data=PACKED

Semantic softmax of Ridnik et al. 2021, beside the usual one over all classes.

Hardware: four GPUs of 4 GB. Time: as inception_bn_21k.py; not yet run.
Expected: top-1 near inception_bn_21k.py's, and mistakes that are nearer to the truth.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = "data/imagenet21k"
  config.classes = "imagenet21k"
  config.model = dict(name="inception_bn_21k", remat="block")
  config.loss = dict(name="semantic_softmax", flat=0.5)
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
  config.reference = dict(
    label="original, end of pass",
    images_per_pass=14197087,
    top_1=(11.7, 20.0, 21.9, 22.7, 29.8, 30.3, 33.3, 33.6, 37.2),
  )
  return config
