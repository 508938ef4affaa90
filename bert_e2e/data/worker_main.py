"""The program that a worker process runs; see worker_pool.py."""

import os
import sys

# Python puts the directory of this file first on the path. Imports need the
# project's root there, and its modules' names would hide other packages.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

from bert_e2e.data import worker_pool  # noqa: E402

if __name__ == "__main__":
  worker_pool.main(int(sys.argv[1]))
