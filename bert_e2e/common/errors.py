"""Exceptions and exit codes that are shared by the whole package."""

# Exit code of a worker that lost another worker, or was stopped along with one:
# restarting it may succeed (EX_TEMPFAIL in sysexits.h).
EXIT_RESTART = 75


class InputError(Exception):
  """An error that the user can fix; the message is a single sentence."""


class Interrupted(BaseException):
  """A signal arrived while there was no training state to save."""


class Restart(Exception):
  """The program has to start again, to continue from its checkpoint."""
