"""What soak.py's trials check with."""


class TrialFailed(Exception):
  """A trial found that something does not hold."""


def check(holds, what):
  """Raises TrialFailed with the message `what` unless `holds`."""
  if not holds:
    raise TrialFailed(what)
