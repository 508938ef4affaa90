"""Runs a worker of a multi-worker training and restarts it when necessary.

    python scripts/supervise.py [--max_restarts=100] -- \
        python run_pretraining_e2e.py --distribution_strategy=... ...

When one worker of a multi-worker training dies, the others exit as well (see
bert_e2e/training/cluster.py), and all have to be restarted; they resume from
the latest checkpoint. Run one supervisor per worker: it restarts the command
if a signal killed it (including the out-of-memory killer), or if its exit code
says that it lost another worker. It exits with the command's own exit code when
the command finishes, rejects its input or fails in another way. SIGTERM and
Ctrl-C are forwarded to the command and then end the supervisor.
"""

import argparse
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from bert_e2e.common.errors import EXIT_RESTART  # noqa: E402

_SECONDS_BETWEEN = 2.0


def supervise(command, max_restarts, seconds_between=_SECONDS_BETWEEN):
  """Runs a command, and restarts it while its exit code asks for that.

  Args:
    command: list of str.
    max_restarts: int, maximum number of restarts.
    seconds_between: float, pause before each restart.

  Returns:
    int, the exit code for this process.
  """
  child = None
  signals = []

  def forward(number, frame):
    del frame
    signals.append(number)
    if child is not None:
      child.send_signal(number)

  handlers = {number: signal.signal(number, forward)
              for number in (signal.SIGTERM, signal.SIGINT)}
  try:
    for restart in range(max_restarts + 1):
      if restart:
        time.sleep(seconds_between)
      if signals:
        return 128 + signals[0]
      # In a session of its own: Ctrl-C would otherwise reach the command twice,
      # and the second signal exits it immediately.
      child = subprocess.Popen(command, start_new_session=True)
      if signals:  # It arrived before there was a child to forward it to.
        child.send_signal(signals[0])
      code = child.wait()
      if (signals or restart == max_restarts or
          (code >= 0 and code != EXIT_RESTART)):
        break
      print("supervise.py: the worker %s; restart %d of %d" % (
          "lost another worker" if code == EXIT_RESTART else
          "was killed by signal %d" % -code, restart + 1, max_restarts),
            file=sys.stderr, flush=True)
  finally:
    for number, handler in handlers.items():
      signal.signal(number, handler)
  return code if code >= 0 else 128 - code


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--max_restarts", type=int, default=100)
  parser.add_argument("command", nargs=argparse.REMAINDER,
                      help="--, then the command to run")
  options = parser.parse_args()
  command = options.command[options.command[:1] == ["--"]:]
  if options.max_restarts < 0:
    parser.error("--max_restarts is negative")
  if not command:
    parser.error("there is no command to run; pass it after --")
  sys.exit(supervise(command, options.max_restarts))


if __name__ == "__main__":
  main()
