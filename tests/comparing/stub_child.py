"""A stand-in for `im21k.comparing.child` that trains nothing, in a tenth of a second.

It takes steps, notes each in `steps.log` beside the work folders, keeps a checkpoint a
step, and stops as a run does. Momentum says what happens to the run; one that WAITS
does so after two steps, until there is a file `go` beside the work folders.
"""

import fcntl
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

DIVERGES, RAISES, DIES, WAITS, REFUSED = 0.5, 0.6, 0.7, 0.8, 0.95
STEPS, HASHES = 4, {"data": "d" * 8, "classes": "c" * 8}


def check(config):
  if config["optimizer"]["momentum"] == REFUSED:
    return {"error": "momentum is not to its taste", "kind": "ValueError"}
  return {"total": STEPS, "hashes": HASHES}


def train(config, workdir):
  root, momentum = workdir.parent, config["optimizer"]["momentum"]
  stop = []
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, _: stop.append(number))
  lock = os.open(workdir / ".stub-lock", os.O_CREAT | os.O_RDWR)
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return {"error": "in use", "kind": "Held"}
  try:
    checkpoints = workdir / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    step = max((int(p.name) for p in checkpoints.iterdir()), default=0)
    (workdir / "config.json").write_text(json.dumps({**config, "hashes": HASHES}))
    note(root, f"{workdir.name} starts at {step}")
    while step < STEPS and not stop:
      if step == 2 and momentum == DIVERGES:
        return {"error": "the loss is nan", "kind": "FloatingPointError"}
      if step == 2 and momentum == RAISES:
        return {"error": "the disk is full", "kind": "CannotWrite"}
      if step == 2 and momentum == DIES:
        os.kill(os.getpid(), signal.SIGKILL)
      while step == 2 and momentum == WAITS and not stop and not (root / "go").exists():
        time.sleep(0.01)
      if stop:
        break
      step += 1
      note(root, f"{workdir.name} step {step}")
      measure(workdir, config, step)
      (checkpoints / str(step)).mkdir()
    if step == STEPS:
      (workdir / "weights").mkdir(exist_ok=True)
      document = {"config": {**config, "step": step}}
      (workdir / "weights" / "model.json").write_text(json.dumps(document))
    return {"finished": step == STEPS, "step": step}
  finally:
    os.close(lock)


def measure(workdir, config, step):
  """Better with weight decay, and with the seed."""
  score = (10 * step + config["seed"]) / 100 + config["optimizer"]["weight_decay"]
  row = {"step": step, "images": 8 * step, "loss": 2.0, "train_top_1": score}
  row |= {"lr": 0.1, "images_per_s": 100.0}
  rows = [row]
  if step % 2 == 0:
    held_out = {"eval_top_1": score / 2, "eval_top_5": score, "eval_loss": 3.0}
    rows.append({"step": step, "images": 8 * step, **held_out})
  with (workdir / "metrics.jsonl").open("a") as file:
    file.writelines(json.dumps(row) + "\n" for row in rows)


def note(root, line):
  with (root / "steps.log").open("a") as file:
    file.write(line + "\n")


def watch():
  while os.read(0, 1):
    pass
  os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
  with open(0, "rb", buffering=0, closefd=False) as stdin:
    request = json.loads(stdin.readline())
  threading.Thread(target=watch, daemon=True).start()
  if request["do"] == "check":
    answer = {"checked": [check(config) for config in request["configs"]]}
  else:
    answer = train(request["config"], Path(request["workdir"]))
  print(json.dumps(answer), flush=True)
  sys.exit(0)
