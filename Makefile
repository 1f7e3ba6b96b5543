# Two commands for newcomers: `make demo` and `make test`. Both install what they need into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: demo test install soak load fuzz compatibility lint kernels clean

demo: $(INSTALLED)  ## train a slim FCN on generated streets, export it, label a drive
	$(BIN)/python examples/demo.py

test: $(INSTALLED)  ## run all tests
	$(BIN)/python -m pytest

install: $(INSTALLED)  ## only install, into .venv

soak: $(INSTALLED)  ## run live video for half an hour: memory, order, a server that dies again and again
	$(BIN)/python -m pytest -s tests/soak.py

load: $(INSTALLED)  ## ask a server with 64 clients for a minute, then at 80 % of what it reaches
	$(BIN)/python -m pytest -s tests/load.py

fuzz: $(INSTALLED)  ## damage models, sidecars and checkpoints for MINUTES (15), count what becomes of them
	FUZZ_MINUTES=$(or $(MINUTES),15) $(BIN)/python -m pytest --timeout 0 tests/hostile/test_mutants.py -k thousands

compatibility: $(INSTALLED)  ## run TESTS (some, all) on every Python that is found, and exported files in the runtimes of others
	FCNRT_COMPATIBILITY_TESTS=$(or $(TESTS),some) $(BIN)/python tests/compatibility

lint: $(INSTALLED)  ## what CI checks beside the tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@test ! -x $(BIN)/hadolint || $(BIN)/hadolint docker/*.Dockerfile

kernels: $(INSTALLED)  ## compile the GPU kernels for every GPU generation, to install with the package
	$(BIN)/python export/compile_kernels.py -o runtime/fcnrt/gpu/packs

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "fcnrt needs Python 3.10 or newer, $(PYTHON) is $$($(PYTHON) --version); try: make PYTHON=python3.12"; exit 1; }
	@echo "installing into $(VENV) (torch is large: a few minutes and 6 GB the first time)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:  ## remove what the other targets made
	rm -rf $(VENV) demo build dist runtime/fcnrt/gpu/packs
