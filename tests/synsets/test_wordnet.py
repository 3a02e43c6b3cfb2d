"""The WordNet graph, and the table that it is read from."""

import gzip
import re
import subprocess
import sys
import time
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from im21k.synsets import build, wordnet

PERSON = "n00007846"
TEDDY = "n04399382"
TENCH = "n01440764"

needs_wordnet = pytest.mark.skipif(
  not build.NOUNS.is_file(), reason="Debian's wordnet-base is not installed"
)


@pytest.fixture(scope="module")
def graph():
  return wordnet.load()


@pytest.fixture(scope="module")
def released():
  """WordNet 3.0 by another reader: id -> (words, {symbol: targets}, gloss)."""
  nouns = {}
  for line in build.NOUNS.read_text("ascii").splitlines():
    if line.startswith("  "):
      continue
    data, gloss = line.split("|", 1)
    offset, count, rest = re.match(r"(\d{8}) \d\d n ([0-9a-f]{2}) (.*)", data).groups()
    words = re.findall(r"(\S+) [0-9a-f] ", rest)[: int(count, 16)]
    pointers = {}
    # The pointers of nouns to nouns; those to other parts of speech are no hypernyms.
    for symbol, target in re.findall(r"(\S{1,2}) (\d{8}) n [0-9a-f]{4}", rest):
      pointers.setdefault(symbol, []).append(f"n{target}")
    nouns[f"n{offset}"] = (words, pointers, gloss.strip())
  return nouns


# The facts of WordNet 3.0 about the 21,841 classes.


def test_the_closure_has_23546_nodes_of_which_21841_are_classes(graph):
  assert len(graph.ids) == len(graph.is_class) == 23_546
  assert graph.is_class.sum() == 21_841


def test_ids_are_sorted_and_index_is_their_inverse(graph):
  assert list(graph.ids) == sorted(set(graph.ids))
  assert [graph.index[synset] for synset in graph.ids] == list(range(23_546))
  assert len(graph.index) == 23_546


def test_entity_is_the_only_root(graph):
  assert graph.root == "n00001740"
  assert graph.name(graph.root) == "entity"
  assert [synset for synset in graph.ids if not graph.hypernyms(synset)] == [graph.root]


def test_453_classes_have_more_than_one_hypernym(graph):
  degree = np.bincount(graph.child, minlength=len(graph.ids))
  assert (degree[graph.is_class] > 1).sum() == 453


def test_17294_classes_have_no_child_among_the_classes(graph):
  has_child = np.zeros(len(graph.ids), bool)
  has_child[graph.parent[graph.is_class[graph.child]]] = True
  assert (graph.is_class & ~has_child).sum() == 17_294


def test_classes_are_3_to_18_deep_by_the_shortest_path(graph):
  depth = np.full(len(graph.ids), 99)
  depth[graph.index[graph.root]] = 0
  for _ in range(25):
    np.minimum.at(depth, graph.child, depth[graph.parent] + 1)
  assert depth[graph.is_class].min() == 3
  assert depth[graph.is_class].max() == 18


def test_2836_classes_are_at_or_under_person(graph):
  below = np.zeros(len(graph.ids), bool)
  below[graph.index[PERSON]] = True
  for _ in range(25):
    np.logical_or.at(below, graph.child, below[graph.parent])
  assert (below & graph.is_class).sum() == 2_836


def test_the_closure_holds_nothing_but_classes_and_their_ancestors(graph):
  reached, waiting = set(), [graph.ids[node] for node in np.flatnonzero(graph.is_class)]
  while waiting:
    synset = waiting.pop()
    if synset not in reached:
      reached.add(synset)
      waiting.extend(graph.hypernyms(synset))
  assert reached == set(graph.ids)


def test_edge_arrays_say_what_hypernyms_says(graph):
  edges = zip(graph.child, graph.parent, strict=True)
  by_arrays = [(graph.ids[child], graph.ids[parent]) for child, parent in edges]
  by_ids = [
    (synset, above) for synset in graph.ids for above in graph.hypernyms(synset)
  ]
  assert by_arrays == by_ids


@pytest.mark.parametrize(
  ("array", "dtype"), [("is_class", bool), ("child", np.int32), ("parent", np.int32)]
)
def test_arrays_have_their_type_and_cannot_be_changed(graph, array, dtype):
  values = getattr(graph, array)
  assert values.dtype == dtype
  with pytest.raises(ValueError, match="read-only"):
    values[0] = 1


def test_tench(graph):
  assert graph.lemmas(TENCH) == ("tench", "Tinca tinca")
  assert graph.name(TENCH) == "tench, Tinca tinca"
  assert graph.hypernyms(TENCH) == ("n01439121",)
  assert graph.definition(TENCH) == (
    "freshwater dace-like game fish of Europe and western Asia noted for ability to "
    "survive outside water"
  )
  assert graph.is_class[graph.index[TENCH]]


def test_teddy_bear_has_a_name_and_a_place_above_but_is_no_node(graph):
  assert graph.name(TEDDY) == "teddy, teddy bear"
  assert graph.definition(TEDDY).startswith(
    "plaything consisting of a child's toy bear"
  )
  (toy,) = graph.hypernyms(TEDDY)
  assert toy in graph.index
  assert TEDDY not in graph.ids
  assert TEDDY not in graph.index


@pytest.mark.parametrize("method", ["lemmas", "name", "definition", "hypernyms"])
@pytest.mark.parametrize("synset", ["n99999999", "tench", "1440764", ""])
def test_an_unknown_synset_raises_and_is_named(graph, method, synset):
  message = f"{synset!r} is not in the WordNet 3.0 graph over the 21,841 classes"
  with pytest.raises(KeyError, match=re.escape(message)):
    getattr(graph, method)(synset)


def test_a_synset_that_is_no_node_raises_from_index(graph):
  with pytest.raises(KeyError, match=f"'{TEDDY}' is not in .*WordNet 3.1 are others"):
    graph.index[TEDDY]


# Against the released file.


@needs_wordnet
def test_every_synset_is_as_released(graph, released):
  for synset in (*graph.ids, TEDDY):
    words, pointers, gloss = released[synset]
    above = [*pointers.get("@", []), *pointers.get("@i", [])]
    assert sorted(graph.hypernyms(synset)) == sorted(above)
    assert graph.lemmas(synset) == tuple(word.replace("_", " ") for word in words)
    definition = graph.definition(synset)
    assert definition
    assert gloss.startswith(definition)
    assert re.match(r'$|\s*;\s*"', gloss[len(definition) :])


@needs_wordnet
def test_only_two_definitions_keep_a_quotation(graph):
  quoting = {synset for synset in graph.ids if '"' in graph.definition(synset)}
  assert quoting == {"n02403454", "n04605163"}  # No semicolon stands before these.


@needs_wordnet
def test_4_classes_hang_by_an_instance_pointer(graph, released):
  classes = [graph.ids[node] for node in np.flatnonzero(graph.is_class)]
  instances = [synset for synset in classes if "@i" in released[synset][1]]
  assert len(instances) == 4
  assert all(graph.hypernyms(synset) for synset in instances)


@needs_wordnet
def test_the_committed_table_is_what_build_makes(tmp_path, capsys):
  made = tmp_path / "table.tsv.gz"
  build.main(["--out", str(made)])
  assert gzip.decompress(made.read_bytes()) == gzip.decompress(
    wordnet.TABLE.read_bytes()
  ), "run `python -m im21k.synsets.build` and commit the table"
  assert "23,547 synsets" in capsys.readouterr().out


@needs_wordnet
def test_the_notice_beside_the_table_is_wordnets():
  notice = wordnet.TABLE.with_name("LICENSE.wordnet").read_text("ascii")
  lines = build.NOUNS.read_text("ascii").splitlines()[:29]
  numbered = [line.strip().partition(" ") for line in lines]
  assert notice.endswith("".join(f"{line}\n" for _, _, line in numbered))


# The table as a file.


def test_the_table_is_small_and_carries_neither_time_nor_file_name():
  data = wordnet.TABLE.read_bytes()
  assert len(data) < 1_200_000
  no_flags, no_time = b"\x00", b"\x00\x00\x00\x00"
  assert data[:8] == b"\x1f\x8b\x08" + no_flags + no_time


def test_the_table_opens_with_its_copyright_and_columns():
  first, second, *_ = gzip.decompress(wordnet.TABLE.read_bytes()).splitlines()
  assert b"WordNet 3.0 Copyright 2006 by Princeton University" in first
  assert second == b"# id\tkind\thypernyms\tname\tdefinition"


def test_load_reads_once():
  assert wordnet.load() is wordnet.load()


def test_importing_reads_nothing_and_brings_in_numpy_alone():
  code = (
    "import sys; from im21k.synsets import wordnet; "
    "assert not wordnet.load.cache_info().currsize; "
    "heavy = {'jax', 'flax', 'tensorflow', 'tensorflow_datasets'} & set(sys.modules); "
    "assert not heavy, heavy"
  )
  subprocess.run([sys.executable, "-c", code], check=True, cwd=build.LABELS.parents[1])


def test_load_is_fast():
  taken = []
  for _ in range(5):
    start = time.process_time()
    wordnet.load.__wrapped__()
    taken.append(time.process_time() - start)
  assert min(taken) < 0.3, "0.08 s on the slow machine where this was written"


# Building, on small WordNets.

NOTICE = "  1 WordNet 3.0 Copyright 2006 by Princeton University.  \n"


def write_nouns(path, nouns, notice=NOTICE):
  """Writes a data.noun of (words, [(symbol, number)], gloss); gives their ids.

  Pointers go to nouns by their number in the list.
  """
  at = [0] * len(nouns)
  for _ in range(2):  # The first round finds the offsets that the second writes.
    text, offsets = notice, at
    at = []
    for words, pointers, gloss in nouns:
      at.append(len(text))
      spelt = " ".join(f"{word} 0" for word in words)
      targets = [f"{symbol} {offsets[to]:08d} n 0000" for symbol, to in pointers]
      head = f"{at[-1]:08d} 03 n {len(words):02x} {spelt} {len(targets):03d}"
      text += f"{' '.join([head, *targets])} | {gloss}  \n"
  path.write_bytes(text.encode("ascii"))
  return [f"n{offset:08d}" for offset in at]


@pytest.fixture
def zoo(tmp_path):
  """A small WordNet: its file and the ids of animal, dog, Rex and number."""
  path = tmp_path / "data.noun"
  return path, write_nouns(
    path,
    [
      (
        ["animal"],
        [("~", 1)],
        'a living thing; not a plant; "an animal ran"; "two did"',
      ),
      (["dog", "domestic_dog"], [("@", 0), ("~i", 2), ("#m", 3)], "barks"),
      (["Rex"], [("@i", 1), ("@", 0), ("+", 3)], "a king of dogs"),
      ([f"number_{n}" for n in range(17)], [], "how many"),
    ],
  )


def test_read_nouns_keeps_hypernyms_words_and_the_definition(zoo):
  path, (animal, dog, rex, number) = zoo
  nouns = build.read_nouns(path)
  assert list(nouns) == [animal, dog, rex, number]
  assert nouns[animal] == build.Noun((), ("animal",), "a living thing; not a plant")
  assert nouns[dog] == build.Noun((animal,), ("dog", "domestic dog"), "barks")
  assert nouns[rex] == build.Noun((dog, animal), ("Rex",), "a king of dogs")
  assert len(nouns[number].lemmas) == 17, "the count of words is hexadecimal"


def test_table_tells_classes_from_inner_nodes_and_extras(zoo):
  path, (animal, dog, rex, number) = zoo
  table = build.table(build.read_nouns(path), [dog], extras=[rex, number])
  rows = [line.split("\t") for line in table.splitlines()[2:]]
  assert rows == [
    [animal, "inner", "", "animal", "a living thing; not a plant"],
    [dog, "class", animal, "dog, domestic dog", "barks"],
    [rex, "extra", f"{dog} {animal}", "Rex", "a king of dogs"],
    [number, "extra", "", ", ".join(f"number {n}" for n in range(17)), "how many"],
  ]


def test_an_extra_that_is_a_class_stays_a_class(zoo):
  path, (_, dog, _, _) = zoo
  nouns = build.read_nouns(path)
  assert build.table(nouns, [dog], [dog]) == build.table(nouns, [dog], [])


def test_parse_leaves_extras_out_of_the_graph_and_counts_nodes_without_them(zoo):
  path, (animal, dog, rex, number) = zoo
  nouns = build.read_nouns(path)
  graph = wordnet.parse(build.table(nouns, [rex], extras=[]))
  assert graph.ids == (animal, dog, rex)
  assert graph.child.tolist() == [1, 2, 2]
  assert graph.parent.tolist() == [0, 1, 0]
  assert graph.is_class.tolist() == [False, False, True]
  graph = wordnet.parse(build.table(nouns, [dog], extras=[rex, number]))
  assert graph.ids == (animal, dog)
  assert graph.root == animal
  assert graph.hypernyms(rex) == (dog, animal)


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(data=st.data(), size=st.integers(2, 12))
def test_the_closure_is_that_of_brute_force(data, size):
  """Any DAG under one root: noun i hangs under some of the nouns before it."""
  ids = [f"n{number:08d}" for number in range(size)]
  nouns = {ids[0]: build.Noun((), ("root",), "top")}
  for number in range(1, size):
    above = data.draw(st.lists(st.sampled_from(ids[:number]), min_size=1, unique=True))
    nouns[ids[number]] = build.Noun(tuple(above), (f"noun {number}",), "below")
  classes = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))

  reach = np.eye(size, dtype=int)
  for synset, noun in nouns.items():
    reach[ids.index(synset), [ids.index(above) for above in noun.hypernyms]] = 1
  reach = np.linalg.matrix_power(reach, size) > 0
  closure = reach[[ids.index(synset) for synset in classes]].any(axis=0)

  graph = wordnet.parse(build.table(nouns, classes, extras=[]))
  assert graph.ids == tuple(np.array(ids)[closure])
  assert {graph.ids[node] for node in np.flatnonzero(graph.is_class)} == set(classes)
  assert all(graph.hypernyms(synset) == nouns[synset].hypernyms for synset in graph.ids)
  assert graph.root == ids[0]


def test_equal_text_gives_equal_bytes_whenever_it_is_compressed(monkeypatch):
  once = build.compress("some text")
  monkeypatch.setattr(time, "time", lambda: 2e9)
  assert build.compress("some text") == once
  assert gzip.decompress(once) == b"some text"


def test_main_leaves_the_table_and_nothing_else(zoo, tmp_path, monkeypatch, capsys):
  path, (_, dog, rex, _) = zoo
  labels = tmp_path / "labels.txt"
  labels.write_text(f"{rex} Rex\n")
  monkeypatch.setattr(build, "EXTRAS", (dog,))
  out = tmp_path / "out" / "table.tsv.gz"
  build.main(["--wordnet", str(path), "--labels", str(labels), "--out", str(out)])
  assert list(out.parent.iterdir()) == [out]
  text = gzip.decompress(out.read_bytes()).decode()
  assert text == build.table(build.read_nouns(path), [rex], [])
  assert capsys.readouterr().out == f"{out}: 3 synsets, {out.stat().st_size} bytes\n"


def test_a_missing_wordnet_says_where_to_get_it(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"data\.noun is missing.*wordnet-base"):
    build.read_nouns(tmp_path / "data.noun")


def test_another_release_of_wordnet_is_refused(tmp_path):
  path = tmp_path / "data.noun"
  write_nouns(path, [(["entity"], [], "what is")], NOTICE.replace("3.0", "3.1"))
  with pytest.raises(
    ValueError, match=r"data\.noun: its notice does not say WordNet 3.0"
  ):
    build.read_nouns(path)


def test_a_wordnet_with_converted_line_ends_is_refused(zoo):
  path, _ = zoo
  path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
  at = len(NOTICE)
  message = (
    rf"data\.noun, line 2: is at byte {at + 1} but says {at:08d}; synset ids are"
  )
  with pytest.raises(ValueError, match=message):
    build.read_nouns(path)


@pytest.mark.parametrize("kind", ["synsets", "extras"])
def test_a_synset_that_wordnet_lacks_is_named(zoo, kind):
  path, (_, dog, _, _) = zoo
  chosen = {"synsets": [dog], "extras": []} | {kind: [dog, "n99999999"]}
  message = "^1 synsets are not nouns of this WordNet: n99999999$"
  with pytest.raises(ValueError, match=message):
    build.table(build.read_nouns(path), **chosen)


def test_an_extra_outside_the_graph_is_named(zoo):
  path, (_, dog, rex, number) = zoo
  message = f"extra {rex} hangs outside the graph, under {dog}"
  with pytest.raises(ValueError, match=message):
    build.table(build.read_nouns(path), [number], [rex])


@pytest.mark.parametrize(
  "noun", [build.Noun((), ("a, b",), "good"), build.Noun((), ("a",), "not\tgood")]
)
def test_a_separator_inside_a_field_is_refused(noun):
  with pytest.raises(ValueError, match="n00000001: a separator of the table inside"):
    build.table({"n00000001": noun}, ["n00000001"], [])


def test_the_default_labels_are_the_21841_classes(graph):
  lines = Path(build.LABELS).read_text("ascii").splitlines()
  classes = {graph.ids[node] for node in np.flatnonzero(graph.is_class)}
  assert {line.split()[0] for line in lines} == classes
