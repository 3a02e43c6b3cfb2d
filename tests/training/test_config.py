"""The wiring of every config key: set it, and the run that is set up differs.

And for every key, whether a run may change it on its way. A new key fails here until it
has a row in CASES.
"""

import contextlib
import functools
import hashlib
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from im21k import cli, models, synsets, weights, xla
from im21k.models import registry
from im21k.training import begun as begun_config
from im21k.training import configs, learning_curve, loop, recalibration, trackers
from im21k.training import run as command
from im21k.training.config import Config, all_keys
from im21k.training.setup import prepare
from im21k.training.values import Text
from im21k.training.workdir import Workdir


class Case(NamedTuple):
  """A key, a value other than its default, what it must change, and its resume rule."""

  key: str
  value: Any
  changes: tuple[str, ...]
  rule: str  # fixed or free
  base: dict[str, Any] = {}  # noqa: RUF012  (what the key needs to have an effect)

  @property
  def setting(self):
    return {self.key: self.value}


COSINE = {"schedule": {"name": "cosine", "peak": 0.5, "warmup": {"steps": 2}}}
MARKS = {"reference": {"label": "a", "images_per_pass": 50, "top_1": [9, 20]}}
INCEPTION = {"model": {"name": "inception_bn_21k"}}
STARTED = {"init.weights": "first"}
REDUCING = {"model.name": "reducing"}
ADAMW, LAMB, MUON = ({"optimizer.name": name} for name in ("adamw", "lamb", "muon"))
EMA = {"average.name": "ema"}
TAIL = {"average.name": "tail", "average.every": 1}
BN = {"recalibrate": 24}
GROWING = {"phases": {"image_sizes": [16], "batch_sizes": [4], "until": {"steps": [4]}}}
CASES = [
  Case("data", "other", ("batch", "eval_batch"), "fixed"),
  Case("eval_data", {"val": "other"}, ("eval_sets",), "fixed",
       {"eval_data": {"val": "photos"}}),
  Case("classes", "ilsvrc2012", ("error",), "fixed"),
  Case("model.name", "inception_bn_21k", ("model",), "fixed"),
  Case("model.num_classes", 80, ("model", "program"), "fixed"),
  Case("model.dtype", "bfloat16", ("model", "program"), "fixed"),
  Case("model.table", "plain", ("model",), "fixed", INCEPTION),
  Case("model.width", 0.5, ("model",), "fixed", INCEPTION),
  Case("model.remat", {"3a": "norm"}, ("model",), "fixed", INCEPTION),
  Case("model.pooling", "floor", ("model",), "fixed", INCEPTION),
  Case("model.average_pool", "counted", ("model",), "fixed", INCEPTION),
  Case("model.bn_epsilon", 1e-5, ("model",), "fixed", INCEPTION),
  Case("model.bn_momentum", 0.9, ("model",), "fixed", INCEPTION),
  Case("model.init_scale", 0.3, ("model",), "fixed", INCEPTION),
  Case("model.head_bias", -10.0, ("model",), "fixed", INCEPTION),
  Case("init.weights", "second", ("init",), "fixed", STARTED),
  Case("init.head", "fresh", ("init",), "fixed", STARTED),
  Case("init.trunk.name", "frozen", ("program",), "fixed", STARTED),
  Case("init.trunk.lr", 0.5, ("program",), "fixed", STARTED),
  Case("total", {"epochs": 2}, ("total",), "free"),
  Case("batch_size", 16, ("program", "batch", "eval_batch"), "fixed"),
  Case("accumulate", 2, ("program", "eval_batch"), "free"),
  Case("schedule.name", "cosine", ("rates", "program"), "free",
       {"schedule": {"name": "stepwise", "rates": [1], "until": {"steps": []}}}),
  Case("schedule.rates", (0.2, 0.1), ("rates", "program"), "free"),
  Case("schedule.until", {"steps": [3]}, ("rates", "program"), "free"),
  Case("schedule.peak", 0.7, ("rates", "program"), "free", COSINE),
  Case("schedule.warmup", {"steps": 3}, ("rates", "program"), "free", COSINE),
  Case("optimizer.name", "adamw", ("program",), "fixed"),
  Case("optimizer.momentum", 0.5, ("program",), "fixed"),
  Case("optimizer.weight_decay", 0.1, ("program",), "fixed"),
  Case("optimizer.decay", "kernels", ("program",), "fixed"),
  Case("optimizer.nesterov", True, ("program",), "fixed"),
  Case("optimizer.clip_norm", 0.5, ("program",), "fixed"),
  *(Case(f"optimizer.groups.{part}_{what}", 0.5, ("program",), "fixed")
    for part in ("head", "kernels", "norms", "biases") for what in ("rate", "decay")),
  Case("optimizer.b1", 0.5, ("program",), "fixed", ADAMW),
  Case("optimizer.b2", 0.5, ("program",), "fixed", ADAMW),
  Case("optimizer.epsilon", 0.5, ("program",), "fixed", ADAMW),
  Case("optimizer.weight_decay", 0.1, ("program",), "fixed", ADAMW),
  Case("optimizer.epsilon", 0.5, ("program",), "fixed", LAMB),
  Case("optimizer.weight_decay", 0.1, ("program",), "fixed", LAMB),
  Case("optimizer.momentum", 0.5, ("program",), "fixed", MUON),
  Case("optimizer.nesterov", False, ("program",), "fixed", MUON),
  Case("optimizer.ns_steps", 3, ("program",), "fixed", MUON),
  Case("optimizer.rms", None, ("program",), "fixed", MUON),
  Case("augment.crop", "inception", ("batch",), "fixed"),
  Case("augment.area", [0.25, 1.0], ("batch",), "fixed", {"augment.crop": "inception"}),
  Case("augment.mirror", False, ("batch",), "fixed"),
  Case("augment.order", "global", ("batch",), "fixed"),
  Case("augment.lanes", 1, ("batch",), "fixed"),
  Case("augment.max_bad_share", 0.5, ("allows_bad",), "free"),
  Case("mix.color_jitter", 0.5, ("program",), "fixed"),
  Case("mix.rand_augment", 1, ("program",), "fixed"),
  Case("mix.magnitude", 0.25, ("program",), "fixed", {"mix.rand_augment": 1}),
  Case("mix.mixup", 0.5, ("program",), "fixed"),
  Case("mix.cutmix", 0.5, ("program",), "fixed"),
  Case("loss.name", "smoothed", ("program",), "fixed"),
  Case("loss.smoothing", 0.1, ("program",), "fixed"),
  Case("loss.flat", 0.25, ("program",), "fixed", {"loss.name": "semantic_softmax"}),
  Case("loss.beta", 3.0, ("program",), "fixed", {"loss.name": "smoothed"}),
  Case("average.name", "ema", ("program",), "fixed"),
  Case("average.horizon", {"steps": 3}, ("program",), "fixed", EMA),
  Case("average.every", 2, ("program",), "fixed", EMA),
  Case("average.span", {"steps": 2}, ("program",), "fixed", TAIL),
  Case("recalibrate", 8, ("recalibrated",), "free", BN),
  Case("image_size", 64, ("program", "batch", "eval_batch", "input"), "fixed"),
  Case("short_side", 48, ("batch", "eval_batch", "input"), "fixed"),
  Case("phases.image_sizes", [24], ("first_batch", "course"), "fixed", GROWING),
  Case("phases.batch_sizes", [12], ("first_batch", "course"), "fixed", GROWING),
  Case("phases.until", {"steps": [6]}, ("course",), "fixed", GROWING),
  Case("eval_size", 48, ("eval_batch", "input"), "fixed"),
  Case("eval_short_side", 32, ("eval_batch", "input"), "fixed"),
  Case("mean", (1, 2, 3), ("program", "eval_program", "input"), "fixed"),
  Case("std", 2.0, ("program", "eval_program", "input"), "fixed"),
  Case("devices", 2, ("program", "eval_program"), "free"),
  Case("overlap", False, ("program",), "free", REDUCING),
  Case("wire_dtype", "bfloat16", ("program",), "fixed"),
  Case("split_head", True, ("program",), "free"),
  Case("sync_bn", True, ("program",), "fixed"),
  Case("deterministic", True, ("variables",), "fixed"),
  Case("seed", 1, ("init", "batch"), "fixed"),
  Case("threads", 3, ("threads",), "free"),
  Case("workers", 2, ("workers",), "free"),
  Case("log_every", {"steps": 7}, ("log_every",), "free"),
  Case("eval_every", {"steps": 7}, ("eval_every",), "free"),
  Case("save_every", {"steps": 7}, ("save_every",), "free"),
  Case("keep_latest", 3, ("checkpoints",), "free"),
  Case("keep_best", 3, ("checkpoints",), "free"),
  Case("trackers", ("wandb",), ("trackers",), "free"),
  Case("reference.label", "b", ("curve",), "free", MARKS),
  Case("reference.images_per_pass", 70, ("curve",), "free", MARKS),
  Case("reference.top_1", [9, 50], ("curve",), "free", MARKS),
]  # fmt: skip
IDS = [case.key for case in CASES]


@pytest.fixture(scope="module")
def small(sample_photos, tmp_path_factory):
  """Sample photos packed for a short class list, twice; the second in another order."""
  root = tmp_path_factory.mktemp("small")
  classes = root / "classes.txt"
  ids = sorted(path.name for path in sample_photos.iterdir() if path.is_dir())
  classes.write_text("\n".join(ids))
  for name, seed in (("photos", "0"), ("other", "1")):
    pack(sample_photos, root / name, classes, seed)
  return root


def pack(photos, folder, classes, seed="0"):
  arguments = ["pack", photos, folder, "--classes", classes, "--seed", seed]
  arguments += ["--eval-per-class", "1", "--workers", "1", "--shards", "2", "--json"]
  assert cli.main([str(word) for word in arguments]) == 0


def save_weights(folder, model, classes, seed):
  """Weights of a tiny model, to start from."""
  model = model(len(classes))
  images = np.zeros((1, 32, 32, 3), np.float32)
  variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
  rng = np.random.default_rng(seed)
  weights.Weights(
    "tiny",
    {"num_classes": len(classes)},
    jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), variables),
    weights.Input(32, 37),
    classes,
  ).save(folder)


@pytest.fixture
def base(small, document, tiny_model, monkeypatch):
  """A short run of the tiny model over the short class list."""

  class Reducing(tiny_model):
    reduce: Any = None

  monkeypatch.setitem(registry._BUILDERS, "reducing", Reducing)
  monkeypatch.chdir(small)
  classes = synsets.get(str(small / "classes.txt"))
  for seed, name in enumerate(("first", "second")):
    if not (small / name).exists():
      save_weights(small / name, tiny_model, classes, seed)
  places = {"data": str(small / "photos"), "classes": str(small / "classes.txt")}
  return Config.from_dict({**document, **places})


@pytest.fixture
def setting_of(small, base):
  def make(case):
    if case.key == "data":
      return {"data": str(small / case.value)}
    if case.key == "schedule.name":
      return COSINE
    return case.setting

  return make


def digest(batch):
  pixels, labels = (np.ascontiguousarray(batch[key]) for key in ("image", "label"))
  return hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()


class Parts:
  """What a run is made of, each part in a form that can be compared."""

  def __init__(self, config, monkeypatch, tmp_path):
    self.run, self.error = None, None
    self._monkeypatch, self._path = monkeypatch, tmp_path
    try:
      self.run = prepare(config)
    except ValueError as error:
      self.error = str(error)

  def __getattr__(self, name):
    return getattr(self.run, name)

  @property
  def program(self):
    state = self.run.shapes()
    step, _ = self.run.make_step(state)
    if self.run.config.split_head:
      state = jax.eval_shape(lambda s: self.run.place(s, None), state)
    return step.lower(state, shapes(self.run)).as_text()

  @property
  def eval_program(self):
    state = self.run.shapes()
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    batch = {**shapes(self.run), "mask": shapes(self.run)["label"]}
    return self.run.eval_sets[0].scorer._step.lower(variables, batch).as_text()

  @property
  def init(self):
    return str(jax.device_get(self.run.init().params))

  @property
  def batch(self):
    return digest(self.run.loader.batch(0))

  @property
  def first_batch(self):
    with contextlib.closing(self.run.batches(0)) as batches:
      return digest(next(batches))

  @property
  def eval_batch(self):
    return digest(next(iter(self.run.eval_sets[0].scorer._loader))[0])

  @property
  def eval_sets(self):
    """Names of the sets, and their photos."""
    return [
      (one.name, digest(next(iter(one.scorer._loader))[0]))
      for one in self.run.eval_sets
    ]

  @property
  def trackers(self):
    """What the loop asks of the trackers."""
    asked = []
    self._monkeypatch.setattr(
      trackers, "open_all", lambda names, *_: asked.append(names) or []
    )
    Workdir(self._path, self.run).metrics(0).close()
    return asked

  @property
  def rates(self):
    return [float(self.run.schedule(step)) for step in range(12)]

  @property
  def recalibrated(self):
    """The photos that what is exported has statistics of."""
    if not self.run.config.recalibrate:
      return None
    state = self.run.init()
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return recalibration.recalibrated(self.run, variables)[1]

  @property
  def allows_bad(self):
    try:
      return self.run.loader.check_bad({1})
    except ValueError as error:
      return type(error)

  @property
  def variables(self):
    """The environment in which `im21k train` sets JAX up."""
    environ = {}
    setting = functools.partial(xla.set_up, environ=environ)
    self._monkeypatch.setattr(configs, "load", lambda *_: self.run.config)
    self._monkeypatch.setattr(command.xla, "set_up", setting)
    self._monkeypatch.setattr(command.program_cache, "use", lambda: None)
    self._monkeypatch.setattr(loop, "train", lambda *_, **__: None)
    command.train("demo", workdir=self._path)
    return environ

  @property
  def threads(self):
    return self.run.loader.threads

  @property
  def workers(self):
    return self.run.loader.workers

  @property
  def checkpoints(self):
    """What the loop asks of its checkpoints."""
    asked = []

    def record(folder, *arguments, saved):
      asked.append(arguments)
      raise InterruptedError

    self._monkeypatch.setattr(loop, "Checkpoints", record)
    with pytest.raises(InterruptedError):
      loop.train(self.run.config, self._path / "none")
    return asked

  @property
  def curve(self):
    """What the loop asks of the picture."""
    asked = []
    self._monkeypatch.setattr(
      learning_curve, "draw", lambda *given: asked.append(given)
    )
    Workdir(self._path, self.run).draw([])
    return asked


def shapes(run):
  devices, size = len(run.devices), run.config.image_size
  each = run.config.batch_size // devices
  return {
    "image": jax.ShapeDtypeStruct((devices, each, size, size, 3), jnp.uint8),
    "label": jax.ShapeDtypeStruct((devices, each), jnp.int32),
  }


def test_every_key_has_a_case():
  """A new key belongs in CASES, with what it changes and its rule on resume."""
  assert sorted(IDS) == sorted(key.name for key in all_keys())


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_key_that_is_set_changes_the_run(
  case, base, setting_of, monkeypatch, tmp_path, pictures
):
  before = base.changed(case.base)
  after = before.changed(setting_of(case))
  first, second = (Parts(config, monkeypatch, tmp_path) for config in (before, after))
  for part in case.changes:
    assert getattr(first, part) != getattr(second, part), part


def test_the_seed_is_that_of_the_mixture_too(base, monkeypatch, tmp_path):
  mixed = base.changed({"mix.mixup": 0.5})
  first = Parts(mixed, monkeypatch, tmp_path)
  second = Parts(mixed.changed({"seed": 1}), monkeypatch, tmp_path)
  assert first.program != second.program


@pytest.mark.parametrize(
  ("text", "value"), [("alternating", "alternating"), ("false", False), ("1", True)]
)
def test_a_mirror_that_is_typed_reaches_the_loader(base, text, value):
  run = prepare(base.changed({"augment.mirror": Text(text)}))
  assert (
    run.loader.options.mirror is value or run.loader.options.mirror == value == text
  )


def test_setting_up_twice_changes_nothing(base, monkeypatch, tmp_path):
  """Or the tests above would prove nothing."""
  first, second = (Parts(base, monkeypatch, tmp_path) for _ in range(2))
  parts = {part for case in CASES for part in case.changes} - {
    "checkpoints",
    "curve",
    "trackers",
  }
  for part in sorted(parts):
    assert getattr(first, part) == getattr(second, part), part


# What a resumed run may change.


def begun(config, path):
  """The work folder of a run that has been started, without a step."""
  run = prepare(config)
  Workdir(path, run).begin(0, {})
  return run


@pytest.mark.parametrize(
  "case", [case for case in CASES if case.key != "classes"], ids=lambda case: case.key
)
def test_resume_rule(case, base, setting_of, tmp_path, capsys):
  before = base.changed(case.base)
  begun(before, tmp_path)
  now = prepare(before.changed(setting_of(case)))
  if case.rule == "fixed":
    with pytest.raises(ValueError, match=f"other settings: .*{case.key} was") as caught:
      Workdir(tmp_path, now)
    assert "\n" not in str(caught.value)
    return
  capsys.readouterr()
  Workdir(tmp_path, now).begin(5, {})
  assert f"continues at step 5 with changes: {case.key} was" in capsys.readouterr().err
  document = json.loads((tmp_path / "config.json").read_text())
  step, key, old, new = document["history"][0]
  assert (step, key) == (5, case.key) and old != new
  again = Workdir(tmp_path, now)
  again.begin(6, {})
  assert not capsys.readouterr().err, "the new value is what is compared from then on"
  assert again.history == document["history"]


def test_a_reordered_class_list_at_the_same_path_is_refused(
  base, small, sample_photos, tmp_path
):
  classes, photos = tmp_path / "classes.txt", tmp_path / "photos"
  ids = (small / "classes.txt").read_text().split()
  config = base.changed({"classes": str(classes), "data": str(photos)})
  for order in (1, -1):
    classes.write_text("\n".join(ids[::order]))
    pack(sample_photos, photos, classes)
    if order == 1:
      begun(config, tmp_path / "run")
    else:
      with pytest.raises(ValueError, match=r"classes was .* with hash .*, is .* hash"):
        Workdir(tmp_path / "run", prepare(config))
    for path in photos.iterdir():
      path.unlink()


def test_moved_photos_and_class_list_are_the_same_run(base, small, tmp_path, capsys):
  begun(base, tmp_path / "run")
  for name in ("photos", "classes.txt"):
    (tmp_path / name).symlink_to(small / name)
  moved = {"data": str(tmp_path / "photos"), "classes": str(tmp_path / "classes.txt")}
  folder = Workdir(tmp_path / "run", prepare(base.changed(moved)))
  folder.begin(3, {})
  assert [change[:2] for change in folder.history] == [[3, "data"], [3, "classes"]]
  assert "data was" in capsys.readouterr().err


def test_values_that_mean_the_same_are_the_same(base, tmp_path, capsys):
  begun(base, tmp_path)
  sizes = {"short_side": 37, "eval_size": 32, "eval_short_side": 37}
  same = base.changed({**sizes, "model.dtype": "float32", "mean": 117})
  Workdir(tmp_path, prepare(same)).begin(1, {})
  assert not capsys.readouterr().err


def test_policies_may_be_left_to_the_memory(base):
  config = base.changed(INCEPTION | {"model.remat": "fit"})
  assert config.resolved().model["remat"] == config.model["remat"] == "fit"
  with pytest.raises(ValueError, match="model tiny has no field 'remat'"):
    base.changed({"model.remat": "fit"})


def test_policies_that_mean_the_same_are_the_same(base, tmp_path, capsys):
  config = base.changed(INCEPTION | {"model.remat": Text("conv1=block,3a=norm")})
  begun(config, tmp_path)
  assert json.loads((tmp_path / "config.json").read_text())["model"]["remat"] == {
    "conv1": "block", "3a": "norm",
  }  # fmt: skip
  same = config.changed({"model.remat": Text("3a=norm,conv1=block,5b=none")})
  Workdir(tmp_path, prepare(same)).begin(1, {})
  assert not capsys.readouterr().err
  with pytest.raises(ValueError, match=r"model\.remat was .*'norm'.*, is block"):
    Workdir(tmp_path, prepare(config.changed({"model.remat": "block"})))


@pytest.mark.parametrize(
  ("before", "settings", "after"),
  [
    (None, {"eval_data": "/a"}, "/a"),
    (
      None,
      {"eval_data.val": "/a=b", "eval_data.v2": "/b"},
      {"val": "/a=b", "v2": "/b"},
    ),
    (None, {"eval_data": "val=/a,v2=/b"}, {"val": "/a", "v2": "/b"}),
    ("/a", {"eval_data.v2": "/b"}, {"val": "/a", "v2": "/b"}),
    ("x=/a", {"eval_data.v2": "/b"}, {"x": "/a", "v2": "/b"}),
    ({"x": "/a"}, {"eval_data.x": "/b"}, {"x": "/b"}),
    ({"x": "/a"}, {"eval_data": "none"}, None),
  ],
)
def test_sets_of_eval_data_can_be_set_together_or_by_name(
  base, before, settings, after
):
  typed = {name: Text(value) for name, value in settings.items()}
  document = {**base.to_dict(), "eval_data": before}
  assert Config.from_dict(document, typed).eval_data == after


def test_what_is_given_as_a_whole_and_by_name_is_refused(base):
  both = {"eval_data": Text("/a"), "eval_data.v2": Text("/b")}
  with pytest.raises(ValueError, match=r"eval_data is given as a whole and by name"):
    base.changed(both)
  with pytest.raises(ValueError, match=r"unknown config key 'eval_data\.a\.b'"):
    base.changed({"eval_data.a.b": Text("/a")})


def test_a_policy_of_a_segment_can_be_set_by_its_name(base):
  config = base.changed(INCEPTION | {"model.remat.conv1": Text("block")})
  assert config.model["remat"] == {"conv1": "block"}
  with pytest.raises(ValueError, match=r"segment 'conv9'; did you mean 'conv2'"):
    base.changed(INCEPTION | {"model.remat.conv9": Text("block")})


@pytest.mark.parametrize(
  ("value", "names"),
  [
    ("tensorboard", ("tensorboard",)),
    (Text("wandb, tensorboard,wandb"), ("wandb", "tensorboard")),
    (["wandb"], ("wandb",)),
    (Text("none"), ()),
    (None, ()),
    (Text(""), ()),
  ],
)
def test_trackers_are_names_or_none(base, value, names):
  assert base.changed({"trackers": value}).trackers == names


@pytest.mark.parametrize("value", ["tensorbord", ["wandb", 3], {"wandb": 1}, 3])
def test_other_trackers_are_refused_with_those_that_there_are(base, value):
  with pytest.raises(
    ValueError, match="must be any of tensorboard, wandb separated by"
  ):
    Config.from_dict({**base.to_dict(), "trackers": value})


OLD_KEYS = (
  "wire_dtype",
  "mix",
  "loss",
  "sync_bn",
  "split_head",
  "reference",
  "workers",
)


def test_a_folder_from_before_some_keys_and_hashes_resumes(base, tmp_path):
  """What a run did before a key existed is what is done without it."""
  old = {k: v for k, v in base.to_dict().items() if k not in OLD_KEYS}
  old = {**old, "mix": {}, "loss": {}, "optimizer": {}, "augment": {"crop": "straight"}}
  (tmp_path / "config.json").write_text(json.dumps(old))
  assert Workdir(tmp_path, prepare(begun_config.of_run(base, tmp_path))).history == []
  for change in ({"mix.mixup": 0.1}, {"wire_dtype": "bfloat16"}, {"sync_bn": True}):
    with pytest.raises(ValueError, match=f"{next(iter(change))} was"):
      Workdir(tmp_path, prepare(base.changed(change)))


def test_a_folder_without_hashes_is_compared_by_what_is_there(base, small, tmp_path):
  (tmp_path / "config.json").write_text(json.dumps(base.to_dict()))
  with pytest.raises(ValueError, match="data was"):
    Workdir(tmp_path, prepare(base.changed({"data": str(small / "other")})))


DAMAGED = {
  "cut": "{", "list": "[]", "wrong": '{"data": 3}', "empty": "", "byte order mark":
  "\ufeff{}", "no text": "\udcff", "deep": '{"a":' * 99999, "deep list": "[" * 99999,
  "nan": '{"total": {"steps": NaN}}', "zeros": "\0" * 99, "digits": "9" * 9999,
}  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_config_is_named(base, tmp_path, text):
  (tmp_path / "config.json").write_text(text, errors="surrogateescape")
  with pytest.raises(ValueError, match=r"config\.json") as caught:
    Workdir(tmp_path, prepare(base))
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  "change", [{"history": 3}, {"history": [1]}, {"hashes": 3}, {"hashes": []}], ids=str
)
def test_damaged_hashes_and_history_are_named(base, tmp_path, change):
  (tmp_path / "config.json").write_text(json.dumps({**base.to_dict(), **change}))
  with pytest.raises(ValueError, match=r"config\.json is damaged: (history|hashes) is"):
    Workdir(tmp_path, prepare(base))


def test_the_hash_of_data_is_that_of_records_and_splits(base, small):
  manifest = prepare(base).loader.manifest
  other = prepare(base.changed({"data": str(small / "other")})).loader.manifest
  assert manifest.digest != other.digest
  assert manifest.digest == prepare(base).loader.manifest.digest


# Config files.


@pytest.mark.parametrize(
  ("wrong", "message"),
  [
    ({"batchsize": 3}, "unknown config key 'batchsize'; did you mean 'batch_size'"),
    (
      {"schedule": {"name": "cosin"}},
      "schedule.name is 'cosin'; did you mean 'cosine'",
    ),
    ({"augment": {"crop": "random"}}, "augment.crop is 'random'"),
    (
      {"augment": {"mirror": "alternate"}},
      "augment.mirror is 'alternate', but must be true or false or alternating",
    ),
    (
      {"augment": {"area": [0.5, 1.0]}},
      "augment: area 0.5, 1 has no effect with crop straight: set crop to inception",
    ),
    (
      {"augment": {"crop": "inception", "area": [0.5, 0.2]}},
      "augment: area is 0.5, 0.2, but must be two shares of the photo, the smaller",
    ),
    (
      {"augment": {"crop": "inception", "area": [0.5]}},
      "augment: area is 0.5, but must be two shares of the photo",
    ),
    (
      {"augment": {"crop": "inception", "area": [0.5, 1.5]}},
      "augment.area is (0.5, 1.5), but must be at most 1",
    ),
    (
      {"augment": {"crop": "inception", "area": [0, 1]}},
      "augment.area is (0.0, 1.0), but must be above 0",
    ),
    (
      {"model": {"name": "inception_bn"}},
      "model: unknown model 'inception_bn'; did",
    ),
    ({"model": {}}, "the config lacks model.name; known:"),
    ({"model": {"name": "tiny", "dtyp": 1}}, "no field 'dtyp'; did you mean 'dtype'"),
    (
      {"model": {"name": "inception_bn_21k", "remat": {"conv9": "norm"}}},
      "model: remat names the segment 'conv9'; did you mean 'conv2'",
    ),
    (
      {"model": {"name": "inception_bn_21k", "remat": "conv1=norm,conv1=block"}},
      "model: remat is 'conv1=norm,conv1=block'",
    ),
    (
      {"model": {"name": "inception_bn_21k", "remat": {"conv1": ["norm"]}}},
      "model.remat is {'conv1': ['norm']}, but must be text or pairs NAME=VALUE",
    ),
    ({"model": {"name": "tiny", "dtype": 1}}, "model.dtype is 1, but must be text"),
    ({"model": {"name": "tiny", "bn_axis_name": "x"}}, "cannot be set: set sync_bn"),
    ({"total": {"epochs": 1, "steps": 2}}, "total must be given in exactly one of"),
    ({"mean": [1, 2]}, "mean has 2 numbers, but must have 1 or 3"),
    (
      {"eval_size": 40, "eval_short_side": 39},
      "eval_size is 40, but must be at most eval_short_side, which is 39",
    ),
    (
      {"eval_short_side": 31},
      "eval_size is 32, but must be at most eval_short_side, which is 31",
    ),
    ({"eval_size": 0}, "eval_size is 0, but must be 1 or more"),
    ({"keep_latest": 0}, "keep_latest is 0, but must be 1 or more"),
    ({"devices": 0}, "devices is 0, but must be 1 or more"),
    ({"wire_dtype": "float16"}, "wire_dtype is 'float16'; did you mean 'bfloat16'"),
    ({"mix": {"mixup": -1}}, "mix.mixup is -1.0, but must be 0 or more"),
    ({"mix": {"mixp": 1}}, "unknown config key 'mix.mixp'; did you mean 'mix.mixup'"),
  ],
)
def test_wrong_keys_are_one_line(wrong, base, message):
  with pytest.raises(ValueError) as caught:
    Config.from_dict({**base.to_dict(), **wrong})
  assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_config_that_lacks_keys_names_them():
  with pytest.raises(ValueError, match="lacks data, total"):
    Config.from_dict({"model": {}, "schedule": {}, "batch_size": 8})


def test_the_shipped_original_is_the_original():
  """Its numbers, with every default resolved; see the paper and MXNet's own files."""
  config = configs.load("inception_bn_21k").resolved()
  assert config.model == {
    "name": "inception_bn_21k", "table": "wide", "width": 1.0, "dtype": "float32",
    "remat": "fit", "pooling": "ceil", "average_pool": "ignored",
    "bn_epsilon": 1e-10, "bn_momentum": 0.1, "init_scale": 0.01,
    "head_bias": 0.0,
  }  # fmt: skip
  assert (config.batch_size, config.short_side) == (64, 256)
  assert (config.mean, config.std, config.sync_bn) == (117, 1, False)
  assert config.to_dict()["optimizer"] == {
    "name": "sgd", "momentum": 0.9, "weight_decay": 1e-5, "decay": "all",
    "nesterov": False, "clip_norm": None,
    "groups": {f"{part}_{what}": 1.0 for part in ("head", "kernels", "norms", "biases")
               for what in ("rate", "decay")},
  }  # fmt: skip
  assert config.to_dict()["loss"] == {"name": "cross_entropy", "smoothing": 0.0}


def test_variants_differ_from_the_original_in_one_section():
  original = configs.load("inception_bn_21k").to_dict()
  for name, loss in (
    ("semantic", {"name": "semantic_softmax", "flat": 0.5}),
    ("smoothed", {"name": "smoothed", "beta": 30.0}),
  ):
    variant = configs.load(f"inception_bn_21k_{name}").to_dict()
    assert variant == {**original, "loss": loss}


def test_fields_of_a_model_reach_it(base):
  config = base.changed({"model.dtype": "bfloat16"})
  assert config.make_model(5) == models.create("tiny", num_classes=5, dtype="bfloat16")
  assert len(synsets.get(config.classes)) < 100
