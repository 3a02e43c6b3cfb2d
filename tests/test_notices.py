"""Nothing about CUDA on a machine without a GPU; everything else is passed on."""

import os
import subprocess
import sys

import pytest

from im21k import notices

DEVICES = "import im21k, jax; print(jax.devices()[0].platform)"


def test_a_script_of_ones_own_prints_nothing_about_cuda(need):
  """Beside the plugin or not; where there is a driver, anything may be said."""
  need(not notices.has_nvidia_driver(), "a machine without a driver")
  done = subprocess.run(
    [sys.executable, "-c", DEVICES], capture_output=True, text=True, check=True
  )
  assert (done.stdout, done.stderr) == ("cpu\n", "")


def test_other_lines_are_passed_on(capfd):
  with pytest.raises(OSError, match="broken"), notices._without_notices():
    os.write(2, b"WARNING: All log messages before absl::InitializeLog() are\n")
    os.write(2, b"I0000 1 cudart_stub.cc:31] Could not find cuda drivers\n")
    os.write(2, b"E0000 1 something else\n")
    raise OSError("broken")
  assert capfd.readouterr().err == "E0000 1 something else\n"


def test_without_a_standard_error_nothing_is_lost():
  code = "import os; os.close(2); " + DEVICES
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
  assert done.returncode == 0 and done.stdout == b"cpu\n"


def test_with_a_driver_nothing_is_changed(monkeypatch):
  monkeypatch.setattr(notices, "has_nvidia_driver", lambda: True)
  monkeypatch.setattr(sys, "meta_path", [])
  monkeypatch.delenv("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", raising=False)
  notices.silence()
  assert not sys.meta_path and "JAX_SKIP_CUDA_CONSTRAINTS_CHECK" not in os.environ


def test_without_one_only_the_modules_of_the_plugin_are_found_differently(monkeypatch):
  monkeypatch.setattr(notices, "has_nvidia_driver", lambda: False)
  monkeypatch.setattr(sys, "meta_path", [])
  monkeypatch.setenv("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "")
  notices.silence()
  notices.silence()
  (finder,) = sys.meta_path
  assert os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] == "", "the user's own stays"
  for name in ("json", "jax", "jax_cuda12_plugin", "jax_plugins", "jaxlib.gpu_linalg"):
    assert finder.find_spec(name, None) is None
