# `make book` and `make test` do all their set-up by themselves: all they ask for is Python 3.11 (or newer) and make.
# A second call redoes only what changed. Everything made here is ignored by git; `make clean` removes it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PROFILE ?= quick

NOTEBOOKS := $(wildcard notebooks/*.ipynb)
EXECUTED := $(NOTEBOOKS:notebooks/%=results/executed/%)
SOURCES := $(shell find deepcv -type f -not -path '*/__pycache__/*')
RECORDED := $(shell find results/recorded results/paper -type f 2>/dev/null)
PAGES := _config.yml $(shell find book -type f -not -path '*/__pycache__/*')
FIRST_PAGE := _build/html/intro.html
CHECKS := $(addprefix check-,companion rest notebooks others training book extend arithmetic)

# So many notebooks and pieces of the tests run side by side, each in one process of one thread; but profiles other than
# "quick" take all cores for each notebook.
JOBS ?= 2
MAKEFLAGS += -j$(JOBS)
# If set, each of a hundred processes would compile torch's sources again, which takes three seconds.
export PYTHONDONTWRITEBYTECODE :=
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

.PHONY: help book test $(CHECKS) bench bench-check picture lint lock clean
.DELETE_ON_ERROR:

help:
	@echo "make book    run the notebooks (profile $(PROFILE)) and build the book"
	@echo "make test    the tests, the notebooks once more, the book's links"
	@echo "make bench   ours and the peers side by side, about ten minutes (BENCH='--help' shows the options)"
	@echo "make bench-check  in two minutes: are ours slower than recorded, in units of the peers?"
	@echo "make lint    style, spelling, types, notebooks without outputs"
	@echo "make picture the picture in the README"
	@echo "make lock    write requirements.lock and sbom.cdx.json anew from pyproject.toml"
	@echo "make clean   remove the environment, the executed notebooks and the book"

book: $(FIRST_PAGE)
	@echo "The book is built. Its first page: $(CURDIR)/$(FIRST_PAGE)"

# The tests in pieces, each a target of its own, beside the notebooks as long as these run. In "check-notebooks" and
# "check-others", half of them each, nbval runs every executed notebook again and compares text.
test: $(CHECKS)

HALF := $(wordlist 1,12,$(EXECUTED))
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=900 --nbval-sanitize-with tests/nbval_sanitize.cfg
check-notebooks check-others: $(EXECUTED)
check-book: $(FIRST_PAGE)
check-notebooks: TESTS = $(HALF) $(NBVAL)
check-others: TESTS = $(filter-out $(HALF),$(EXECUTED)) $(NBVAL)
check-companion: TESTS = tests/companion
check-book: TESTS = tests/test_book.py tests/test_picture.py
check-training: TESTS = tests/amortized
check-extend: TESTS = tests/test_extend.py
# what fits networks, once more as an older processor computes it
check-arithmetic: TESTS = -m arithmetic tests/model tests/baselines tests/amortized
check-arithmetic: export ATEN_CPU_CAPABILITY := default
check-arithmetic: export OPENBLAS_CORETYPE := Nehalem
check-arithmetic: export ONEDNN_MAX_CPU_ISA := SSE41
check-rest: TESTS = tests $(addprefix --ignore=,tests/companion tests/test_book.py tests/test_picture.py tests/amortized \
	tests/test_extend.py)

$(CHECKS): .make/installed
	@echo "Testing: $@ …"
	@$(BIN)/python -m pytest $(TESTS) > .make/$@.log 2>&1; status=$$?; cat .make/$@.log; exit $$status

# On an idle machine; into results/benchmarks/, or with BENCH=--record into results/recorded/.
bench: .make/installed
	$(BIN)/python -m benchmarks $(BENCH)

# Fails with a sentence for each method that is slower.
bench-check: .make/installed
	$(BIN)/python -m benchmarks --check $(BENCH)

# Pictures of the README and of the page "Segment a picture": embedded images, seed 0.
picture: .make/installed
	$(BIN)/python -c "from deepcv.companion.experiments import figure03 as f; \
		s = f.Settings(methods=('saliency', 'chan-vese', 'grabcut', 'deep-cv'), \
			images=('coins', 'coffee', 'modes-ring', 'overlap-disk')); \
		f.plot(f.EXPERIMENT.run(s)).savefig('book/overview.png', dpi=100)"
	$(BIN)/python -c "from deepcv.companion.experiments import interaction; \
		interaction.plot_examples(200, 400).savefig('book/marks.png', dpi=100)"

TSC := npm_config_fetch_retries=0 npx --yes --package=typescript@7.0.2 tsc
lint: .make/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/nbstripout --verify --keep-id $(NOTEBOOKS)
	$(BIN)/mypy
	@if $(TSC) --version > /dev/null 2>&1; then echo "tsc book/_style/*.js"; \
		$(TSC) --checkJs --noEmit --strict --target es2022 --lib es2022,dom,dom.iterable book/_style/*.js; \
		else echo "Without npm the types in the pages' scripts are not checked."; fi

# -- set-up ------------------------------------------------------------------------------------------------------------

.make/python:
	@mkdir -p .make
	@test -n "$(PYTHON)" || { echo "There is no python3 on the PATH: install Python 3.11, or make PYTHON=/path/to/it"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than 3.11: install Python 3.11, or make PYTHON=/path/to/it"; exit 1; }
	@echo "Making an environment in $(VENV) with $(PYTHON) …"
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@

# No file whose hash isn't in a lock is installed, and nothing that isn't in one. torch is built for the CPU where there
# is such a build, otherwise for NVIDIA's cards, with what these need.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile --no-deps
.make/locked: requirements.lock requirements-cpu.lock requirements-cuda.lock .make/python
	@echo "Installing the $(shell grep -c == requirements.lock) packages of requirements.lock (a few minutes the first time) …"
	@$(INSTALL) --require-hashes -r requirements-cpu.lock 2> /dev/null || true
	@$(INSTALL) --require-hashes -r requirements.lock
	@! $(BIN)/pip check | grep -q '^torch .* requires nvidia' || $(INSTALL) --require-hashes -r requirements-cuda.lock
	@touch $@

.make/installed: pyproject.toml .make/locked
	@echo "Installing deepcv …"
	@$(INSTALL) --no-build-isolation -e .
	@touch $@

# -- notebooks and book ------------------------------------------------------------------------------------------------

# Written aside and moved when the last cell has succeeded: what lies in results/executed ran to its end.
results/executed/%.ipynb: notebooks/%.ipynb $(SOURCES) $(RECORDED) .make/locked | .make/installed
	@mkdir -p results/executed .make/executed
	@echo "Running $< (profile $(PROFILE)) …"
	@$(if $(filter quick,$(PROFILE)),LOKY_MAX_CPU_COUNT=1) $(BIN)/papermill --no-request-save-on-cell-execute --kernel python3 $< .make/executed/$*.ipynb -p profile $(PROFILE)
	@mv .make/executed/$*.ipynb $@

# From scratch each time, it takes seconds: an incremental build forgets the warnings of pages it does not read again.
$(FIRST_PAGE): $(PAGES) $(EXECUTED) $(SOURCES) | .make/installed
	@mkdir -p results/executed
	@echo "Building the book …"
	@rm -rf _build
	@$(BIN)/jupyter-book build book/ -q -W -n --keep-going > /dev/null || { rm -rf _build; exit 1; }

# -- upkeep ------------------------------------------------------------------------------------------------------------

# torch stays as the lock has it: edit that line to move it. The new lock is installed, which checks it, and what it
# installs says its licences.
lock:
	@rm -rf .make/fresh && mkdir -p .make
	@"$(PYTHON)" -m venv .make/fresh
	@.make/fresh/bin/pip install --quiet --disable-pip-version-check uv
	@.make/fresh/bin/python tools/lock.py
	@for lock in -cpu ""; do .make/fresh/bin/pip install --quiet --disable-pip-version-check --no-compile --no-deps \
		--require-hashes -r requirements$$lock.lock || exit; done
	@.make/fresh/bin/python tools/lock.py --bom
	@rm -rf .make/fresh

clean:
	rm -rf $(VENV) .make _build results/executed results/figures deepcv.egg-info
