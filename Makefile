# make demo                    continue a pretrained BERT on real text, in
#                              minutes: one that is downloaded once, 83 MB, or
#                              that in DEMO_MODEL=a Hugging Face folder
# make multi-worker-demo       two processes train a small BERT together
# make test                    the tests
# make lint                    linter and type checker
# make bench                   the speed and memory figures, as a table; with
#                              BENCH="--text=… --vocab_file=… --full" the README's
# make clean                   remove what these commands made
#
# Each first sets up .venv, once: setup_env.sh finds a Python that serves (3.7,
# else 3.9 to 3.11). PYTHON=python3.11, a command, path or version, takes that
# one, in .venv-3.11. TESTS="tests/test_demo.py -k corpus" narrows `make test`.

PYTHON =
TESTS =
BENCH =
export PYTHON

# The shell command that sets up, once, and puts the environment's Python into
# $python.
SETUP = python=$$(sh ./scripts/setup_env.sh "$$PYTHON")

.PHONY: demo multi-worker-demo test lint bench setup clean
.NOTPARALLEL:

demo:
	@$(SETUP) && "$$python" -m demo.demo

multi-worker-demo:
	@$(SETUP) && "$$python" -m demo.multi_worker

test:
	@$(SETUP) && "$$python" -m pytest -n auto $(TESTS)

lint:
	@$(SETUP) && "$$python" -m ruff check . && "$$python" -m mypy .

bench:
	@$(SETUP) && "$$python" benchmarks/all.py $(BENCH)

setup:
	@$(SETUP) && echo "Ready: $$python"

clean:
	rm -rf .venv .venv-3.* demo/out* demo/corpus demo/model* \
	  .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
