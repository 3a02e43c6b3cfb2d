"""The commands `train` and `configs`: a config and settings in, a run or a list out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from im21k import parallel, xla
from im21k.hosts import session, world
from im21k.training import configs as config_files
from im21k.training import key_table, loop, program_cache
from im21k.training.config import all_keys

RUNS = Path("runs")


def train(
  config: str,
  *,
  workdir: Path | None = None,
  profile: bool = False,
  coordinator: str | None = None,
  hosts: str | None = None,
  host: int | None = None,
  heartbeat: float | None = None,
  settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Trains a model as a config says, or resumes the run in WORKDIR.

  Every key of the config can be set: --config.batch_size=32, --config.model.width=0.5,
  --config.total.steps=10. `im21k configs --keys` lists all keys.

  Args:
    config: Config file, or the name of a shipped config as listed by `im21k configs`.
    workdir: Folder of the run; runs/NAME by default.
    profile: Write a trace of five steps into WORKDIR/profile, for xprof or perfetto.
    coordinator: HOST:PORT of the first of several hosts, the same on each.
    hosts: Number of hosts, each of which runs this command with all its devices, in the
      same WORKDIR; auto as SLURM, Open MPI or a cloud says; by default as im21k launch
      says, or this one alone. The batch is over all hosts.
    host: Number of this host, from 0.
    heartbeat: Seconds without a sign of life after which a host is taken for dead, and
      all others end; by default 30.
    settings: Values by dotted name that take the place of those in the config.

  Returns:
    See `loop.train`.

  Raises:
    ValueError: there is no such config, a key or value is wrong, or WORKDIR holds a run
      with other settings; hosts differ in config, code or data.
    ConnectionError: not all hosts are there.
  """
  of_hosts = world.described(coordinator, hosts, host, heartbeat)
  chosen = config_files.load(config, settings)
  xla.set_up(chosen.devices, deterministic=chosen.deterministic)
  program_cache.use()
  where = workdir or RUNS / config_files.find(config).stem
  with session.joined(of_hosts):
    result = loop.train(chosen, where, profile=profile)
    # The first of several hosts shows it.
    return result if parallel.host() == 0 else {**result, "lines": []}


def text(result: dict[str, Any]) -> str:
  """The result of `train`, for reading."""
  scores = [
    f"{name} {result[key]:.1%}"
    for name, key in (("train top-1", "train_top_1"), ("held-out top-1", "eval_top_1"))
    if result[key] is not None
  ]
  end = f"weights: {result['weights']}" if result["finished"] else "stopped: run again"
  return "\n".join([", ".join([f"step {result['step']:,}", *scores]), end])


def configs(*, keys: bool = False) -> dict[str, Any]:
  """Lists the shipped configs, or all config keys.

  Args:
    keys: List every key with its type, default and description instead.

  Returns:
    `configs`: name -> first line of its docstring; or `keys`: rows of
    `key_table.describe`.
  """
  if keys:
    return {"keys": describe()}
  return {
    "configs": {name: config_files.summary(name) for name in config_files.names()}
  }


def configs_text(result: dict[str, Any]) -> str:
  """The result of `configs`, for reading."""
  if "keys" in result:
    return "\n".join(
      f"{row['key']}: {row['type']}{' (' + row['unit'] + ')' if row['unit'] else ''}; "
      f"default {row['default']}; {row['on resume']} on resume\n  {row['text']}"
      for row in result["keys"]
    )
  width = max(map(len, result["configs"]), default=0)
  return "\n".join(
    f"{name:<{width}}  {line}" for name, line in result["configs"].items()
  )


def describe() -> list[dict[str, str]]:
  """A row for each config key; see `key_table.describe`."""
  return key_table.describe(all_keys())
