"""Which variables of a pretraining model belong to its heads, by their names.

Their names are those of modeling.variable_shapes. The encoder is all else.
"""

# The layer before the output of the masked-LM head.
MASKED_LM_TRANSFORM = "cls/predictions/transform/"
# The pooler and the next-sentence head: what a sentence objective alone trains.
SENTENCE_HEAD = ("bert/pooler/", "cls/seq_relationship/")
_HEADS = ("bert/pooler/", "cls/")


def is_head(name):
  """Tells whether a variable belongs to a head or the pooler, which may be
  missing from a model."""
  return name.startswith(_HEADS)
