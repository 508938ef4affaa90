"""Arithmetic of the preflight's values."""


def ratio(part, whole):
  """Returns part / whole, rounded; 0.0 if `whole` is 0."""
  return round(part / whole, 6) if whole else 0.0


def quantile(counts, fraction):
  """Returns the smallest key of a dict of counts such that the keys up to it
  make up a fraction of the sum; 0 for an empty dict."""
  left = fraction * sum(counts.values())
  for key in sorted(counts):
    left -= counts[key]
    if left <= 0:
      return key
  return 0


def matching_predictions(masked_lm_prob, max_seq_length):
  """Returns the --max_predictions_per_seq that fits to a masking probability.

  Args:
    masked_lm_prob: float, fraction of an example's tokens to mask.
    max_seq_length: int, tokens of an example.

  Returns:
    int: no example has more masked tokens, and few padded predictions are
    computed.

  Source: google-research/electra's default, int((p + 0.005) * L); at least the
    number that the reference masks in an example of full length.

  >>> matching_predictions(0.15, 512), matching_predictions(0.15, 128)
  (79, 19)
  """
  fitting = max(int((masked_lm_prob + 0.005) * max_seq_length),
                int(round(masked_lm_prob * max_seq_length)), 1)
  return min(fitting, max_seq_length)
