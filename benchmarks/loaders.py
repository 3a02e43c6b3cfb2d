"""Loaders to compare, each run by `load.py` in a process of its own.

`python loaders.py NAME TASK FOLDER BATCHES` prints one JSON object. The interpreter
needs only what that loader needs. FOLDER holds `full/` and `small/`: JPEGs in synset
folders, and beside them what `load.py` and the loaders themselves pack.

Tasks: `full`: random area and aspect, resized bilinearly to 224, mirrored at random.
`small`: a random square of 224, mirrored at random.
"""

import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

BATCH, SIZE, THREADS = 128, 224, int(os.environ.get("LOADER_THREADS", "2"))


def ours(task: str, folder: Path) -> Iterator:
  from im21k.loading.train import TrainLoader

  crop = {"full": "inception", "small": "straight"}[task]
  packed = folder / f"{task}_packed"
  return TrainLoader(packed, batch_size=BATCH, crop=crop, threads=THREADS).iter_from(0)


def grain_simplejpeg(task: str, folder: Path) -> Iterator:
  """What one writes with grain and the usual libraries in ten minutes."""
  import cv2
  import grain
  import numpy as np
  import simplejpeg

  from im21k.dataset import records
  from im21k.photos.crops import RandomResizedCrop, StraightCrop

  shards = sorted(str(p) for p in (folder / f"{task}_packed").glob("train-*"))
  crop = RandomResizedCrop(SIZE) if task == "full" else StraightCrop(SIZE, 256)

  class Augment(grain.transforms.RandomMap):
    def random_map(self, record, rng):
      example = records.decode(record)
      image = simplejpeg.decode_jpeg(example.jpeg, strict=False)
      top, left, h, w = crop.draw(*image.shape[:2], rng)
      image = cv2.resize(image[top : top + h, left : left + w], (SIZE, SIZE))
      if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
      return image, np.int32(example.label)

  source = grain.sources.ArrayRecordDataSource(shards)
  data = grain.MapDataset.source(source).seed(0).shuffle().repeat()
  data = data.random_map(Augment()).batch(BATCH)
  reading = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=4)
  return iter(data.to_iter_dataset(reading))


def tfdata(task: str, folder: Path) -> Iterator:
  os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
  import tensorflow as tf

  path = folder / f"{task}.tfrecord"
  if not path.exists():
    paths = sorted((folder / task).glob("*/*.jpg"))
    random.Random(0).shuffle(paths)
    with tf.io.TFRecordWriter(str(path)) as writer:
      for photo in paths:
        image = tf.train.BytesList(value=[photo.read_bytes()])
        label = tf.train.Int64List(value=[1])
        feature = {
          "image": tf.train.Feature(bytes_list=image),
          "label": tf.train.Feature(int64_list=label),
        }
        features = tf.train.Features(feature=feature)
        writer.write(tf.train.Example(features=features).SerializeToString())

  def parse(record):
    example = tf.io.parse_single_example(
      record,
      {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
      },
    )
    jpeg = example["image"]
    shape = tf.io.extract_jpeg_shape(jpeg)
    if task == "full":
      begin, size, _ = tf.image.sample_distorted_bounding_box(
        shape,
        tf.zeros([1, 0, 4]),
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
      )
      window = tf.concat([begin[:2], size[:2]], 0)
      image = tf.io.decode_and_crop_jpeg(jpeg, window, channels=3)
      image = tf.cast(tf.image.resize(image, [SIZE, SIZE]), tf.uint8)
    else:
      top = tf.random.uniform([], 0, shape[0] - SIZE + 1, tf.int32)
      left = tf.random.uniform([], 0, shape[1] - SIZE + 1, tf.int32)
      window = tf.stack([top, left, SIZE, SIZE])
      image = tf.io.decode_and_crop_jpeg(jpeg, window, channels=3)
    return tf.image.random_flip_left_right(image), example["label"]

  data = tf.data.TFRecordDataset(str(path)).repeat().shuffle(512)
  data = data.map(parse, num_parallel_calls=THREADS)
  data = data.batch(BATCH, drop_remainder=True).prefetch(2)
  options = tf.data.Options()
  options.threading.private_threadpool_size = THREADS
  return iter(data.with_options(options).as_numpy_iterator())


def dali(task: str, folder: Path) -> Iterator:
  from nvidia.dali import fn, pipeline_def, types

  @pipeline_def(
    batch_size=BATCH, num_threads=THREADS, device_id=None, prefetch_queue_depth=2
  )
  def pipeline():
    jpegs, labels = fn.readers.file(
      file_root=str(folder / task), random_shuffle=True, initial_fill=512
    )
    if task == "full":
      images = fn.decoders.image_random_crop(
        jpegs, device="cpu", random_area=[0.08, 1.0], random_aspect_ratio=[3 / 4, 4 / 3]
      )
      images = fn.resize(
        images, size=[SIZE, SIZE], interp_type=types.INTERP_LINEAR, antialias=False
      )
    else:
      place = {f"crop_pos_{axis}": fn.random.uniform(range=(0, 1)) for axis in "xy"}
      images = fn.decoders.image_crop(jpegs, device="cpu", crop=(SIZE, SIZE), **place)
    return fn.flip(images, horizontal=fn.random.coin_flip()), labels

  built = pipeline()
  built.build()
  while True:
    yield built.run()


def webdataset(task: str, folder: Path) -> Iterator:
  import cv2
  import numpy as np
  import simplejpeg
  import webdataset as wds

  path = folder / f"{task}-000000.tar"
  if not path.exists():
    photos = sorted((folder / task).glob("*/*.jpg"))
    random.Random(0).shuffle(photos)
    with wds.TarWriter(str(path)) as writer:
      for i, photo in enumerate(photos):
        writer.write({"__key__": f"{i:08d}", "jpg": photo.read_bytes(), "cls": "1"})
  draw = random.Random(0)

  def augment(jpeg):
    image = simplejpeg.decode_jpeg(jpeg, strict=False)
    height, width = image.shape[:2]
    h = w = SIZE
    if task == "full":
      for _ in range(10):
        area = height * width * draw.uniform(0.08, 1)
        ratio = draw.uniform(3 / 4, 4 / 3)
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if w <= width and h <= height:
          break
      else:
        h = w = min(height, width)
    top, left = draw.randint(0, height - h), draw.randint(0, width - w)
    image = cv2.resize(image[top : top + h, left : left + w], (SIZE, SIZE))
    return np.ascontiguousarray(image[:, ::-1]) if draw.random() < 0.5 else image

  data = wds.WebDataset([str(path)] * THREADS, shardshuffle=False).repeat()
  data = data.shuffle(512).map_dict(jpg=augment).to_tuple("jpg", "cls")
  return iter(wds.WebLoader(data.batched(BATCH), batch_size=None, num_workers=THREADS))


LOADERS: dict[str, Callable[[str, Path], Iterator]] = {
  "im21k": ours,
  "grain": grain_simplejpeg,
  "tfdata": tfdata,
  "dali": dali,
  "webdataset": webdataset,
}


def cpu_seconds() -> float:
  used = resource.getrusage(resource.RUSAGE_SELF)
  seconds = used.ru_utime + used.ru_stime
  children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
  for child in children:
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    seconds += (int(fields[11]) + int(fields[12])) / 100
  return seconds


def main() -> None:
  name, task, folder, batches = sys.argv[1:]
  start = time.perf_counter()
  loader = LOADERS[name](task, Path(folder))
  next(loader)
  first = time.perf_counter() - start
  for _ in range(5):
    next(loader)
  cpu, start, count = cpu_seconds(), time.perf_counter(), int(batches)
  for _ in range(count):
    next(loader)
  wall, cpu = time.perf_counter() - start, cpu_seconds() - cpu
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  row = {
    "peer": name,
    "task": task,
    "images_per_s": round(count * BATCH / wall, 1),
    "cpu_ms_per_image": round(1e3 * cpu / count / BATCH, 4),
    "first_batch_s": round(first, 2),
    "peak_rss_mb": round(peak, 1),
    "threads": THREADS,
  }
  print(json.dumps(row), flush=True)
  os._exit(0)  # Some loaders' threads do not end.


if __name__ == "__main__":
  main()
