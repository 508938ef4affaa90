"""absl flags that several programs define."""

from absl import flags

from bert_e2e.data import corpus as corpus_lib


def define_instance_flags(dupe_factor):
  """Defines the flags that say how instances are made.

  Args:
    dupe_factor: the default of --dupe_factor, which the programs differ in.
  """
  flags.DEFINE_string(
      "vocab_file", None,
      "The vocabulary that the model was trained with, a WordPiece a line.")
  flags.DEFINE_bool(
      "do_lower_case", True,
      "Whether to lower-case the text: True for uncased models, False for "
      "cased ones.")
  flags.DEFINE_bool(
      "do_whole_word_mask", False,
      "Whether to mask all WordPieces of a word together.")
  flags.DEFINE_integer(
      "max_seq_length", 128,
      "WordPieces of an example at the most, special tokens included.")
  flags.DEFINE_integer(
      "max_predictions_per_seq", 20,
      "Masked WordPieces of an example at the most.")
  flags.DEFINE_float(
      "masked_lm_prob", 0.15, "Share of an example's WordPieces to mask.")
  flags.DEFINE_float(
      "short_seq_prob", 0.1,
      "Share of the documents that are cut into shorter examples.")
  flags.DEFINE_integer(
      "dupe_factor", dupe_factor,
      "How often to go over the text, each time with other masks.")
  flags.DEFINE_integer(
      "random_seed", 12345, "Seed of all random draws over the text.")
  flags.DEFINE_enum(
      "invalid_utf8", "error", list(corpus_lib.INVALID_UTF8_CHOICES),
      "What to do about text that is not UTF-8: end with an error that names "
      "the place, or read the bad bytes as U+FFFD, which is dropped.")


def check_no_arguments(arguments):
  """Raises ValueError for arguments beside the flags.

  Unquoted, --input_file=*.txt is one flag, but --input_file *.txt becomes a
  flag with the first file and arguments with the others.
  """
  if arguments:
    raise ValueError(
        "Arguments without a flag: %s. Quote a pattern of several files, or "
        "join them by commas." % " ".join(arguments))
