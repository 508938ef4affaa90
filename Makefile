# make demo               continue the pretraining of a small BERT on real text,
#                         in minutes: a model of 83 MB that is downloaded once,
#                         or DEMO_MODEL=path/to/a/Hugging/Face/directory
# make multi-worker-demo  train a small BERT with two worker processes
# make test               the main guarantees, in minutes
# make test-slow          the tests marked `slow`
# make test-all           both
# make lint               linter and type checker
# make bench              measure speed and memory; BENCH="--text=corpus.txt
#                         --vocab_file=vocab.txt --full" reproduces the numbers
#                         in docs/performance.md
# make setup              create the environment only
# make clean              remove everything that these targets created
#
# Every target creates the environment first if there is none. setup_env.sh looks
# for Python 3.7, then for 3.9 to 3.11, else obtains Python 3.11 with uv, and
# creates .venv. With
# PYTHON=python3.11, a command, a path or a version, that interpreter is used,
# and the environment is .venv-3.11.
#
# TESTS="tests/data -k seek" selects tests within a test target.

PYTHON =
TESTS =
BENCH =
export PYTHON

# Shell command that creates the environment if necessary and sets $python to
# its interpreter.
SETUP = python=$$(sh ./scripts/setup_env.sh "$$PYTHON")
# The tests of a file share fixtures, so one process runs all of them.
PYTEST = "$$python" -m pytest -n auto --dist loadfile

.PHONY: demo multi-worker-demo test test-slow test-all lint bench setup clean
.NOTPARALLEL:

demo:
	@$(SETUP) && "$$python" -m demo.demo

multi-worker-demo:
	@$(SETUP) && "$$python" -m demo.multi_worker

test:
	@$(SETUP) && $(PYTEST) -m "not slow" $(TESTS)

test-slow:
	@$(SETUP) && $(PYTEST) -m slow $(TESTS)

test-all:
	@$(SETUP) && $(PYTEST) $(TESTS)

lint:
	@$(SETUP) && "$$python" -m ruff check . && "$$python" -m mypy .

bench:
	@$(SETUP) && "$$python" benchmarks/all.py $(BENCH)

setup:
	@$(SETUP) && echo "Ready: $$python"

clean:
	rm -rf .venv .venv-3.* demo/out* demo/corpus demo/model* \
	  .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
