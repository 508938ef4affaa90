"""Starts a worker of a training by several machines until it is done.

    python supervise.py [--max_restarts=100] -- \
        python run_pretraining_e2e.py --distribution_strategy=... ...

Where one worker dies, the others end, too (see cluster.py), and all have to be
started again; they go on from the latest checkpoint. On each machine this
program does so: it starts the command anew where a signal killed it (also that
of a machine that is out of memory), or where it says by its exit code that it
lost the others. It ends with the command's own exit code where that is done,
or refuses its input, or met another error. SIGTERM and Ctrl-C are handed on,
and then end it all.
"""

import argparse
import signal
import subprocess
import sys
import time

# cluster.EXIT_CODE; that module loads TensorFlow, this one need not.
LOST_PEER = 75
_SECONDS_BETWEEN = 2.0


def supervise(command, max_restarts, seconds_between=_SECONDS_BETWEEN):
  """Runs a command until it is done.

  Args:
    command: list of str.
    max_restarts: int, how often it is started again.
    seconds_between: float, pause before that.

  Returns:
    int, the exit code for this process.
  """
  child = None
  signals = []

  def hand_on(number, frame):
    del frame
    signals.append(number)
    if child is not None:
      child.send_signal(number)

  before = {number: signal.signal(number, hand_on)
            for number in (signal.SIGTERM, signal.SIGINT)}
  try:
    for restart in range(max_restarts + 1):
      if restart:
        time.sleep(seconds_between)
      if signals:
        return 128 + signals[0]
      # Else Ctrl-C would reach it twice, and a second one ends it at once.
      child = subprocess.Popen(command, start_new_session=True)
      if signals:  # It came before there was a child to hand it on to.
        child.send_signal(signals[0])
      code = child.wait()
      if (signals or restart == max_restarts or
          (code >= 0 and code != LOST_PEER)):
        break
      print("supervise.py: the worker %s; start %d of %d follows" % (
          "lost the others" if code == LOST_PEER else
          "was killed by signal %d" % -code, restart + 2, max_restarts + 1),
            file=sys.stderr, flush=True)
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
  return code if code >= 0 else 128 - code


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--max_restarts", type=int, default=100)
  parser.add_argument("command", nargs=argparse.REMAINDER,
                      help="-- and what to run")
  options = parser.parse_args()
  command = options.command[options.command[:1] == ["--"]:]
  if options.max_restarts < 0:
    parser.error("--max_restarts is negative")
  if not command:
    parser.error("there is no command to run; it stands behind --")
  sys.exit(supervise(command, options.max_restarts))


if __name__ == "__main__":
  main()
