"""Ways to pack, each run by `pack.py` in a process of its own.

`python packers.py NAME PHOTOS OUT` prints one JSON object: `images`, the processor time
of the job an image in ms (this process and its children, since what it imports was
loaded), and that of loading, `startup_s`. PHOTOS holds synset folders; of the others
the list of files is made before, of ours it is part of the job. The interpreter needs
only what that way needs.
"""

import contextlib
import json
import multiprocessing
import resource
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path

SHORT, QUALITY = 256, 90
LONG = 341  # of 4:3 photos with that short side, for those that limit the longer one
Job = Callable[[], object]


def bare(files: list[Path], out: Path) -> Job:
  from array_record.python.array_record_module import ArrayRecordWriter

  def job() -> None:
    writer = ArrayRecordWriter(str(out / "a"), "group_size:1,uncompressed")
    for file in files:
      writer.write(file.read_bytes())
    writer.close()

  return job


def bare_resize(files: list[Path], out: Path) -> Job:
  import cv2
  import simplejpeg
  from array_record.python.array_record_module import ArrayRecordWriter

  def job() -> None:
    writer = ArrayRecordWriter(str(out / "a"), "group_size:1,uncompressed")
    for file in files:
      data = file.read_bytes()
      pixels = simplejpeg.decode_jpeg(data)
      h, w = pixels.shape[:2]
      if min(h, w) > SHORT:
        size = round(w * SHORT / min(h, w)), round(h * SHORT / min(h, w))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        data = simplejpeg.encode_jpeg(small, QUALITY, "RGB", "420")
      writer.write(data)
    writer.close()

  return job


def ours(files: list[Path], out: Path, **options: object) -> Job:
  from im21k import synsets
  from im21k.packing.pack import pack

  synsets.imagenet21k()
  source = files[0].parent.parent
  return lambda: pack(source, out / "packed", workers=1, **options)


def mds(files: list[Path], out: Path) -> Job:
  _stub_torchvision()
  from streaming import MDSWriter

  def job() -> None:
    with MDSWriter(out=str(out / "mds"), columns={"x": "bytes", "y": "int"}) as writer:
      for file in files:
        writer.write({"x": file.read_bytes(), "y": 1})

  return job


def webdataset(files: list[Path], out: Path) -> Job:
  import webdataset

  def job() -> None:
    with webdataset.ShardWriter(str(out / "%05d.tar"), maxsize=1e9, verbose=0) as tar:
      for i, file in enumerate(files):
        tar.write({"__key__": str(i), "jpg": file.read_bytes(), "cls": 1})

  return job


def litdata(files: list[Path], out: Path) -> Job:
  _stub_torchvision()
  import litdata

  paths = [str(file) for file in files]
  options = {"num_workers": 1, "chunk_bytes": "64MB", "verbose": False}
  return lambda: litdata.optimize(_read_for_litdata, paths, str(out / "lit"), **options)


def _read_for_litdata(path: str) -> dict:
  return {"image": Path(path).read_bytes(), "label": 1}


def im2rec(files: list[Path], out: Path, *options: str) -> Job:
  import cv2  # noqa: F401
  import mxnet

  root = files[0].parent.parent
  lines = (f"{i}\t1\t{file.relative_to(root)}\n" for i, file in enumerate(files))
  (out / "all.lst").write_text("".join(lines))
  script = str(Path(mxnet.__file__).parent / "tools" / "im2rec.py")
  sys.argv = [script, *options, "--num-thread", "1", str(out / "all.lst"), str(root)]
  return lambda: runpy.run_path(script, run_name="__main__")


def ffcv(files: list[Path], out: Path, longest: int | None = None) -> Job:
  from ffcv.fields import IntField, RGBImageField
  from ffcv.writer import DatasetWriter
  from PIL import Image

  class Photos:
    def __len__(self) -> int:
      return len(files)

    def __getitem__(self, index: int) -> tuple:
      return Image.open(files[index]), 1

  image = RGBImageField(write_mode="jpg", max_resolution=longest, jpeg_quality=QUALITY)
  fields = {"image": image, "label": IntField()}
  writer = DatasetWriter(str(out / "a.beton"), fields, num_workers=1)
  return lambda: writer.from_indexed_dataset(Photos())


def _stub_torchvision() -> None:
  """Its operators are missing beside a torch that was built by others."""
  from torch import library

  for name in ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool"):
    library.define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")


def _cpu() -> float:
  used = [
    resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
  ]
  return sum(u.ru_utime + u.ru_stime for u in used)


WAYS: dict[str, Callable[[list[Path], Path], Job]] = {
  "bare": bare,
  "im21k direct": lambda *a: ours(*a, check="header", shuffle="direct"),
  "im21k external": lambda *a: ours(*a, check="header", shuffle="external"),
  "im21k direct, decoded": lambda *a: ours(*a, shuffle="direct"),
  "mds": mds,
  "webdataset": webdataset,
  "litdata": litdata,
  "im2rec": lambda *a: im2rec(*a, "--pass-through"),
  "ffcv": ffcv,
  "bare resize": bare_resize,
  "im21k resize": lambda *a: ours(*a, resize=SHORT, shuffle="direct"),
  "im2rec resize": lambda *a: im2rec(
    *a, "--resize", str(SHORT), "--quality", str(QUALITY)
  ),
  "ffcv resize": lambda *a: ffcv(*a, LONG),
}


def main() -> None:
  name, photos, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
  files = sorted(photos.glob("*/*"))
  listed = _cpu()
  job = WAYS[name](files, out)
  startup = _cpu() - listed
  for file in files:
    file.read_bytes()
  time.sleep(2)
  loaded = _cpu()
  with contextlib.suppress(SystemExit):  # im2rec is a script.
    job()
  for child in multiprocessing.active_children():
    child.join()
  row = {
    "way": name,
    "images": len(files),
    "cpu_ms": round(1e3 * (_cpu() - loaded) / len(files), 4),
    "startup_s": round(startup, 3),
  }
  print("\n" + json.dumps(row))


if __name__ == "__main__":
  main()
