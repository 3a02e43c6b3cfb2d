"""Every number of the 2015 system that this project repeats or is compared with, once.

The original is an MXNet run of 2015: one Inception-BN over all of ImageNet (fall 2011),
trained on one machine. Sources: its published description ("Training deep net on 14
million images by using a single machine", MXNet tutorial `imagenet_full`), the page of
its released weights (MXNet model gallery, `imagenet-21k-inception`) and MXNet's sources
of that time. Not published: how the scores over 1,000 classes were restricted, and any
score on held-out photos of all 21,841 classes.

The widths of the layers are in `models/inception_bn.py`, the names and file formats of
the released arrays in `convert/` and `interop/`.
"""

# Data: JPEGs of the fall 2011 release that could be packed, and their classes.
IMAGES = 14_197_087
CLASSES = 21_841
SHORT_SIDE = 256  # pixels to which the short side of a photo was resized
JPEG_QUALITY = 80  # at which it was packed; 17.6 KB an image, 250 GB in all

# Input: random squares with mirroring, RGB on the scale 0-255, no division.
IMAGE_SIZE = 224
MEAN = 117.0

# Machine: four GTX 980 of 4 GiB each.
DEVICES = 4
IMAGES_PER_SECOND = 170.0  # about; 23 hours a pass, 8.5 days for all passes

# Recipe: SGD, m = MOMENTUM m - rate (gradient + WEIGHT_DECAY w); w += m. The decay
# applies to every parameter, biases and BatchNorm's included.
PASSES = 9
BATCH_SIZE = 64  # over all devices, 16 each
LEARNING_RATES = (0.05, 0.01, 0.005, 0.001)
RATE_CHANGES = (4, 6, 8)  # passes after which the next learning rate applies
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-5

# Model: kernels start uniform in +- INIT_SCALE, biases at 0. BatchNorm divides by
# sqrt(variance + BN_EPSILON), and moving = BN_MOMENTUM moving + (1 - BN_MOMENTUM)
# batch, so that the released statistics are almost those of the last batch.
INIT_SCALE = 0.01
BN_EPSILON = 1e-10
BN_MOMENTUM = 0.1
PARAMETERS = 33_619_969
STATISTICS = 21_600

# Percent of training photos that were right at the end of each pass, in training mode:
# the running metric, not an evaluation. Read off the published curve (+- 0.5); the last
# is also given as 37.19.
TRAIN_TOP_1 = (11.7, 20.0, 21.9, 22.7, 29.8, 30.3, 33.3, 33.6, 37.2)

# Percent of ILSVRC2012's validation photos: top-1, top-5 and top-20, with answers among
# all 21,841 classes and among the classes of ILSVRC2012.
VALIDATION_TOP_K = {"all": (41.9, 69.6, 83.6), "ilsvrc2012": (68.3, 89.0, 96.0)}

# Marks for a learning curve: see `training.log.draw_learning_curve`.
LEARNING_CURVE = {
  "label": "original, end of pass",
  "images_per_pass": IMAGES,
  "top_1": TRAIN_TOP_1,
}
