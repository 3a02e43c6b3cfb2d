"""The same net in PyTorch, in a child of `gpu.py`: channels last, TF32 or AMP.

It begins with the parameters and photos of `gpu_step`, which JAX makes on the CPU.
"""

import time
from typing import Any

import numpy as np
import torch


def measure(options: dict[str, Any]) -> None:
  """Builds and, if asked, compiles the net, then runs as many steps as asked."""
  import gpu_child

  net = Net(options)
  if options["torch_compile"]:
    net.run(1)  # torch.compile works at the first step
  gpu_child.say(ready=True, compile_s=net.seconds)
  while message := gpu_child.asked():
    gpu_child.say(**net.run(message["steps"]))


class Net:
  """Net, optimizer and batch on the device.

  Args:
    options: `config` and `settings` as for `gpu_step.Step`, and `torch_compile`,
      whether it is used.
  """

  def __init__(self, options: dict[str, Any]):
    start = time.perf_counter()
    import gpu_step
    import train_cpu

    step = gpu_step.Step(options)
    config = step.config
    self._device = "cuda" if torch.cuda.is_available() else "cpu"
    self._amp = config.model.get("dtype") == "bfloat16"
    self._mean = float(config.mean)  # type: ignore[arg-type]  # one number here
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")  # TF32, which XLA takes, too
    net = train_cpu.torch_net(gpu_step.parameters(step.shapes.params))
    net = net.to(self._device, memory_format=torch.channels_last)
    self._net = torch.compile(net) if options["torch_compile"] else net
    settings = config.optimizer
    self._optimizer = torch.optim.SGD(
      net.parameters(),
      0.01,
      settings.momentum,
      weight_decay=settings.weight_decay,
      **({"fused": True} if self._device == "cuda" else {}),
    )
    classes = step.shapes.params["head"]["bias"].shape[0]
    images, labels = gpu_step.photos_of(config.batch_size, config.image_size, classes)
    # NHWC in memory, as channels_last is.
    self._images = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2)
    self._labels = torch.from_numpy(labels.astype(np.int64)).to(self._device)
    self.first_loss: float | None = None
    self._start: float | None = start
    self.seconds: float | None = None

  def run(self, count: int) -> dict[str, Any]:
    """Takes `count` steps; see `gpu_step.Step.run`."""
    self._wait()
    start = time.perf_counter()
    losses = [self._step() for _ in range(count)]
    self._wait()
    seconds = time.perf_counter() - start
    found = [float(loss) for loss in losses]
    if self.first_loss is None:
      self.first_loss = found[0]
      self.seconds = round(time.perf_counter() - (self._start or start), 1)
    peak = torch.cuda.max_memory_allocated() if self._device == "cuda" else 0
    return {
      "seconds": seconds,
      "losses": found,
      "peak_mib": round(peak / 2**20, 1) or None,
      "first_loss": self.first_loss,
    }

  def _step(self) -> torch.Tensor:
    self._optimizer.zero_grad()
    with torch.autocast(self._device, torch.bfloat16, enabled=self._amp):
      x = self._images.to(torch.bfloat16 if self._amp else torch.float32) - self._mean
      loss = torch.nn.functional.cross_entropy(self._net(x), self._labels)
    loss.backward()
    self._optimizer.step()
    return loss.detach()

  def _wait(self) -> None:
    if self._device == "cuda":
      torch.cuda.synchronize()
