"""What the model that a run starts from is, and what that means for the run.

The preflight names the kind of the model and suggests flags, with the reasons.
Suggestions change nothing, and leave out what was passed already.
"""

from typing import Any, Callable, Dict, FrozenSet, NamedTuple, Optional, Tuple

from bert_e2e.common import head_variables

# A training of at most so many sequences is a short one.
MAX_SHORT_SEQUENCES = 20000
# Dropout is of no use where a short training reads the text no more often.
MAX_PASSES_WITHOUT_DROPOUT = 3.0


class Start(NamedTuple):
  """What is known of a new run that starts from a model.

  Attributes:
    missing: tuple of str, the model's variables that are newly initialized.
    is_sentence_encoder: bool, whether contrastive training of sentences
      followed its pretraining.
    trains_sentences: bool, whether the run trains the next-sentence head.
    num_head_steps: int, the first steps, which train new weights only.
    num_sequences: int, sequences that the run trains on.
    epochs: float, passes over the text; None if unknown.
    has_text: bool, whether the pairs are made from raw text; those of TFRecords
      stay as they are.
    options: dict from each of OPTIONS to its value in this run.
    given: frozenset of those of OPTIONS that the user has decided.
  """
  missing: Tuple[str, ...]
  is_sentence_encoder: bool
  trains_sentences: bool
  num_head_steps: int
  num_sequences: int
  epochs: Optional[float]
  has_text: bool
  options: Dict[str, Any]
  given: FrozenSet[str]

  def lacks(self, prefixes):
    """Tells whether a variable with one of some prefixes is missing."""
    return any(name.startswith(prefixes) for name in self.missing)

  @property
  def is_short(self):
    """bool, whether the training is a short one."""
    return self.num_sequences <= MAX_SHORT_SEQUENCES


class Suggestion(NamedTuple):
  """Flags to consider, as on a command line, and why; both str."""
  flags: str
  reason: str


class StartingModel(NamedTuple):
  """The model that a run starts from.

  Attributes:
    kind: "pretraining" (a BERT with its pretraining heads), "masked_lm" (one
      without a next-sentence head), "encoder" (one without a masked-LM head) or
      "partial" (the encoder itself is incomplete).
    is_sentence_encoder: bool, see `Start`.
    name: str, the kind in words.
    meaning: str, a sentence or more: what follows for the run.
    suggestions: tuple of Suggestion.
  """
  kind: str
  is_sentence_encoder: bool
  name: str
  meaning: str
  suggestions: Tuple[Suggestion, ...] = ()


def describe(start):
  """Returns the StartingModel of a Start."""
  kind = _kind_of(start)
  name, explain = _KINDS[kind]
  meaning = explain(start)
  if start.is_sentence_encoder:
    name = "a sentence encoder: " + name
    meaning += (" Contrastive training has placed texts on the same subject "
                "together. Training on masked words undoes part of that, so a "
                "task that goes by subject may get worse.")
  return StartingModel(
      kind, start.is_sentence_encoder, name, meaning,
      () if kind == "partial" else _suggestions(start))


def _kind_of(start):
  """Returns a key of _KINDS."""
  if not all(map(head_variables.is_head, start.missing)):
    return "partial"
  if start.lacks(head_variables.MASKED_LM_TRANSFORM):
    return "encoder"
  return ("masked_lm" if start.lacks(head_variables.SENTENCE_HEAD) else
          "pretraining")


# ------------------------------------------------------------------- the kinds


def _explain_pretraining(start):
  del start
  return "The losses continue from where its pretraining ended."


def _explain_masked_lm(start):
  return ("The loss on masked words continues from where its pretraining ended;"
          " the head of next-sentence prediction is new%s." % (
              "" if start.trains_sentences else ", and not trained"))


def _explain_encoder(start):
  text = ("The head that predicts masked words is new: the loss starts as high "
          "as that of a new model, and first falls as the head is learned, "
          "whatever the encoder knows.")
  if start.num_head_steps:
    text += (" So the first %d steps train new weights only "
             "(--num_head_steps)." % start.num_head_steps)
  return text


def _explain_partial(start):
  inner = [name for name in start.missing if not head_variables.is_head(name)]
  return ("Variables of the encoder (%d, such as %s) start from random values, "
          "which spoils what the others have learned. Check whether "
          "--bert_config_file is the config of the model." %
          (len(inner), inner[0]))


# Kind -> (name, function from a Start to what it means).
_KINDS: Dict[str, Tuple[str, Callable[[Start], str]]] = {
    "pretraining": ("a BERT with its pretraining heads", _explain_pretraining),
    "masked_lm": ("a BERT with its masked-LM head, without a next-sentence "
                  "head", _explain_masked_lm),
    "encoder": ("the encoder of a BERT, without a masked-LM head",
                _explain_encoder),
    "partial": ("a BERT that lacks a part of its encoder", _explain_partial),
}

# -------------------------------------------------------------- the suggestions


def _needs_higher_rates(start):
  return (start.is_short and
          start.lacks(head_variables.MASKED_LM_TRANSFORM) and
          start.options["optimizer"] == "adamw")


def _advise_rate(start):
  if _needs_higher_rates(start):
    return ("%s sequences are a short training, in which the peak that BERT "
            "was pretrained with moves the encoder further than the default." %
            format(start.num_sequences, ","))
  return None


def _advise_warmup(start):
  if _needs_higher_rates(start):
    return ("The default warm-up is made for long trainings; a short one "
            "hardly reaches the peak of the learning rate.")
  return None


def _advise_objective(start):
  if not start.trains_sentences:
    return None
  if start.lacks(head_variables.SENTENCE_HEAD):
    return ("The model has no next-sentence head. The gradients of a new one "
            "change the encoder, and teach it no words.")
  if start.is_short and start.has_text:
    return ("In a short training, random next texts cost half of the pairs "
            "their context, and teach little about words.")
  return None


def _advise_dropout(start):
  if (start.is_short and start.epochs is not None and
      start.epochs <= MAX_PASSES_WITHOUT_DROPOUT):
    return ("There is little to overfit in %.1f passes over the text, and "
            "dropout disturbs the encoder." % start.epochs)
  return None


def _advise_probe(start):
  if start.is_sentence_encoder:
    return ("Labelled texts of your task show at each evaluation (--do_eval, "
            "--eval_every_steps) whether it gains or loses.")
  return None


def _advise_average(start):
  if start.is_sentence_encoder:
    return ("With --export_dir, the export is the mean of the encoder before "
            "and after the training, which keeps a part of what contrastive "
            "training gave (Wortsman et al. 2022, arXiv 2109.01903).")
  return None


# Flags with their values -> function from a Start to the reason to suggest
# them, or None.
_ADVICE: Tuple[Tuple[Dict[str, Any], Callable[[Start], Optional[str]]], ...] = (
    ({"learning_rate": 1e-4}, _advise_rate),
    ({"warmup_proportion": 0.1}, _advise_warmup),
    ({"sentence_objective": "none"}, _advise_objective),
    ({"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0},
     _advise_dropout),
    ({"probe_train_file": "FILE", "probe_eval_file": "FILE"}, _advise_probe),
    ({"export_weight": 0.5}, _advise_average),
)
# The names of the flags that decide what is suggested.
OPTIONS = ("optimizer", *(name for values, _ in _ADVICE for name in values))


def _suggestions(start):
  """Returns a tuple of the Suggestions for a Start."""
  found = []
  for values, advise in _ADVICE:
    flags = ["--%s=%s" % item for item in values.items()
             if item[0] not in start.given and
             start.options[item[0]] != item[1]]
    reason = advise(start) if flags else None
    if reason:
      found.append(Suggestion(" ".join(flags), reason))
  return tuple(found)
