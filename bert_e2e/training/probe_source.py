"""The texts of a probe as the input of an estimator's prediction."""

import dataclasses
import hashlib

import numpy as np
import tensorflow.compat.v1 as tf

import tokenization
from bert_e2e.data import text_lines
from bert_e2e.training import evaluation, probe

_SPEC = {"input_ids": tf.int32, "input_mask": tf.int32}


class ProbeSource:
  """The labelled texts of --probe_train_file and --probe_eval_file.

  Args:
    options: config.EvaluationConfig with both files.
    vocab_file: path.
    tokenizer: config.TokenizerConfig.
    max_seq_length: int, S, WordPieces of a text at most.
    random_seed: int, of the draws.
    invalid_utf8: see text_lines.decode.

  Attributes:
    probe: probe.Probe.
    files: dict from the name of a flag to the path of its file, of both.

  Raises:
    OSError, ValueError: see probe.Probe.read; or the vocabulary can't be read.
  """

  def __init__(self, options, *, vocab_file, tokenizer, max_seq_length,
               random_seed, invalid_utf8):
    self.files = {name: getattr(options, name)
                  for name in ("probe_train_file", "probe_eval_file")}
    self.probe = probe.Probe.read(
        *self.files.values(), num_labels=options.probe_num_labels,
        num_draws=options.probe_draws, random_seed=random_seed,
        invalid_utf8=invalid_utf8)
    self._max_seq_length = max_seq_length
    self._sequences = probe.encode(
        tokenization.FullTokenizer(
            vocab_file, **dataclasses.asdict(tokenizer)),
        self.probe.texts, max_seq_length)
    # Batches of texts of similar lengths need the least padding.
    self._order = np.argsort(
        [len(sequence) for sequence in self._sequences], kind="stable")

  def held_out(self):
    """Returns the text_lines.HeldOut of all texts of both files."""
    return text_lines.hold_out_sentences(
        self.probe.train.texts + self.probe.held_out.texts
    )._replace(names=("the probe",))

  def identity(self):
    """Returns a short hash of all that the scores of a model depend on."""
    ids = hashlib.sha256(repr(self._sequences).encode("ascii")).hexdigest()
    found = self.probe
    return evaluation.identify(
        probe.C, ids, found.train.labels, found.held_out.labels, found.draws)

  def describe(self):
    """Returns what the probe does, for the log, a str."""
    found, draws = self.probe, self.probe.draws
    return "%s of %d of the %d texts in %s, scored on the %d in %s" % (
        "a draw" if len(draws) == 1 else "%d draws" % len(draws),
        len(draws[0]), len(found.train.texts), found.train.path,
        len(found.held_out.texts), found.held_out.path)

  def input_fn(self, batch_size):
    """Returns an estimator's input_fn that reads each text once.

    Args:
      batch_size: int, B; the last batch may be smaller.

    Returns:
      A function that returns a tf.data.Dataset of dicts of input_ids and
      input_mask, int32 [B, S'], with S' up to S.
    """
    def batches():
      for _, ids, mask in probe.batches(
          self._sequences, self._order, batch_size, self._max_seq_length):
        yield {"input_ids": ids, "input_mask": mask}

    return lambda: tf.data.Dataset.from_generator(
        batches, _SPEC, {name: tf.TensorShape([None, None]) for name in _SPEC})

  def score(self, features):
    """Returns the metrics of the probe; see probe.summarize.

    Args:
      features: float32 [N, H], of the texts in the order of `input_fn`.
    """
    in_order = np.empty_like(features)
    in_order[self._order] = features
    return probe.summarize(self.probe.score(in_order))
