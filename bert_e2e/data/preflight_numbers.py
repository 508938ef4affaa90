"""Arithmetic of the preflight's values."""


def ratio(part, whole):
  """Returns part / whole, rounded; 0.0 if `whole` is 0.

  >>> ratio(2, 3), ratio(-1e-9, 3)
  (0.666667, 0.0)
  """
  return round(part / whole, 6) + 0.0 if whole else 0.0  # Not -0.0.


def quantile(counts, fraction):
  """Returns the smallest key of a dict of counts such that the keys up to it
  make up a fraction of the sum; 0 for an empty dict."""
  left = fraction * sum(counts.values())
  for key in sorted(counts):
    left -= counts[key]
    if left <= 0:
      return key
  return 0


def percent(share):
  """Writes a fraction as a percentage."""
  return "%.3g %%" % (100 * share)
