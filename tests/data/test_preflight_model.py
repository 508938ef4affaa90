"""What the preflight says of the model that a run starts from."""

import json
import random

import pytest
from hugging_face_models import HEADS

from bert_e2e import config
from bert_e2e.data import preflight_model
from bert_e2e.data.preflight_model import Start

ENCODER = "bert/encoder/layer_0/output/dense/kernel"
OPTIONS = dict(
    {name: config.default_of(name) for name in preflight_model.OPTIONS},
    hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
FLAGS = {"rate": "--learning_rate=0.0001",
         "warm-up": "--warmup_proportion=0.1",
         "objective": "--sentence_objective=none",
         "dropout": "--hidden_dropout_prob=0 --attention_probs_dropout_prob=0"}


def start(missing=(), is_sentence_encoder=False, *, trains_sentences=True,
          num_head_steps=0, num_sequences=20000, epochs=3.0, has_text=True,
          given=(), **options):
  return Start(tuple(missing), is_sentence_encoder, trains_sentences,
               num_head_steps, num_sequences, epochs, has_text,
               dict(OPTIONS, **options), frozenset(given))


def suggested(*args, **values):
  """Returns the keys of FLAGS that are suggested, and other flags."""
  names = {flags: name for name, flags in FLAGS.items()}
  return [names.get(item.flags, item.flags) for item in
          preflight_model.describe(start(*args, **values)).suggestions]


@pytest.mark.parametrize("missing, kind", [
    ([], "pretraining"), (HEADS, "encoder"),
    (["bert/pooler/dense/kernel", "cls/seq_relationship/output_bias"],
     "masked_lm"), (["cls/seq_relationship/output_weights"], "masked_lm"),
    (["bert/pooler/dense/bias"], "masked_lm"),
    (["cls/predictions/transform/dense/kernel"], "encoder"),
    # A bias of the vocabulary is learned at once.
    (["cls/predictions/output_bias"], "pretraining"),
    ([ENCODER], "partial"), ([ENCODER, *HEADS], "partial"),
    (["bert/embeddings/LayerNorm/beta"], "partial")])
def test_the_kind_of_a_model(missing, kind):
  found = preflight_model.describe(start(missing))
  assert found.kind == kind and not found.is_sentence_encoder
  again = preflight_model.describe(start(missing, True))
  assert again == found._replace(
      is_sentence_encoder=True, name="a sentence encoder: " + found.name,
      meaning=again.meaning, suggestions=again.suggestions)
  assert again.meaning.startswith(found.meaning)
  assert "a task that goes by subject" in again.meaning
  if kind != "partial":
    *others, probe, average = again.suggestions
    assert tuple(others) == found.suggestions
    assert probe.flags == "--probe_train_file=FILE --probe_eval_file=FILE"
    assert average.flags == "--export_weight=0.5"


def test_what_a_kind_means():

  def meaning(*args, **values):
    return preflight_model.describe(start(*args, **values)).meaning

  assert "continue from where its pretraining ended" in meaning()
  masked_lm = [HEADS[0], HEADS[-1]]
  assert meaning(masked_lm).endswith("prediction is new.")
  assert meaning(masked_lm, trains_sentences=False).endswith(
      "is new, and not trained.")
  assert "starts as high as that of a new model" in meaning(HEADS)
  assert "--num_head_steps" not in meaning(HEADS)
  assert meaning(HEADS, num_head_steps=7).endswith(
      "the first 7 steps train new weights only (--num_head_steps).")
  assert "Variables of the encoder (1, such as %s) start" % ENCODER in meaning(
      [*HEADS, ENCODER])


@pytest.mark.parametrize("missing, values, expected", [
    (HEADS, {}, ["rate", "warm-up", "objective", "dropout"]),
    (HEADS[-1:], {}, ["objective", "dropout"]),
    ([], {}, ["objective", "dropout"]),
    # One that lacks a part of its encoder needs another config.
    ([ENCODER], {}, []),
    # A long training.
    ([], {"num_sequences": 20001}, []),
    (HEADS, {"num_sequences": 20001}, ["objective"]),
    # One that reads its text again and again, or how often is not known.
    (HEADS, {"epochs": 3.1}, ["rate", "warm-up", "objective"]),
    (HEADS, {"epochs": None}, ["rate", "warm-up", "objective"]),
    # Pairs in TFRecords cost the same context with and without the objective.
    ([], {"has_text": False, "epochs": None}, []),
    (HEADS, {"has_text": False, "epochs": None},
     ["rate", "warm-up", "objective"]),
    # LAMB has rates of its own.
    (HEADS, {"optimizer": "lamb"}, ["objective", "dropout"]),
])
def test_what_is_suggested(missing, values, expected):
  assert suggested(missing, **values) == expected


@pytest.mark.parametrize("values, expected", [
    ({"given": ["learning_rate"]},
     ["warm-up", "objective", "dropout"]),
    ({"given": ["warmup_proportion"]}, ["rate", "objective", "dropout"]),
    ({"given": ["sentence_objective", "hidden_dropout_prob"]},
     ["rate", "warm-up", "--attention_probs_dropout_prob=0"]),
    ({"given": OPTIONS, "is_sentence_encoder": True}, []),
    # What is so already, by the model's config for example.
    ({"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
     ["rate", "warm-up", "objective"]),
    ({"learning_rate": 1e-4, "sentence_objective": "none"},
     ["warm-up", "dropout"]),
    ({"trains_sentences": False}, ["rate", "warm-up", "dropout"]),
])
def test_what_was_decided_is_not_suggested(values, expected):
  assert suggested(HEADS, **values) == expected


@pytest.mark.parametrize("given, reason", [
    ("warmup_proportion", "20,000 sequences are a short training, in which the "
     "peak that BERT"), ("learning_rate", "The default warm-up is made for")])
def test_each_reason_is_of_its_flags(given, reason):
  first = preflight_model.describe(
      start(HEADS, given=[given])).suggestions[0]
  assert first.reason.startswith(reason)


def test_suggestions_are_flags_with_valid_values():
  rng = random.Random(1)
  seen = set()
  for _ in range(200):
    found = preflight_model.describe(start(
        rng.sample(HEADS, rng.randrange(len(HEADS) + 1)), rng.random() < 0.5,
        num_sequences=rng.choice([1, 10**6]), epochs=rng.choice([1.0, 50.0])))
    assert json.loads(json.dumps(found)) is not None
    for flags, reason in found.suggestions:
      assert reason.endswith(".") and "\n" not in reason
      for flag in flags.split():
        name, value = flag[len("--"):].split("=")
        option = config.option_of(name)
        config.check_value(
            name, float(value) if option.kind == "float" else value)
        seen.add(name)
  assert {"optimizer", *seen} == set(preflight_model.OPTIONS)
