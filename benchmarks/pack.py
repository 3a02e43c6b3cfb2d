"""CPU time of packing an image, beside bare loops and other formats: JSON rows.

    python benchmarks/pack.py PHOTOS [--webdataset PYTHON] [--streaming PYTHON]

PHOTOS is a folder of synset folders; it is read once before. Every row is a process of
its own (`workers=1`); `cpu_ms` is its user and system time an image, without start-up.
Peers run in the Python that is named.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

_START = """
import io, json, os, sys, pathlib
photos, out, way = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
files = sorted(photos.glob("*/*"))
def cpu():
  t = os.times()
  return t.user + t.system + t.children_user + t.children_system
"""
_END = """
print(json.dumps({"way": way, "images": len(files),
                  "cpu_ms": round(1e3 * (cpu() - start) / len(files), 4)}))
"""
_BARE = """
from array_record.python.array_record_module import ArrayRecordWriter
import simplejpeg, cv2, numpy
start = cpu()
writer = ArrayRecordWriter(str(out / "a.array_record"), "group_size:1,uncompressed")
for file in files:
  data = file.read_bytes()
  if way == "bare resize":
    pixels = simplejpeg.decode_jpeg(data)
    h, w = pixels.shape[:2]
    if min(h, w) > 256:
      size = round(w * 256 / min(h, w)), round(h * 256 / min(h, w))
      pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
      data = simplejpeg.encode_jpeg(pixels, 90, "RGB", "420")
  writer.write(data)
writer.close()
"""
_OURS = """
from im21k.data import pack
from im21k import synsets
synsets.imagenet21k()
OPTIONS = {
  "im21k direct": {"check": "header", "shuffle": "direct"},
  "im21k external": {"check": "header", "shuffle": "external"},
  "im21k direct, every photo decoded": {"shuffle": "direct"},
  "im21k resize": {"resize": 256, "shuffle": "direct"},
}
start = cpu()
pack(photos, out / "packed", workers=1, unlisted="skip", **OPTIONS[way])
"""
_WEBDATASET = """
import webdataset
start = cpu()
with webdataset.ShardWriter(str(out / "%05d.tar"), maxsize=1e9, verbose=0) as writer:
  for i, file in enumerate(files):
    writer.write({"__key__": str(i), "jpg": file.read_bytes(), "cls": 1})
"""
_STREAMING = """
from streaming import MDSWriter
start = cpu()
with MDSWriter(out=str(out / "mds"), columns={"x": "bytes", "y": "int"}) as writer:
  for file in files:
    writer.write({"x": file.read_bytes(), "y": 1})
"""


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("photos", type=Path)
  parser.add_argument("--webdataset", help="a Python that has it")
  parser.add_argument("--streaming", help="a Python that has mosaicml-streaming")
  arguments = parser.parse_args()
  for file in arguments.photos.glob("*/*"):
    file.read_bytes()
  ours = (
    "im21k direct",
    "im21k external",
    "im21k direct, every photo decoded",
    "im21k resize",
  )
  rows = [
    (sys.executable, "bare", _BARE),
    *((sys.executable, way, _OURS) for way in ours),
    (sys.executable, "bare resize", _BARE),
    (arguments.webdataset, "WebDataset", _WEBDATASET),
    (arguments.streaming, "MDS", _STREAMING),
  ]
  for python, way, script in rows:
    if python:
      with tempfile.TemporaryDirectory() as out:
        command = [python, "-c", _START + script + _END, arguments.photos, out, way]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(json.dumps(json.loads(done.stdout.splitlines()[-1])), flush=True)


if __name__ == "__main__":
  main()
