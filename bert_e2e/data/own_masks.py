"""Masks that a strategy of the user chooses; pieces are texts.

    tokens = original_tokens(instance)
    count = num_to_predict(len(tokens), masked_lm_prob, max_predictions_per_seq)
    positions = ...  # Up to `count` of the strategy's choice.
    tokens, positions, labels = mask_positions(
        tokens, positions, list(tokenizer.vocab), rng)
"""

from bert_e2e.data import masking
from bert_e2e.data.pieces import text_pieces
from bert_e2e.data.sampling import StreamSampler


def original_tokens(instance):
  """Returns the tokens of an instance as they were before they were masked.

  Args:
    instance: TrainingInstance.

  Returns:
    list of pieces.
  """
  tokens = list(instance.tokens)
  for position, label in zip(instance.masked_lm_positions,
                             instance.masked_lm_labels):
    tokens[position] = label
  return tokens


def mask_positions(tokens, positions, vocab_words, rng, *,
                   mask_replace_prob=0.8, random_replace_prob=0.1):
  """Masks chosen tokens of an example, each independently.

  Args:
    tokens: list of str, an example without masks.
    positions: iterable of int, offsets into it; a repeated one counts once.
    vocab_words: sequence of str, all WordPieces, which random replacements come
      from: `list(tokenizer.vocab)`.
    rng: random.Random.
    mask_replace_prob, random_replace_prob: see config.InstanceConfig.

  Returns:
    (tokens with masks; the positions, ascending; the original tokens there):
    three lists, as TrainingInstance takes them.

  Raises:
    ValueError: a position is outside of the tokens.

  >>> import random
  >>> mask_positions(["[CLS]", "a", "b", "[SEP]"], [2, 1], ["a", "b"],
  ...                random.Random(1), mask_replace_prob=1)
  (['[CLS]', '[MASK]', '[MASK]', '[SEP]'], [1, 2], ['a', 'b'])
  """
  masked, positions = list(tokens), sorted(set(positions))
  for position in positions:
    if not 0 <= position < len(masked):
      raise ValueError("The position %d to mask is outside of the %d tokens." %
                       (position, len(masked)))
  labels = [masked[position] for position in positions]
  masking.replace(
      masked, positions, text_pieces(vocab_words), StreamSampler(rng),
      mask_replace_prob, random_replace_prob)
  return masked, positions, labels
