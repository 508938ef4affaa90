"""Exceptions that every part of the program may raise, and exit codes."""

# What a process exits with that lost another worker, or was told by one to
# stop: starting it again is worthwhile (EX_TEMPFAIL in sysexits.h).
EXIT_RESTART = 75


class InputError(Exception):
  """Something outside the program ended it: one sentence for the user."""


class Interrupted(BaseException):
  """A signal arrived while there was no training state worth saving."""
