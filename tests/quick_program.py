"""Runs a program with sessions that start faster; see quick_sessions.py.

  python tests/quick_program.py program.py arguments...
"""

import os
import runpy
import sys

# This directory is on the path already.
sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import quick_sessions

if __name__ == "__main__":
  quick_sessions.use()
  del sys.argv[0]
  sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
  runpy.run_path(sys.argv[0], run_name="__main__")
