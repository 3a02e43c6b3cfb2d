"""Class lists of other people's weights: counts, hashes, and the way between lists."""

import numpy as np
import pytest

from im21k import synsets
from im21k.synsets import foreign, hierarchy

# Count, the first 16 digits of the SHA-256 of timm 1.0.31's file (ids joined by line
# ends), first and last id.
LISTS = {
  "imagenet12k": (11_821, "009d4c9f19667ccf", "n00005787", "n15102894"),
  "imagenet21k-p": (11_221, "e96927e3af1cf32c", "n00005787", "n15102894"),
  "imagenet21k-p-winter21": (10_450, "68202583aa200623", "n00005787", "n15102894"),
  "imagenet21k-google": (21_843, "c03345e3490e010d", "n00004475", "n15102894"),
  "imagenet21k-microsoft": (21_842, "57d68b4f40ef1181", "n01440764", "n15102894"),
}


@pytest.mark.parametrize(("name", "expected"), LISTS.items())
def test_counts_and_hashes(name, expected):
  classes = synsets.get(name)
  ends = classes.synsets[0], classes.synsets[-1]
  assert (len(classes), classes.hash, *ends) == expected
  assert classes.name == name and classes.is_plain
  assert not set(classes.names) & set(classes.synsets), "each has a name"


def test_every_list_is_tested():
  assert set(LISTS) == set(foreign.BY_NAME)


def test_lists_are_found_in_each_other_by_synset():
  full = synsets.imagenet21k()
  google, microsoft = (
    foreign.BY_NAME[f"imagenet21k-{of}"]() for of in ("google", "microsoft")
  )
  at, missing = synsets.subset_indices(google, full)
  assert missing == ("n03931044", "n09859684")
  assert [full.synsets[label] for label in at[:3]] == list(google.synsets[:3])
  at, missing = synsets.subset_indices(full, microsoft)
  assert not missing and sorted([*at, microsoft.index("n04399382")]) == [*range(21842)]
  smaller = [synsets.get(f"imagenet21k-p{end}") for end in ("-winter21", "")]
  assert synsets.subset_indices(*smaller)[1] == ()
  twelve = synsets.get("imagenet12k")
  assert len(synsets.subset_indices(smaller[1], twelve)[0]) == 11_221


def test_the_table_is_made_of_the_lists():
  full = synsets.imagenet21k().synsets
  lists = {name: foreign._of(name).tolist() for name in foreign.BITS}
  again = np.frombuffer(foreign.gzip.decompress(foreign.table(lists)), np.uint8)
  stored = np.frombuffer(foreign.gzip.decompress(foreign.TABLE.read_bytes()), np.uint8)
  assert (again == stored).all() and len(stored) == len(full)


def test_all_have_a_hierarchy():
  google = foreign.BY_NAME["imagenet21k-google"]()
  graph = hierarchy.over(google)
  worker = graph.node["n09632518"]
  assert google.index("n09859684") in graph.below(worker), "a bleacher is a worker"
