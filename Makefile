# Thin: each target is one command. LAYOUT chooses the lab: default (four hosts), single, ha (three managers), or kernel.
LAYOUT ?= default
PYTHON := $(shell command -v python3)
LAB := $(PYTHON) molecule/shared/lab.py

# The tools of .venv come first, for our commands and for what these start.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help venv lock lab lab-kernel lab-down lab-kernel-down lint unit integration e2e e2e-kernel reset-test verify \
  test test-fast test-long test-long-ha test-long-kernel bench bench-same bench-modules bench-users

help: ## Show this help
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

venv: ## Make .venv (all tools) and .venv-hub (the hub image's packages), each when its lock has changed
	@tests/make_venv .venv requirements.lock
	@tests/make_venv .venv-hub images/hub/requirements.lock pytest pytest-asyncio jupyter-server

lock: ## Write requirements.lock anew from pyproject.toml; UPGRADE=1 takes the newest versions allowed
	CUSTOM_COMPILE_COMMAND="make lock" pip-compile --quiet $(if $(UPGRADE),--upgrade) --output-file requirements.lock pyproject.toml
	CUSTOM_COMPILE_COMMAND="make lock" pip-compile --quiet $(if $(UPGRADE),--upgrade) --no-config --strip-extras --generate-hashes \
	  --allow-unsafe --no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --output-file bench/requirements.lock bench/requirements.in

lab: ## A cluster of containers on this machine (LAYOUT=single: one host alone; ha: three managers); needs root
	$(LAB) up --layout $(LAYOUT)

lab-kernel: ## A cluster of three hosts with kernels of their own, for NFS, IPVS and reboots; needs root
	$(LAB) up --layout kernel

lab-down: ## Remove all that the lab started, whichever it is
	$(LAB) down

lab-kernel-down: lab-down ## The same

lint: venv ## ruff, mypy, yamllint, ansible-lint
	ruff check .
	ruff format --check .
	mypy
	mypy --python-executable .venv-hub/bin/python images/hub
	yamllint --strict .
	ANSIBLE_INVENTORY=inventory/example/hosts.yml ansible-lint

unit: venv ## Unit tests: no root, no network
	pytest --numprocesses 3 tests/unit --ignore tests/unit/hub
	.venv-hub/bin/python -m pytest --confcutdir tests/unit/hub tests/unit/hub

integration: venv ## Our modules against real Docker engines; needs root
	pytest --numprocesses 4 --dist loadfile tests/integration

bench: venv ## site.yml beside pyinfra, ordinary Ansible and its floor, up to 40 hosts; three quarters of an hour, 24 GB of memory, root and no lab
	@tests/make_venv .venv-bench bench/requirements.lock
	python -m bench.run

bench-same: venv ## On the lab that is up: whether site.yml, pyinfra and ordinary Ansible mend the same things to the same state
	@tests/make_venv .venv-bench bench/requirements.lock
	python -m bench.check

bench-modules: venv ## What our swarm modules cost beside community.docker's; needs root
	python bench/modules.py

bench-users: venv ## 150 people on the lab of containers that is up: hub, proxy, waits, failures; needs 24 GB of memory and root
	python -m bench.users

# Each lab has tests of its own; those marked `long` stay out unless they are asked for (pyproject.toml).
CONTAINERS := tests/e2e --ignore tests/e2e/test_kernel.py --ignore tests/e2e/test_ha.py
KERNELS := tests/e2e/test_kernel.py
MANAGERS := tests/e2e/test_ha.py

e2e: venv ## The lab of containers that is up, seen from outside, with a real browser
	pytest -rP $(CONTAINERS) --ignore tests/e2e/test_reset.py

e2e-kernel: venv ## The lab of kernels that is up: what containers cannot show
	pytest -rP $(KERNELS)

reset-test: venv ## playbooks/reset.yml on the lab that is up, and site.yml after it
	pytest tests/e2e/test_reset.py

verify: venv ## A user's path through the hub of the lab that is up
	ansible-playbook --inventory .lab/inventory playbooks/verify.yml

test: ## All that a change must pass; needs root on Debian; installs what is missing
	tests/run

test-fast: lint unit ## Lint and unit tests

test-long: venv ## What takes longer: killed runs (KILLS=10 of each), GPU workers over their lives; needs root and the lab of containers
	pytest -rP -m long tests/integration
	pytest -rP -m long $(CONTAINERS)

test-long-ha: venv ## The loss of a manager, on the lab of three that is up (LAYOUT=ha)
	pytest -rP -m long $(MANAGERS)

test-long-kernel: venv ## What takes longer on the lab of kernels that is up
	pytest -rP -m long $(KERNELS)
