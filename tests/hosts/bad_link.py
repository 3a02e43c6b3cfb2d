"""A link between two network namespaces that delays packets, and loses some.

  python tests/hosts/bad_link.py DELAY_MS LOSS NAMESPACE ADDRESS NAMESPACE ADDRESS

For kernels without netem: each end is a TUN device, and this process is the wire. It
says `ready` once both are up; killed, it cuts the link.
"""

import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import sys
import time

_TUNSETIFF, _TUN, _NO_INFO = 0x400454CA, 0x0001, 0x1000
_LONGEST = 65_535  # bytes of a packet
_ROUTE = "24"


def end(name: str, namespace: str, address: str) -> int:
  """A device in a namespace; what it sends can be read here, and the reverse."""
  wire = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
  fcntl.ioctl(wire, _TUNSETIFF, struct.pack("16sH", name.encode(), _TUN | _NO_INFO))
  for command in (
    ["ip", "link", "set", name, "netns", namespace],
    ["ip", "-n", namespace, "addr", "add", f"{address}/{_ROUTE}", "dev", name],
    ["ip", "-n", namespace, "link", "set", name, "up"],
  ):
    subprocess.run(command, check=True)
  return wire


def carry(ends: list[int], delay: float, loss: float) -> None:
  """Carries packets from each end to the other, seconds later, but for some of them."""
  chance, order = random.Random(0), itertools.count()
  waiting: list[tuple[float, int, int, bytes]] = []
  while True:
    pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
    for one in select.select(ends, [], [], pause)[0]:
      packet = os.read(one, _LONGEST)
      if chance.random() >= loss:
        other = ends[one == ends[0]]
        due = time.monotonic() + delay
        heapq.heappush(waiting, (due, next(order), other, packet))
    while waiting and waiting[0][0] <= time.monotonic():
      os.write(waiting[0][2], waiting[0][3])
      heapq.heappop(waiting)


def main() -> None:
  """Makes both ends, and is the wire."""
  delay, loss = float(sys.argv[1]) / 1000, float(sys.argv[2])
  pairs = zip(sys.argv[3::2], sys.argv[4::2], strict=True)
  ends = [end(f"tun{number}", *pair) for number, pair in enumerate(pairs)]
  print("ready", flush=True)
  carry(ends, delay, loss)


if __name__ == "__main__":
  main()
