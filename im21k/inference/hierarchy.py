"""Probabilities of all nodes above the classes: `im21k.synsets.hierarchy`, by its use.

The graph needs no weights and training needs the graph, so it lies with the synsets.
"""

from im21k.synsets.hierarchy import Hierarchy, over

__all__ = ["Hierarchy", "over"]
