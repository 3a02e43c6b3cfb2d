"""Makes the golden files of this folder with the original software.

  python3.8 -m venv mx && mx/bin/pip install mxnet==1.9.1 'numpy<1.24'
  mx/bin/python tests/golden/make.py

The networks are written down here a second time, from the tables of the original, and
run by MXNet on CPU. It takes about ten minutes and 4 GB.
"""

import json
import os
import pathlib
import sys

# With it, MXNet keeps the moving statistics that it updates to itself.
os.environ["MXNET_SUBGRAPH_BACKEND"] = "NONE"

import mxnet as mx
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import formula

HERE = pathlib.Path(__file__).parent
TOP = [
  ("4a", 224, 64, 96, 96, 128, "avg", 128),
  ("4b", 192, 96, 128, 96, 128, "avg", 128),
  ("4c", 160, 128, 160, 128, 160, "avg", 128),
]
END = [
  ("4e", 0, 128, 192, 192, 256, "max", 0),
  ("5a", 352, 192, 320, 160, 224, "avg", 128),
  ("5b", 352, 192, 320, 192, 224, "max", 128),
]
NETS = {
  "full": (
    (96, 128, 288),
    [
      ("3a", 96, 96, 96, 96, 144, "avg", 48),
      ("3b", 96, 96, 144, 96, 144, "avg", 96),
      ("3c", 0, 192, 240, 96, 144, "max", 0),
      *TOP,
      ("4d", 96, 128, 192, 160, 96, "avg", 128),
      *END,
    ],
  ),
  "plain": (
    (64, 64, 192),
    [
      ("3a", 64, 64, 64, 64, 96, "avg", 32),
      ("3b", 64, 64, 96, 64, 96, "avg", 64),
      ("3c", 0, 128, 160, 64, 96, "max", 0),
      *TOP,
      ("4d", 96, 128, 192, 160, 192, "avg", 128),
      *END,
    ],
  ),
}


def network(net, pooling, average_pool):
  def conv(x, name, count, kernel, stride=1):
    x = mx.sym.Convolution(
      x,
      name="conv_" + name,
      num_filter=count,
      kernel=(kernel, kernel),
      stride=(stride, stride),
      pad=(kernel // 2, kernel // 2),
    )
    x = mx.sym.BatchNorm(x, name="bn_" + name, eps=1e-10, momentum=0.1, fix_gamma=False)
    return mx.sym.Activation(x, act_type="relu")

  def halve(x):
    if pooling == "ceil":
      return mx.sym.Pooling(
        x, kernel=(3, 3), stride=(2, 2), pool_type="max", pooling_convention="full"
      )
    return mx.sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max")

  (c1, c2_reduce, c2), rows = NETS[net]
  x = halve(conv(mx.sym.Variable("data"), "conv1", c1, 7, 2))
  x = halve(conv(conv(x, "conv2red", c2_reduce, 1), "conv2", c2, 3))
  for block, n1, n3r, n3, d3r, d3, pool, proj in rows:
    stride = 1 if n1 else 2
    parts = [conv(x, block + "_1x1", n1, 1)] if n1 else []
    parts.append(
      conv(conv(x, block + "_3x3_reduce", n3r, 1), block + "_3x3", n3, 3, stride)
    )
    y = conv(x, block + "_double_3x3_reduce", d3r, 1)
    y = conv(y, block + "_double_3x3_0", d3, 3)
    parts.append(conv(y, block + "_double_3x3_1", d3, 3, stride))
    if n1:
      y = mx.sym.Pooling(
        x,
        kernel=(3, 3),
        stride=(1, 1),
        pad=(1, 1),
        pool_type=pool,
        count_include_pad=average_pool == "counted",
      )
      parts.append(conv(y, block + "_proj", proj, 1))
    else:
      parts.append(halve(x))
    x = mx.sym.Concat(*parts)
  x = mx.sym.Pooling(x, kernel=(1, 1), pool_type="avg", global_pool=True)
  return mx.sym.FullyConnected(
    mx.sym.Flatten(x), name="fc1", num_hidden=formula.CLASSES[net]
  )


def bound(net, pooling, average_pool):
  logits = network(net, pooling, average_pool)
  shape = (formula.BATCH, 3, formula.SIDE, formula.SIDE)
  run = logits.simple_bind(mx.cpu(), data=shape, grad_req="write")
  reset(run)
  return run


def reset(run):
  for name, value in [*run.arg_dict.items(), *run.aux_dict.items()]:
    if name != "data":
      value[:] = formula.array(name, value.shape)


def forward(run, net, train, index=0):
  run.arg_dict["data"][:] = formula.images(net, index)
  return run.forward(is_train=train)[0].asnumpy()


def backward(run, logits, labels):
  """Of the mean cross-entropy; returns it."""
  exponents = np.exp(logits - logits.max(1, keepdims=True), dtype="f8")
  p = exponents / exponents.sum(1, keepdims=True)
  rows = np.arange(len(labels))
  loss = -np.log(p[rows, labels]).mean()
  p[rows, labels] -= 1
  run.backward(mx.nd.array((p / len(labels)).astype("f4")))
  mx.nd.waitall()  # nobody else waits for the moving statistics
  return loss


def trajectory(run, classes):
  """SGD with momentum: m = momentum·m − rate·(grad + decay·w); w += m."""
  momenta = {
    name: np.zeros(value.shape, "f4")
    for name, value in run.arg_dict.items()
    if name != "data"
  }
  losses = []
  for step in range(formula.STEPS):
    logits = forward(run, "full", True, step % 4)
    losses.append(backward(run, logits, formula.labels(classes, step % 4)))
    rate = formula.RATES[step >= formula.CHANGE]
    for name, momentum in momenta.items():
      w, gradient = run.arg_dict[name].asnumpy(), run.grad_dict[name].asnumpy()
      momentum *= formula.MOMENTUM
      momentum -= np.float32(rate) * (gradient + np.float32(formula.DECAY) * w)
      run.arg_dict[name][:] = w + momentum
    print(step, losses[-1], flush=True)
  return losses


def main():
  figures = {"mxnet": mx.__version__}
  for net, classes in formula.CLASSES.items():
    stored = {}
    for pooling in ("ceil", "floor"):
      for average_pool in ("counted", "ignored"):
        run = bound(net, pooling, average_pool)
        key = pooling + " " + average_pool
        stored["inference " + key] = forward(run, net, False)
    run = bound(net, "ceil", "counted")
    norms = []
    for index in range(len(formula.BATCHES[net])):
      reset(run)
      logits = forward(run, net, True, index)
      loss = backward(run, logits, formula.labels(classes, index))
      if index == 0:
        stored["training"] = logits
        figures[net + " loss"] = loss
        for name, value in run.aux_dict.items():
          stored["aux " + name] = value.asnumpy()
      lengths, samples = {}, []
      for name, value in sorted(run.grad_dict.items()):
        if name != "data":
          gradient = value.asnumpy()
          samples.append(formula.sample(name, gradient))
          lengths[name] = float(np.linalg.norm(gradient.astype("f8")))
      stored["gradients " + str(index)] = np.stack(samples)
      norms.append(lengths)
    figures[net + " gradient norms"] = norms
    if net == "full":
      reset(run)
      figures["full trajectory"] = trajectory(run, classes)
    np.savez_compressed(str(HERE / (net + ".npz")), **stored)
  (HERE / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
  main()
