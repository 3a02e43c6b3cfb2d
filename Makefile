# Everything goes into .venv; each target does the set-up that it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PLANNER := $(VENV)/.planner
BEAM := $(VENV)/beam
BROWSER := $(VENV)/.browser
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
ARGS ?=
PACKING := array-record numpy simplejpeg opencv-python-headless xxhash pillow tqdm tyro \
  safetensors absl-py scipy jaxtyping

.PHONY: install demo gallery record check docs test test-fast format plan pack clean

install: $(INSTALLED)

$(INSTALLED): requirements.txt setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "im21k needs Python 3.11 or newer: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { test "$$(id -u)" = 0 && apt-get install -y python3-venv; } || \
	  { echo "Python's venv is missing: sudo apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	command -v nvidia-smi >/dev/null && cp requirements.txt $(VENV)/requirements.txt || \
	  sed 's/^jax\[cuda\]/jax/' requirements.txt >$(VENV)/requirements.txt
	$(PIP) -r $(VENV)/requirements.txt
	$(PIP) -e '.[dev]'
	touch $@

# What some tests need: XLA's compiler for CUDA, 600 MB, in jaxlib's own version (no GPU
# is needed for it), and what drives a browser.
$(PLANNER): $(INSTALLED)
	version=$$($(BIN)/python -c 'import jaxlib; print(jaxlib.__version__)') && \
	  $(PIP) -e '.[plan,browser]' jax-cuda12-plugin==$$version jax-cuda12-pjrt==$$version
	touch $@

# Apache Beam brings another protobuf than JAX: it has an environment of its own, with
# Dask, and what packing imports.
$(BEAM)/.installed: $(INSTALLED)
	$(PYTHON) -m venv --clear $(BEAM)
	$(BEAM)/bin/pip install --quiet --disable-pip-version-check \
	  -c $(VENV)/requirements.txt 'apache-beam>=2.77,<3' \
	  'distributed>=2026.8,<2027' $(PACKING)
	$(BEAM)/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

$(BROWSER): $(INSTALLED)
	@{ command -v chromium && command -v chromedriver; } >/dev/null || \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -q && \
	    apt-get install -q -y chromium chromium-driver; } || \
	  echo "*** No Chromium: the tests of pages will SKIP" \
	    "(sudo apt-get install chromium chromium-driver) ***"
	touch $@

demo: install
	rm -rf runs/demo runs/demo-photos
	$(BIN)/im21k pack data/sample_photos runs/demo-photos --eval-per-class 1
	$(BIN)/im21k train demo --workdir runs/demo
	@echo; echo "On the photos it was trained on:"
	@$(BIN)/im21k evaluate runs/demo/weights runs/demo-photos --split train
	@echo; echo "On photos held out (few a class; no more than a sign of life):"
	@$(BIN)/im21k evaluate runs/demo/weights runs/demo-photos --split eval
	@echo; $(BIN)/im21k predict runs/demo/weights data/sample_photos/n04587559/*.jpg \
	  --top-k 3 --plot runs/demo/predictions.png | tail -n 22
	@echo "learning curve: runs/demo/learning_curve.png"

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What is generated in README and docs: the tree, the config keys, tables of results.
docs: install
	$(BIN)/python docs/generate.py
	$(BIN)/python benchmarks/tables.py

# Pictures of all pages, of the demo's run.
gallery: $(BROWSER)
	test -d runs/demo/weights || $(MAKE) demo
	$(PIP) -e '.[browser]'
	$(BIN)/python docs/gallery.py

# A record of experiments/speedrun, with the photos that its README names.
record: export RECORD := $(value RECORD)
record: export PHOTOS := $(value PHOTOS)
record: install
	@test -n "$$RECORD" || { echo 'make record RECORD=1 PHOTOS=FILE.tar'; exit 1; }
	$(BIN)/python experiments/speedrun/record.py "$$RECORD" \
	  $${PHOTOS:+--photos "$$PHOTOS"} $(ARGS)

# Every test.
test: $(PLANNER) $(BEAM)/.installed $(BROWSER) check
	$(BIN)/pytest -n 2 --dist loadfile --durations=15 --durations-min=20 $(ARGS)

# What needs no compiler for CUDA, no browser, no Beam and no golden nets.
test-fast: install check
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow" $(ARGS)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

plan: $(PLANNER)
	$(BIN)/im21k plan --config=experiments/configs/inception_bn_21k.py \
	  --gpu rtx3050-4gb --sweep --dump runs/plan $(ARGS)

# As environment variables, names with spaces, quotes and dollar signs stay as they are.
pack: export SRC := $(value SRC)
pack: export DST := $(value DST)
pack: install
	@test -n "$$SRC" && test -n "$$DST" || \
	  { echo 'make pack SRC="my photos" DST=packed [ARGS=…]'; exit 1; }
	$(BIN)/im21k pack "$$SRC" "$$DST" $(ARGS)

clean:
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
