"""Makes `formula` importable here as it is in MXNet's environment."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
