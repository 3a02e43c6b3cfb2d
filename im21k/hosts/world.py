"""Options or the environment -> which of how many hosts this process is.

A host is a process with devices of its own: one on each machine, or several on one.
"""

import dataclasses
import os
import re
from collections.abc import Mapping

COORDINATOR, HOSTS, HOST = "IM21K_COORDINATOR", "IM21K_HOSTS", "IM21K_HOST"
HEARTBEAT = 30.0  # Seconds.
_MOST_HOSTS = 4096
_DETECT_SECONDS = 60
_AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class World:
  """The hosts of a command, and which of them this process is.

  Attributes:
    host: number of this one; the first, 0, leads.
    hosts: how many there are.
    coordinator: HOST:PORT of the first, at which the others find it.
    heartbeat: seconds without a sign of life after which a host is taken for dead.
  """

  host: int
  hosts: int
  coordinator: str
  heartbeat: float = HEARTBEAT

  @property
  def address(self) -> tuple[str, int]:
    """Name and port of the first host."""
    name, _, port = self.coordinator.rpartition(":")
    return name.strip("[]"), int(port)


def described(
  coordinator: str | None,
  hosts: str | None,
  host: int | None,
  heartbeat: float | None = None,
  environ: Mapping[str, str] = os.environ,
) -> World | None:
  """The world that these options describe; None: this process is alone.

  Args:
    coordinator: HOST:PORT of the first host.
    hosts: number of hosts; `auto`: coordinator, hosts and host as JAX detects them
      (SLURM, Open MPI, Kubernetes, cloud).
    host: number of this one.
    heartbeat: see `World`; by default 30.
    environ: has what the options leave out, as `im21k launch` sets it, or `auto`.

  Raises:
    ValueError: they are incomplete, or out of range.
  """
  if (environ.get(HOSTS) if hosts is None else hosts) == _AUTO:
    return _checked(
      *_detected(coordinator, host), HEARTBEAT if heartbeat is None else heartbeat
    )
  names = {"coordinator": COORDINATOR, "hosts": HOSTS, "host": HOST}
  given = {"coordinator": coordinator, "hosts": hosts, "host": host}
  found = {
    name: environ.get(names[name]) if value is None else str(value)
    for name, value in given.items()
  }
  if found["hosts"] == "1":
    return None
  if all(value is None for value in found.values()):
    if heartbeat is not None:
      raise ValueError("heartbeat is for several hosts: add --hosts, or leave it out")
    return None
  missing = [f"--{name}" for name, value in found.items() if value is None]
  if missing:
    raise ValueError(
      f"{' and '.join(missing)} missing: several hosts need --coordinator HOST:PORT of "
      "the first, --hosts N and, on each, --host I from 0 to N - 1; or --hosts auto"
    )
  return _checked(
    str(found["coordinator"]), _number("hosts", found["hosts"]),
    _number("host", found["host"]), HEARTBEAT if heartbeat is None else heartbeat,
  )  # fmt: skip


def check_alone(command: str) -> None:
  """ValueError if `im21k launch` has started a command that each host would repeat."""
  if described(None, None, None):
    raise ValueError(f"{command} runs on one host only: start it without im21k launch")


def _checked(coordinator: str, hosts: int, host: int, heartbeat: float) -> World | None:
  if not 1 <= hosts <= _MOST_HOSTS:
    raise ValueError(f"hosts is {hosts}, but must be from 1 to {_MOST_HOSTS}, or auto")
  if not 0 <= host < hosts:
    raise ValueError(f"host is {host}, but must be from 0 to {hosts - 1}")
  if not 1 <= heartbeat <= 3600:
    raise ValueError(f"heartbeat is {heartbeat:g}, but must be from 1 to 3600 seconds")
  place = re.fullmatch(r"([^\[\]:]+|\[[0-9a-fA-F:.%]+\]):([0-9]{1,5})", coordinator)
  if not place or not 1 <= int(place[2]) <= 65_535:
    raise ValueError(
      f"coordinator is {coordinator!r}, but must be HOST:PORT of the first host, such "
      "as 10.0.0.1:7000"
    )
  return World(host, hosts, coordinator, heartbeat) if hosts > 1 else None


def _number(name: str, text: str | None) -> int:
  if not text or not re.fullmatch("[0-9]{1,9}", text):
    what = " or auto" if name == "hosts" else ""
    raise ValueError(f"{name} is {text!r}, but must be a whole number{what}")
  return int(text)


def _detected(coordinator: str | None, host: int | None) -> tuple[str, int, int]:
  """Coordinator, hosts and host of the cluster in which this process was started."""
  from jax._src.clusters import ClusterEnv  # JAX says none of it before it begins.

  place, count, number, _ = ClusterEnv.auto_detect_unset_distributed_params(
    coordinator, None, host, None, None, _DETECT_SECONDS
  )
  if place is None or count is None or number is None:
    raise ValueError(
      "hosts is auto, but nothing here says how many there are: start it with srun, "
      "mpirun or a Kubernetes job with indices, or give --coordinator, --hosts and "
      "--host"
    )
  return str(place), int(count), int(number)
