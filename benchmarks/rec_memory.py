"""Memory of reading a .rec file, whatever its size.

  python benchmarks/rec_memory.py

The files are sparse: records of 4 MB whose bytes are zeros take no room on the disk.
One JSON line per row: gigabytes of the file, records read, peak of the process in MB.
"""

import json
import resource
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from im21k.interop import recordio

RECORD = 4 << 20


def main() -> None:
  if len(sys.argv) == 2:
    count = sum(len(data) == RECORD for _, data in recordio.read(Path(sys.argv[1])))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"records": count, "peak_mb": round(peak, 1)}))
    return
  with tempfile.TemporaryDirectory() as folder:
    for gigabytes in (0.1, 1, 10):
      path = Path(folder) / "sparse.rec"
      with path.open("wb") as file:
        for _ in range(int(gigabytes * 1e9) // (RECORD + 8)):
          file.write(recordio.MAGIC + struct.pack("<I", RECORD))
          file.seek(RECORD, 1)
        file.truncate()
      done = subprocess.run(
        [sys.executable, __file__, str(path)],
        capture_output=True,
        text=True,
        check=True,
      )
      print(json.dumps({"gb": gigabytes, **json.loads(done.stdout)}), flush=True)


if __name__ == "__main__":
  main()
