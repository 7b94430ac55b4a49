# make demo    one network learns images, their pixels as sets, and clouds; no compiler needed
# make test    everything, with the compiled packages torch-scatter and torch-cluster
# make lint    style and types
# make bench   benchmarks/results/bench-cpu.* or bench-cuda.*: networks, memory, clouds, scenes; compiles much, so it takes long
# make faults  20 training runs, each killed at a random moment, resumed and compared bit by bit
# make accuracy IMAGES=PATH CLOUDS=PATH  benchmarks/results/accuracy.md: CIFAR-10 as class folders, ModelNet10 as HDF5; 3 hours
# make docs    docs/_build/html, every warning an error
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet
CONSTRAINED := $(PIP) -c constraints.txt

.PHONY: demo test lint faults bench accuracy docs clean
.DELETE_ON_ERROR:

demo: $(VENV)/train.done
	$(BIN)/python examples/demo.py

# Two processes of one thread each: two threads each would wait for one another.
test: $(VENV)/dev.done $(VENV)/points.done
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --cov=pointcoc --cov-report=term-missing:skip-covered --cov-fail-under=90

faults: $(VENV)/train.done
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore tests/tools/faults.py

lint: $(VENV)/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror pointcoc/ops/native/*
	$(BIN)/mypy

# BENCH='--quick', '--paper' or other options of benchmarks/bench.py. The profiler reports its own steps below level 99.
bench: $(VENV)/train.done
	KINETO_LOG_LEVEL=99 $(BIN)/python -W ignore benchmarks/bench.py $(BENCH)

# IMAGES: folder with train/CLASS/*.jpg and test/CLASS/*.jpg; CLOUDS: folder with ply_data_*.h5. Runs that are finished
# (runs/accuracy.jsonl) are not run again. ACCURACY='--only coc_nano' or other options of benchmarks/accuracy.py.
accuracy: $(VENV)/points.done
	@test -n '$(IMAGES)$(CLOUDS)' || { echo 'make accuracy needs IMAGES=PATH, CLOUDS=PATH or both; see the head of benchmarks/accuracy.py'; exit 2; }
	OMP_NUM_THREADS=2 $(BIN)/python -W ignore benchmarks/accuracy.py $(if $(IMAGES),--images '$(IMAGES)') $(if $(CLOUDS),--clouds '$(CLOUDS)') $(ACCURACY)

docs: $(VENV)/docs.done
	$(BIN)/python -W ignore::FutureWarning -m sphinx --fail-on-warning --keep-going --nitpicky --fresh-env --quiet docs docs/_build/html
	@echo "open docs/_build/html/index.html"

$(VENV)/base.done:
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else f"pointcoc needs Python 3.11 to 3.13, got {sys.version.split()[0]}; make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/train.done: $(VENV)/base.done pyproject.toml constraints.txt
	$(CONSTRAINED) -e '.[train]'
	touch $@

$(VENV)/dev.done: $(VENV)/train.done
	$(CONSTRAINED) -e '.[train,sources,viz,detection,clouds,heic,dev,onnx]'
	touch $@

$(VENV)/docs.done: $(VENV)/train.done
	$(CONSTRAINED) -e '.[train,docs]'
	touch $@

# Built from source, both at once: about 10 minutes the first time, then from pip's cache. That cache does not know the
# version of torch a wheel was built for, so a wheel that does not load is built again without it.
$(VENV)/points.done: $(VENV)/train.done
	$(CONSTRAINED) setuptools wheel ninja
	@echo 'building torch-scatter and torch-cluster (a C++ compiler works for about 10 minutes if no wheel is cached)'
	$(MAKE) -j2 $(VENV)/torch-scatter.done $(VENV)/torch-cluster.done
	touch $@

$(VENV)/torch-%.done:
	$(CONSTRAINED) --no-build-isolation --no-deps torch-$*
	$(BIN)/python -W ignore -c 'import torch_$*' || \
		$(CONSTRAINED) --no-build-isolation --no-deps --no-cache-dir --force-reinstall torch-$*
	$(BIN)/python -W ignore -c 'import torch_$*'
	touch $@

clean:
	rm -rf $(VENV) docs/_build build dist *.egg-info .coverage
