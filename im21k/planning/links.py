"""How cards of one machine are linked -> GB/s of gradients that they can reduce."""

import math

# GB/s in one direction, all links of a card together, by the PCI Express specification
# and the datasheets of the cards.
RAW = {
  "PCIe 3.0 x16": 15.75,
  "PCIe 4.0 x8": 15.75,
  "PCIe 4.0 x16": 31.5,
  "PCIe 5.0 x16": 63.0,
  "NVLink 1": 80.0,
  "NVLink 2": 150.0,
  "NVLink 3": 300.0,
  "NVLink 4": 450.0,
  "NVLink 5": 900.0,
}
# Share of that which a ring of all-reduces uses. Assumed, not measured here: packets
# have headers, and on PCI Express the cards share a host bridge.
SHARE = {"PCIe": 0.65, "NVLink": 0.75}
# Of a card whose file does not say: the slowest of those above.
DEFAULT = "PCIe 3.0 x16"


def usable(link: str) -> float:
  """GB/s in one direction that a ring of all-reduces can use of a link in `RAW`."""
  return round(RAW[link] * SHARE[link.split()[0]], 1)


def reduced_per_second(link_gbs: float, devices: int) -> float:
  """Bytes of gradients that `devices` cards average in a second, in a ring.

  Each card sends and receives 2 (n - 1) / n of the gradients; one alone sends nothing.
  """
  if devices == 1:
    return math.inf
  return link_gbs * 1e9 * devices / (2 * (devices - 1))
