"""Worker processes hand batches over in shared memory: is there room for them?

In: how many processes, and the size of a batch. Out: an error before they start, for a
process that writes where no memory is left is killed.
"""

import shutil
from pathlib import Path

FOLDER = Path("/dev/shm")
# Most batches that were there at a time: of each process, made, sent and taken over;
# beside these, on their way to the devices.
_OF_EACH, _BESIDE = 5, 4


def check(workers: int, size: int) -> None:
  """Refuses more batches than there is shared memory for.

  Args:
    workers: processes that make batches.
    size: of a batch, bytes.

  Raises:
    ValueError: there is too little.
  """
  if not workers or not FOLDER.is_dir():  # Other systems have no such limit.
    return
  batches = workers * _OF_EACH + _BESIDE
  free = shutil.disk_usage(FOLDER).free
  if batches * size > free:
    needed = -(-batches * size // 10**6)
    raise ValueError(
      f"{FOLDER} has {free / 1e6:,.0f} MB free, but {workers} worker processes hand "
      f"over up to {batches} batches of {size / 1e6:,.1f} MB there: enlarge it (docker "
      f"run --shm-size={needed}m), take a smaller batch, or make batches in threads "
      "alone (workers 0)"
    )
