"""What setup.cfg cannot say: the shipped configs have their home outside im21k/."""

from setuptools import find_packages, setup

setup(
  packages=[*find_packages(include=["im21k*"]), "im21k.configs"],
  package_dir={"im21k.configs": "experiments/configs"},
)
