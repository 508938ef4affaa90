"""Writes a Preflight as a table for people and as JSON, and reads the JSON."""

import json
import textwrap

from bert_e2e.data.preflight import (
  TWO_STEP_DUPE_FACTOR,
  PackedText,
  Preflight,
  PreflightWarning,
  UnknownWord,
  list_words,
  rows_per_update,
)
from bert_e2e.data.preflight_formats import FormatShape
from bert_e2e.data.preflight_model import StartingModel, Suggestion
from bert_e2e.data.preflight_numbers import percent
from bert_e2e.data.text_kinds import FoundKind

# The longest lines of sentences: on a model, and on the text in a table.
_LINE_WIDTH = 76
_TABLE_WIDTH = 56
# The attributes of a Preflight that are a tuple of another type or None.
_OPTIONAL = {"format_advice": Suggestion, "packing_advice": Suggestion,
             "more_sequences": PackedText}


def to_dict(found):
  """Returns a Preflight as a dict of numbers, strings, lists and dicts."""
  return dict(
      found._asdict(),
      unknown_words=[dict(item._asdict()) for item in found.unknown_words],
      warnings=[dict(item._asdict()) for item in found.warnings],
      text_kinds=[dict(item._asdict()) for item in found.text_kinds],
      formats=[dict(item._asdict()) for item in found.formats],
      **{name: getattr(found, name) and dict(getattr(found, name)._asdict())
         for name in _OPTIONAL},
      held_out=list(found.held_out),
      model=_model_to_dict(found.model),
      mixed_with=list(map(to_dict, found.mixed_with)))


def _model_to_dict(model):
  """Returns a StartingModel as a dict; None for None."""
  return model and dict(
      model._asdict(),
      suggestions=[dict(item._asdict()) for item in model.suggestions])


def to_json(found):
  """Returns a Preflight as JSON (str, ASCII); its keys are the attributes."""
  return json.dumps(to_dict(found), indent=1)


def from_dict(values):
  """Returns the Preflight that `to_dict` was given; the inverse for JSON.

  Args:
    values: dict, as from `to_dict`. Unknown keys are ignored; those with a
      default may be missing.

  Raises:
    ValueError: a key is missing, or a value has another form.
  """
  values = dict(Preflight._field_defaults, **values)
  missing = sorted(set(Preflight._fields) - set(values))
  if missing:
    raise ValueError("The preflight has no %s; write it again with "
                     "--preflight_only." % ", ".join(missing))
  kept = {name: values[name] for name in Preflight._fields}
  try:
    kept["unknown_words"] = tuple(
        UnknownWord(**item) for item in kept["unknown_words"])
    kept["warnings"] = tuple(
        PreflightWarning(**item) for item in kept["warnings"])
    kept["text_kinds"] = tuple(
        FoundKind(**item) for item in kept["text_kinds"])
    kept["formats"] = tuple(FormatShape(**item) for item in kept["formats"])
    for name, kind in _OPTIONAL.items():
      kept[name] = kept[name] and kind(**kept[name])
    kept["held_out"] = tuple(kept["held_out"])
    kept["mixed_with"] = tuple(map(from_dict, kept["mixed_with"]))
    kept["model"] = _model_from_dict(kept["model"])
  except TypeError as e:
    raise ValueError("The preflight's words or warnings have another form "
                     "(%s); write it again with --preflight_only." % e) from e
  return Preflight(**kept)


def _model_from_dict(values):
  """Returns the StartingModel that `_model_to_dict` was given."""
  return values and StartingModel(**dict(values, suggestions=tuple(
      Suggestion(**item) for item in values.get("suggestions", ()))))


def rows(found):
  """Yields the rows of a table of a Preflight.

  Args:
    found: Preflight.

  Yields:
    (name, text), both str. A row without a name continues the one above it.
  """
  yield from _text_rows(found)
  yield from _format_rows(found)
  yield from _training_rows(found)
  for other in found.mixed_with:
    yield from _mixture_rows(other)
  yield from model_rows(found.model)


def _text_rows(found):
  """Yields the rows on text and examples."""
  about = "~" if found.is_estimate else ""

  def count(number):
    return about + format(number, ",")

  yield "sampled", "%s bytes of text%s" % (
      format(found.looked_at, ","),
      "; ~ marks estimates from them" if about else ", all of it")
  yield "files", "%s of %s bytes" % (
      format(found.files, ","), format(found.num_bytes, ","))
  if found.text_kinds:
    yield "looks like", ", ".join(
        "%s (%s)" % (item.name, about + percent(item.share))
        for item in found.text_kinds)
  yield "lines", count(found.lines)
  yield "sentences", "%s; %s longer than an example" % (
      count(found.sentences), about + percent(found.long_sentence_share))
  yield "documents", "%s of %s%.1f sentences; %s of one only" % (
      count(found.documents), about, found.sentences_per_document,
      about + percent(found.one_sentence_share))
  if found.skipped_record_share:
    yield "skipped", "%s of the records, which have no text" % (
        about + percent(found.skipped_record_share))
  if found.repeated_document_share is not None:
    yield "repeated", "%s of the sampled documents, %s of the lines" % (
        percent(found.repeated_document_share),
        percent(found.repeated_line_share))
  yield "tokens", "%s; %s [UNK]" % (
      count(found.tokens), about + percent(found.unknown_share))
  if found.unknown_words:
    yield "", "most often for " + list_words(found)
  if found.truncated_share is not None:
    yield "tokens truncated", about + percent(found.truncated_share)
  yield "capitals in the text", about + percent(found.capital_share)
  yield "", "in the vocabulary's pieces %s; --do_lower_case=%s" % (
      percent(found.capital_piece_share), found.do_lower_case)
  if found.strategy:
    yield "strategy", found.strategy
    yield "", "which tokens it truncates or leaves out is not counted"
  yield "examples per epoch", count(found.examples_per_epoch)
  yield "tokens per example", "%s%.1f of %d; 90th percentile %d" % (
      about, found.mean_length, found.max_seq_length, found.length_90)
  if found.masked_share is not None:
    yield "masked tokens", "%s; at most %d per example" % (
        about + percent(found.masked_share), found.max_predictions_per_seq)
  yield from _padding_rows(found)
  yield "random pairs", about + percent(found.random_pair_share)


def _padding_rows(found):
  """Yields the rows on padding and packing."""
  about = "~" if found.is_estimate else ""
  packed = ""
  if not found.pack_sequences and found.packed_padding_share is not None:
    packed = "; with --pack_sequences " + about + percent(
        found.packed_padding_share)
  yield "padding", about + percent(found.padding_share) + packed
  if found.pack_sequences:
    yield "sequences per row", "%s%.1f" % (about, found.sequences_per_pack)
    if found.train_batch_size:
      yield from _update_rows(found)


def _update_rows(found):
  """Yields the rows on how many sequences an update of packed rows has."""
  about = "~" if found.is_estimate else ""
  rows, batch_size = rows_per_update(found), found.train_batch_size
  yield "", "an update has %s%s sequences" % (
      about, format(round(batch_size * found.mean_sequences_per_pack), ","))
  if rows < batch_size:
    yield "", "with --train_batch_size=%d it would have %s%s" % (
        rows, about,
        format(round(rows * found.mean_sequences_per_pack), ","))


def _format_rows(found):
  """Yields the rows on the formats of examples."""
  about = "~" if found.is_estimate else ""
  shapes = "; ".join("%s%s %s, %s" % (
      shape.example_format,
      " (in use)" * (shape.example_format == found.example_format),
      about + percent(shape.truncated_share),
      about + percent(shape.padding_share)) for shape in found.formats)
  if found.pack_sequences and shapes:
    shapes = "without packing: " + shapes
  for number, line in enumerate(textwrap.wrap(shapes, _TABLE_WIDTH)):
    yield "" if number else "truncated, padding", line
  yield from _advice_rows(
      filter(None, [found.format_advice, found.packing_advice]), _TABLE_WIDTH)


def _training_rows(found):
  """Yields the rows on the training."""
  about = "~" if found.is_estimate else ""
  yield "steps", "%s of %s examples; %swarm-up %s" % (
      format(found.num_train_steps, ","), format(found.train_batch_size, ","),
      "head steps %s, " % format(found.num_head_steps, ",")
      if found.num_head_steps else "", format(found.num_warmup_steps, ","))
  yield "epochs", ("-" if found.epochs is None else about + format(
      found.epochs, ",.1f")) + (
          "; %s of the examples are of %s" % (
              percent(found.weight), found.text_name)
          if found.mixed_with else "")
  if found.eta_seconds is not None:
    yield "seconds to train", format(found.eta_seconds, ",")
  yield "TFRecords not written", "%s bytes, at --dupe_factor=%d" % (
      about + format(found.two_step_bytes, ","), TWO_STEP_DUPE_FACTOR)


def _mixture_rows(found):
  """Yields the rows on another text of a mixture, a Preflight."""
  about = "~" if found.is_estimate else ""
  yield "mixed with", "%s, %s of the examples" % (
      found.text_name, percent(found.weight))
  yield "", "files: %s of %s bytes; %s [UNK], %s padding" % (
      format(found.files, ","), format(found.num_bytes, ","),
      about + percent(found.unknown_share),
      about + percent(found.padding_share))
  yield "", "%s examples per epoch; %s epochs" % (
      about + format(found.examples_per_epoch, ","),
      "-" if found.epochs is None else about + format(found.epochs, ",.2f"))


def model_rows(model):
  """Yields the rows on the model that a run starts from.

  Args:
    model: StartingModel, or None.

  Yields:
    (name, text), see `rows`.
  """
  if not model:
    return
  yield "starts from", model.name
  for line in textwrap.wrap(model.meaning, _LINE_WIDTH):
    yield "", line
  yield from _advice_rows(model.suggestions, _LINE_WIDTH)


def _advice_rows(suggestions, width):
  """Yields the rows of an iterable of Suggestions, in lines of some width."""
  for number, (flags, reason) in enumerate(suggestions):
    yield "" if number else "consider", flags
    for line in textwrap.wrap(reason, width):
      yield "", line


def to_text(found):
  """Returns a Preflight as a table for a terminal, the warnings below (str)."""
  return table_of(rows(found)) + "".join(
      "warning: %s\n" % item.text for item in found.warnings)


def table_of(pairs):
  """Returns rows as a table for a terminal (str)."""
  pairs = list(pairs)
  width = max(len(name) for name, _ in pairs)
  return "".join(
      "%-*s  %s\n" % (width, name, text) for name, text in pairs)
