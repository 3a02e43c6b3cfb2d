"""The figures of cards that are known by name, each with the source they come from.

Columns of a row: title; CUDA compute capability; multiprocessors; float32 units of
each; GHz (boost); GiB; GB/s of memory; MiB of second-level cache; TFLOP/s of float32
and of bfloat16 convolutions (see `cards.Gpu`; dense, GeForce's with float32 sums); link
(`links.RAW`); what else is said of the card where its name is written out; source.
"""

from typing import Any

_MAXWELL = "GeForce GTX 980 whitepaper (Maxwell)"
_PASCAL = "GeForce GTX 1080 whitepaper (Pascal)"
_P100 = "Tesla P100 whitepaper and datasheet"
_V100 = "Tesla V100 whitepaper and datasheet"
_TURING = "Turing TU102/TU104/TU106 whitepaper"
_GA102 = "Ampere GA102 whitepaper"
_A100 = "A100 whitepaper and datasheet"
_ADA = "Ada whitepaper"
_HOPPER = "H100 whitepaper and datasheet"
_PRODUCT = "product specification"
_G3, _G4, _G5 = "PCIe 3.0 x16", "PCIe 4.0 x16", "PCIe 5.0 x16"

ROWS: dict[str, tuple[Any, ...]] = {
  # Kepler and Maxwell. A Tesla K80 and an M60 have two dies, each a device of its own.
  "k80": (
    "Tesla K80, one of its two dies", (3, 7), 13, 192, 0.875, 12, 240, 1.5,
    4.37, 4.37, _G3, "12gb gddr5", "Tesla K80 board specification",
  ),
  "m60": (
    "Tesla M60, one of its two dies", (5, 2), 16, 128, 1.178, 8, 160, 2,
    4.83, 4.83, _G3, "8gb gddr5", "Tesla M60 product brief",
  ),
  "gtx980": (
    "GeForce GTX 980", (5, 2), 16, 128, 1.216, 4, 224, 2,
    4.98, 4.98, _G3, "4gb gddr5", _MAXWELL,
  ),
  "gtx980ti": (
    "GeForce GTX 980 Ti", (5, 2), 22, 128, 1.075, 6, 336.5, 3,
    6.05, 6.05, _G3, "6gb gddr5", _PRODUCT,
  ),
  "titanx-maxwell": (
    "GeForce GTX TITAN X (Maxwell)", (5, 2), 24, 128, 1.075, 12, 336.5, 3,
    6.6, 6.6, _G3, "maxwell 12gb gddr5", _PRODUCT,
  ),
  # Pascal.
  "p100": (
    "Tesla P100 PCIe, 16 GB", (6, 0), 56, 64, 1.303, 16, 732, 4,
    9.3, 9.3, _G3, "pcie 16gb hbm2", _P100,
  ),
  "p100-sxm2": (
    "Tesla P100 SXM2, 16 GB", (6, 0), 56, 64, 1.48, 16, 732, 4,
    10.6, 10.6, "NVLink 1", "sxm sxm2 16gb hbm2", _P100,
  ),
  "gtx1060-6gb": (
    "GeForce GTX 1060, 6 GB", (6, 1), 10, 128, 1.708, 6, 192, 1.5,
    4.37, 4.37, _G3, "6gb gddr5", _PRODUCT,
  ),
  "gtx1070": (
    "GeForce GTX 1070", (6, 1), 15, 128, 1.683, 8, 256, 2,
    6.46, 6.46, _G3, "8gb gddr5", _PRODUCT,
  ),
  "gtx1080": (
    "GeForce GTX 1080", (6, 1), 20, 128, 1.733, 8, 320, 2,
    8.87, 8.87, _G3, "8gb gddr5x", _PASCAL,
  ),
  "gtx1080ti": (
    "GeForce GTX 1080 Ti", (6, 1), 28, 128, 1.582, 11, 484, 2.75,
    11.3, 11.3, _G3, "11gb gddr5x", _PRODUCT,
  ),
  "titanx-pascal": (
    "TITAN X (Pascal)", (6, 1), 28, 128, 1.531, 12, 480, 3,
    11.0, 11.0, _G3, "pascal 12gb gddr5x", _PRODUCT,
  ),
  "p4": (
    "Tesla P4", (6, 1), 20, 128, 1.063, 8, 192, 2,
    5.44, 5.44, _G3, "pcie 8gb gddr5", "Tesla P4 datasheet",
  ),
  "p40": (
    "Tesla P40", (6, 1), 30, 128, 1.531, 24, 346, 3,
    11.76, 11.76, _G3, "pcie 24gb gddr5", "Tesla P40 datasheet",
  ),
  # Volta.
  "v100": (
    "Tesla V100 SXM2, 16 GB", (7, 0), 80, 64, 1.53, 16, 900, 6,
    15.7, 15.7, "NVLink 2", "sxm sxm2 16gb hbm2", _V100,
  ),
  "v100-sxm2-32gb": (
    "Tesla V100 SXM2, 32 GB", (7, 0), 80, 64, 1.53, 32, 900, 6,
    15.7, 15.7, "NVLink 2", "sxm sxm2 32gb hbm2", _V100,
  ),
  "v100-pcie-16gb": (
    "Tesla V100 PCIe, 16 GB", (7, 0), 80, 64, 1.38, 16, 900, 6,
    14.0, 14.0, _G3, "pcie 16gb hbm2", _V100,
  ),
  "v100-pcie-32gb": (
    "Tesla V100 PCIe, 32 GB", (7, 0), 80, 64, 1.38, 32, 900, 6,
    14.0, 14.0, _G3, "pcie 32gb hbm2", _V100,
  ),
  # Turing.
  "gtx1650": (
    "GeForce GTX 1650", (7, 5), 14, 64, 1.665, 4, 128, 1,
    3.0, 3.0, _G3, "4gb gddr5", _PRODUCT,
  ),
  "gtx1660ti": (
    "GeForce GTX 1660 Ti", (7, 5), 24, 64, 1.77, 6, 288, 1.5,
    5.4, 5.4, _G3, "6gb gddr6", _PRODUCT,
  ),
  "rtx2060": (
    "GeForce RTX 2060", (7, 5), 30, 64, 1.68, 6, 336, 3,
    6.45, 6.45, _G3, "6gb gddr6", _PRODUCT,
  ),
  "rtx2070": (
    "GeForce RTX 2070", (7, 5), 36, 64, 1.62, 8, 448, 4,
    7.5, 7.5, _G3, "8gb gddr6", _TURING,
  ),
  "rtx2080": (
    "GeForce RTX 2080", (7, 5), 46, 64, 1.71, 8, 448, 4,
    10.1, 10.1, _G3, "8gb gddr6", _TURING,
  ),
  "rtx2080ti": (
    "GeForce RTX 2080 Ti", (7, 5), 68, 64, 1.545, 11, 616, 5.5,
    13.4, 13.4, _G3, "11gb gddr6", _TURING,
  ),
  "titanrtx": (
    "TITAN RTX", (7, 5), 72, 64, 1.77, 24, 672, 6,
    16.3, 16.3, _G3, "24gb gddr6", _TURING,
  ),
  "t4": (
    "Tesla T4", (7, 5), 40, 64, 1.59, 16, 320, 4,
    8.1, 8.1, _G3, "pcie 16gb gddr6", "T4 datasheet",
  ),
  # Ampere.
  "a30": (
    "A30", (8, 0), 56, 64, 1.44, 24, 933, 24,
    82.0, 165.0, _G4, "pcie 24gb hbm2", "A30 datasheet",
  ),
  "a100": (
    "A100 SXM4, 40 GB", (8, 0), 108, 64, 1.41, 40, 1555, 40,
    156.0, 312.0, "NVLink 3", "sxm sxm4 40gb hbm2", _A100,
  ),
  "a100-sxm4-80gb": (
    "A100 SXM4, 80 GB", (8, 0), 108, 64, 1.41, 80, 2039, 40,
    156.0, 312.0, "NVLink 3", "sxm sxm4 80gb hbm2e", _A100,
  ),
  "a100-pcie-40gb": (
    "A100 PCIe, 40 GB", (8, 0), 108, 64, 1.41, 40, 1555, 40,
    156.0, 312.0, _G4, "pcie 40gb hbm2", _A100,
  ),
  "a100-pcie-80gb": (
    "A100 PCIe, 80 GB", (8, 0), 108, 64, 1.41, 80, 1935, 40,
    156.0, 312.0, _G4, "pcie 80gb hbm2e", _A100,
  ),
  "rtx3050-4gb": (
    "GeForce RTX 3050 laptop, 4 GB", (8, 6), 16, 128, 1.74, 4, 192, 2,
    7.1, 14.2, "PCIe 4.0 x8", "laptop 4gb gddr6", _PRODUCT,
  ),
  "rtx3060": (
    "GeForce RTX 3060, 12 GB", (8, 6), 28, 128, 1.777, 12, 360, 3,
    12.7, 25.5, _G4, "12gb gddr6", _GA102,
  ),
  "rtx3070": (
    "GeForce RTX 3070", (8, 6), 46, 128, 1.725, 8, 448, 4,
    20.3, 40.6, _G4, "8gb gddr6", _GA102,
  ),
  "rtx3080-10gb": (
    "GeForce RTX 3080, 10 GB", (8, 6), 68, 128, 1.71, 10, 760, 5,
    29.8, 59.5, _G4, "10gb gddr6x", _GA102,
  ),
  "rtx3090": (
    "GeForce RTX 3090", (8, 6), 82, 128, 1.695, 24, 936, 6,
    35.6, 71.2, _G4, "24gb gddr6x", _GA102,
  ),
  "rtxa6000": (
    "RTX A6000", (8, 6), 84, 128, 1.8, 48, 768, 6,
    77.4, 154.8, _G4, "48gb gddr6", _GA102,
  ),
  "a10": (
    "A10", (8, 6), 72, 128, 1.695, 24, 600, 6,
    62.5, 125.0, _G4, "pcie 24gb gddr6", "A10 datasheet",
  ),
  "a10g": (
    "A10G", (8, 6), 80, 128, 1.71, 24, 600, 6,
    35.0, 70.0, _G4, "pcie 24gb gddr6", "A10G datasheet",
  ),
  "a40": (
    "A40", (8, 6), 84, 128, 1.74, 48, 696, 6,
    74.8, 149.7, _G4, "pcie 48gb gddr6", "A40 datasheet",
  ),
  # Ada.
  "rtx4070": (
    "GeForce RTX 4070", (8, 9), 46, 128, 2.475, 12, 504, 36,
    29.1, 58.3, _G4, "12gb gddr6x", _PRODUCT,
  ),
  "rtx4080": (
    "GeForce RTX 4080", (8, 9), 76, 128, 2.505, 16, 717, 64,
    48.7, 97.5, _G4, "16gb gddr6x", _ADA,
  ),
  "rtx4090": (
    "GeForce RTX 4090", (8, 9), 128, 128, 2.52, 24, 1008, 72,
    82.6, 165.2, _G4, "24gb gddr6x", _ADA,
  ),
  "l4": (
    "L4", (8, 9), 58, 128, 2.04, 24, 300, 48,
    60.0, 121.0, _G4, "pcie 24gb gddr6", "L4 datasheet",
  ),
  "l40": (
    "L40", (8, 9), 142, 128, 2.49, 48, 864, 96,
    90.5, 181.0, _G4, "pcie 48gb gddr6", "L40 datasheet",
  ),
  "l40s": (
    "L40S", (8, 9), 142, 128, 2.52, 48, 864, 96,
    183.0, 362.0, _G4, "pcie 48gb gddr6", "L40S datasheet",
  ),
  # Hopper.
  "h100": (
    "H100 SXM5, 80 GB", (9, 0), 132, 128, 1.98, 80, 3350, 50,
    494.0, 989.0, "NVLink 4", "sxm sxm5 80gb hbm3", _HOPPER,
  ),
  "h100-pcie": (
    "H100 PCIe, 80 GB", (9, 0), 114, 128, 1.755, 80, 2039, 50,
    378.0, 756.0, _G5, "pcie 80gb hbm2e", _HOPPER,
  ),
  "h100-nvl": (
    "H100 NVL, 94 GB", (9, 0), 132, 128, 1.785, 94, 3938, 50,
    418.0, 835.0, _G5, "nvl 94gb hbm3", "H100 NVL datasheet",
  ),
  "h200": (
    "H200 SXM5, 141 GB", (9, 0), 132, 128, 1.98, 141, 4800, 50,
    494.0, 989.0, "NVLink 4", "sxm sxm5 141gb hbm3e", "H200 datasheet",
  ),
  # Blackwell.
  "b200": (
    "B200 SXM, 180 GB", (10, 0), 148, 128, 1.965, 180, 7700, 126,
    1125.0, 2250.0, "NVLink 5", "sxm 180gb hbm3e", "HGX B200 datasheet",
  ),
  "rtx5090": (
    "GeForce RTX 5090", (12, 0), 170, 128, 2.407, 32, 1792, 96,
    104.8, 209.5, _G5, "32gb gddr7", "Blackwell whitepaper (GeForce)",
  ),
}  # fmt: skip
