"""The rates of dropout of a training, which are not those of its config."""

from typing import Optional


def with_rates(bert_config, hidden_dropout_prob: Optional[float] = None,
               attention_probs_dropout_prob: Optional[float] = None):
  """Returns a config with other rates of dropout.

  Args:
    bert_config: modeling.BertConfig; it stays as it is.
    hidden_dropout_prob, attention_probs_dropout_prob: float, 0.0 to 1.0; None
      for that of the config.

  Returns:
    modeling.BertConfig.
  """
  rates = {"hidden_dropout_prob": hidden_dropout_prob,
           "attention_probs_dropout_prob": attention_probs_dropout_prob}
  return type(bert_config).from_dict(dict(
      bert_config.to_dict(),
      **{name: rate for name, rate in rates.items() if rate is not None}))
