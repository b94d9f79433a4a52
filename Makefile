# Every target works on a fresh machine with Python 3.11+ and make: each one makes .venv when it
# is missing or older than what it is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
# Test files side by side, three at a time: most of a test's time is waiting, and two of them leave
# half of two cores idle. A file stays together, as do its fixtures.
SIDE_BY_SIDE := -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: demo dev test check bench chaos peers browser record monitoring monitoring-tools clean
.DELETE_ON_ERROR:

demo: $(READY)
	@$(BIN)/headgate demo $(ARGS)

dev: $(READY)
	@$(BIN)/headgate dev $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# What governance costs (the same as headgate bench), our breaker beside other Python libraries, what
# dividing a pool and simulating a day cost, and what adaptive limits are worth (half an hour).
bench: $(READY)
	$(BIN)/python -m bench.performance $(ARGS)
	$(BIN)/python -m bench.breakers
	$(BIN)/python -m bench.solver
	$(BIN)/python -m bench.simulate
	$(BIN)/python -m bench.limits

# Longer tests of processes that are stopped and killed (minutes).
chaos: $(READY)
	HEADGATE_CHAOS=1 $(BIN)/python -m pytest tests/chaos $(ARGS)

# Installs what tests use that is no Python package: Debian's Alertmanager (only root can; without
# it its tests are skipped), and, into .peers, what tests in other languages use and axe, which looks
# at pages in tests/browser; those do it themselves if need be.
peers: $(READY)
	@$(BIN)/python -m tests.notifier.real_alertmanager
	@$(BIN)/python -m tests.foreign.packages

# The browser for tests/browser, from Debian; where there is none, those tests are skipped.
browser:
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium; }

# Records new workflow histories for tests/replay; never overwrites one that is there.
record: $(READY)
	$(BIN)/python -m tests.replay.record $(ARGS)

# Writes the Grafana board and the Prometheus alert rules anew from the list of metrics.
monitoring: $(READY)
	$(BIN)/python -m headgate.monitoring

# Installs promtool (of Debian's prometheus), with which tests check them; they skip without it.
# Its service is not wanted: nothing here talks to a Prometheus.
monitoring-tools:
	@command -v promtool >/dev/null && exit 0; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "promtool is missing: install Debian's package prometheus as root" >&2; exit 0; fi; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends prometheus >/dev/null || \
		{ echo "promtool could not be installed; its tests will be skipped" >&2; exit 0; }; \
	if [ -d /run/systemd/system ]; then systemctl disable --now --quiet prometheus; fi

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "headgate needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 2; }
	@echo "setting up $(VENV) (once; about a minute)" >&2
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' >&2
	@touch $(READY)

clean:
	rm -rf $(VENV) .headgate .peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
