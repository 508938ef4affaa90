"""Hugging Face's directories: reading, writing and missing heads.

If torch and transformers are installed, their models are compared with ours: in
this interpreter, or in the one that HUGGING_FACE_PYTHON names. MINILM_FOLDER
may name the Hugging Face directory of a trained BERT, to compare with, too.
"""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
import tensorflow.compat.v1 as tf
from hugging_face_models import (
  HEADS,
  TINY,
  VOCABULARY,
  assert_same,
  config_of,
  random_tensors,
  random_variables,
  their_config,
  write_folder,
  write_json,
)
from program import VOCAB

import modeling
import tokenization
from bert_e2e.checkpoints import hugging_face as hf

# --------------------------------------------------------- there and back again


@pytest.mark.parametrize("activation", ["gelu_erf", "gelu", "relu", "tanh"])
def test_what_was_written_is_read(tmp_path, activation):
  config = config_of(hidden_act=activation, initializer_range=0.5)
  variables = random_variables(config)
  hf.write(str(tmp_path), variables, config, VOCABULARY, False)
  model = hf.read(str(tmp_path))
  assert modeling.BertConfig.from_dict(model.config).to_dict() == (
      config.to_dict())
  assert list(model.variables) == list(modeling.variable_shapes(config))
  assert_same(model.variables, variables)
  assert model.missing == model.unused == []
  assert sorted(os.listdir(str(tmp_path))) == sorted(hf.OUTPUT_FILES)
  vocab_file = hf.find_vocab_file(str(tmp_path))
  assert tokenization.read_vocabulary(vocab_file) == VOCABULARY
  assert hf.read_options(str(tmp_path))["do_lower_case"] is False


def test_what_was_read_is_written(tmp_path):
  tensors = random_tensors()
  model = hf.read(write_folder(tmp_path / "before", tensors))
  out = tmp_path / "after"
  hf.write(str(out), model.variables,
           modeling.BertConfig.from_dict(model.config), VOCABULARY, True)
  assert_same(safetensors.numpy.load_file(str(out / "model.safetensors")),
              tensors)
  written = json.loads((out / "config.json").read_text())
  expected = dict(their_config(), hidden_dropout_prob=0.1,
                  attention_probs_dropout_prob=0.1, initializer_range=0.02,
                  pad_token_id=VOCAB.index("[PAD]"),
                  position_embedding_type="absolute")
  assert written == expected
  assert json.loads((out / "tokenizer_config.json").read_text())[
      "do_lower_case"] is True


def test_what_is_written_takes_the_place_of_what_was_there(tmp_path):
  config = config_of()
  for seed in (0, 1):
    hf.write(str(tmp_path), random_variables(config, seed), config, VOCABULARY,
             True)
  assert_same(hf.read(str(tmp_path)).variables, random_variables(config, 1))


# ------------------------------------------ the same model, by other arithmetic


def normalized(x, tensors, name):
  centered = x - x.mean(-1, keepdims=True)
  x = centered / np.sqrt((centered ** 2).mean(-1, keepdims=True) + 1e-12)
  return x * tensors[name + ".weight"] + tensors[name + ".bias"]


def linear(x, tensors, name):
  return x @ tensors[name + ".weight"].T + tensors[name + ".bias"]


def gelu(x):
  return x * (0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))))


def numpy_bert(tensors, ids, mask, segments):
  """BertForPreTraining of TINY in NumPy, with PyTorch's names and layouts.

  Returns:
    (hidden states: list of [B, S, H], [B, S, V], [B, 2]).
  """
  tensors = {name: value.astype(np.float64) for name, value in tensors.items()}
  words = tensors["bert.embeddings.word_embeddings.weight"]
  x = (words[ids]
       + tensors["bert.embeddings.token_type_embeddings.weight"][segments]
       + tensors["bert.embeddings.position_embeddings.weight"][:ids.shape[1]])
  states = [normalized(x, tensors, "bert.embeddings.LayerNorm")]

  def heads(x):
    return x.reshape(x.shape[:2] + (2, 4)).transpose(0, 2, 1, 3)

  for layer in range(2):
    scope = "bert.encoder.layer.%d." % layer
    x = states[-1]
    q, k, v = (heads(linear(x, tensors, scope + "attention.self." + name))
               for name in ("query", "key", "value"))
    scores = q @ k.transpose(0, 1, 3, 2) / 2.0
    scores = np.exp(scores + (mask[:, None, None, :] - 1.0) * 1e4)
    context = (scores / scores.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3)
    x = normalized(x + linear(context.reshape(x.shape), tensors,
                              scope + "attention.output.dense"),
                   tensors, scope + "attention.output.LayerNorm")
    inner = gelu(linear(x, tensors, scope + "intermediate.dense"))
    states.append(normalized(
        x + linear(inner, tensors, scope + "output.dense"), tensors,
        scope + "output.LayerNorm"))
  head = "cls.predictions.transform."
  x = normalized(gelu(linear(states[-1], tensors, head + "dense")), tensors,
                 head + "LayerNorm")
  pooled = np.tanh(linear(states[-1][:, 0], tensors, "bert.pooler.dense"))
  return (states, x @ words.T + tensors["cls.predictions.bias"],
          linear(pooled, tensors, "cls.seq_relationship"))


def our_bert(config, variables, ids, mask, segments):
  """Returns what `numpy_bert` does, of our model; NSP as log probabilities."""
  with tf.Graph().as_default(), tf.Session() as session:
    model = modeling.BertModel(
        config, False, *(tf.constant(x, tf.int32) for x in (
            ids, mask, segments)))
    positions = tf.tile([list(range(ids.shape[1]))], [len(ids), 1])
    logits = modeling.masked_lm_logits(
        config, model.get_sequence_output(), model.get_embedding_table(),
        positions)
    _, _, next_sentence = modeling.get_next_sentence_output(
        config, model.get_pooled_output(), tf.zeros([len(ids)], tf.int32))
    session.run(tf.global_variables_initializer())
    for variable in tf.trainable_variables():
      variable.load(variables[variable.name.partition(":")[0]], session)
    states, logits, next_sentence = session.run((
        [model.get_embedding_output()] + model.get_all_encoder_layers(),
        logits, next_sentence))
  return (states, logits.reshape(ids.shape + (config.vocab_size,)),
          next_sentence)


def batch(vocab_size, shape=(3, 16), seed=0):
  """Returns random (ids, mask, segments), sequences of several lengths."""
  rng = np.random.RandomState(seed)
  ids = rng.randint(vocab_size, size=shape)
  lengths = np.array([shape[1] - 3 * i for i in range(shape[0])])
  mask = (np.arange(shape[1]) < lengths[:, None]).astype(int)
  segments = (np.arange(shape[1]) >= lengths[:, None] // 2) * mask
  return ids * mask, mask, segments


def log_softmax(x):
  x = x - x.max(-1, keepdims=True)
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


def differences(ours, theirs, mask):
  """Returns the largest differences: of hidden states, MLM and NSP scores.

  Both are (list of [B, S, H], [B, S, V], [B, 2]), at places that are not
  padding.
  """
  real = mask.astype(bool)
  assert len(ours[0]) == len(theirs[0])
  return (
      max(np.abs(a - b)[real].max() for a, b in zip(ours[0], theirs[0])),
      np.abs(ours[1] - theirs[1])[real].max(),
      np.abs(ours[2] - log_softmax(theirs[2])).max())


def test_the_model_computes_the_same(tmp_path):
  tensors = random_tensors()
  model = hf.read(write_folder(tmp_path, tensors))
  inputs = batch(len(VOCAB))
  ours = our_bert(modeling.BertConfig.from_dict(model.config), model.variables,
                  *inputs)
  assert max(differences(ours, numpy_bert(tensors, *inputs), inputs[1])) < 2e-5


# --------------------------------------------------------------- forms of names


def of_first_conversions(tensors):
  """Names as in early conversions of Google's checkpoints."""
  return {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
      "LayerNorm.bias", "LayerNorm.beta"): value
          for name, value in tensors.items()}


def with_buffers(tensors):
  return dict(tensors, **{
      "bert.embeddings.position_ids": np.arange(32, dtype=np.int64)[None],
      "bert.embeddings.token_type_ids": np.zeros([1, 32], np.int64)})


def with_decoder(tensors):
  """The shared weights under both names, as in pytorch_model.bin."""
  return dict(tensors, **{
      "cls.predictions.decoder.weight":
          tensors["bert.embeddings.word_embeddings.weight"],
      "cls.predictions.decoder.bias": tensors["cls.predictions.bias"]})


def with_decoder_only(tensors):
  """The shared weights under the other name."""
  shared = ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias")
  return {name: value for name, value in with_decoder(tensors).items()
          if name not in shared}


@pytest.mark.parametrize("change", [
    of_first_conversions, with_buffers, with_decoder, with_decoder_only])
def test_forms_of_a_whole_model(tmp_path, change):
  expected = hf.read(write_folder(tmp_path / "plain", random_tensors()))
  found = hf.read(write_folder(tmp_path / "other", change(random_tensors())))
  assert_same(found.variables, expected.variables)
  assert found.missing == found.unused == []


def of_an_attribute(tensors):
  """The encoder is a BertModel in a class of its own, the heads are not."""
  return {name.replace("bert.", "model.bert_model.", 1)
          if name.startswith("bert.") else "model." + name: value
          for name, value in tensors.items()}


def of_a_named_encoder(tensors):
  return {name.replace("bert.", "my_bert.", 1)
          if name.startswith("bert.") else name: value
          for name, value in tensors.items()}


@pytest.mark.parametrize("change, root", [
    (lambda tensors: under("module.")(with_decoder(tensors)), "module.bert."),
    (lambda tensors: under("_orig_mod.module.")(with_decoder_only(tensors)),
     "_orig_mod.module.bert."),
    (lambda tensors: under("model.")(of_first_conversions(tensors)),
     "model.bert."),
    (of_an_attribute, "model.bert_model."), (of_a_named_encoder, "my_bert."),
    (lambda tensors: dict(tensors, **under("teacher.")(tensors)), "bert.")])
def test_names_under_a_prefix(tmp_path, change, root):
  """The heads' are stripped, too; a standard name goes before others."""
  whole = hf.read(write_folder(tmp_path / "whole", random_tensors()))
  found = hf.read(write_folder(tmp_path / "other", change(random_tensors())))
  assert_same(found.variables, whole.variables)
  assert found.missing == []
  assert (found.root, whole.root) == (root, "bert.")
  assert (found.scope, whole.scope) == (
      "bert/" if root == "bert." else root[:-1], "bert/")
  assert all(name.startswith("teacher.") for name in found.unused)


def test_an_encoder_of_an_attribute_beside_another_head(tmp_path):
  tensors = {"encoder." + name[len("bert."):]: value
             for name, value in random_tensors().items()
             if name.startswith("bert.")}
  tensors["encoder.classifier.weight"] = np.zeros([3, 8], np.float32)
  found = hf.read(write_folder(tmp_path / "part", tensors))
  assert found.missing == HEADS[2:] and found.root == "encoder."
  assert found.unused == ["encoder.classifier.weight"]


@pytest.mark.parametrize("architecture, there, missing", [
    ("BertModel", lambda name: name.startswith("bert."), HEADS[2:]),
    ("BertModel", lambda name: name.startswith("bert.") and
     "pooler" not in name, HEADS),
    ("BertForMaskedLM", lambda name: "pooler" not in name and
     "seq_relationship" not in name, HEADS[:2] + HEADS[-2:]),
    ("BertForNextSentencePrediction", lambda name: "predictions" not in name,
     HEADS[2:-2]),
], ids=["encoder", "without_pooler", "masked_lm", "next_sentence"])
def test_models_that_lack_heads(tmp_path, architecture, there, missing):
  whole = hf.read(write_folder(tmp_path / "whole", random_tensors()))
  part = {n: v for n, v in random_tensors().items() if there(n)}
  found = hf.read(write_folder(
      tmp_path / "part", part, architectures=[architecture]))
  assert found.missing == missing and found.unused == []
  assert_same(found.variables, {n: v for n, v in whole.variables.items()
                                if n not in missing})


def test_an_encoder_by_itself_and_another_head(tmp_path):
  """A BertModel's names have no "bert."; unused weights are listed."""
  tensors = {n[len("bert."):]: v for n, v in random_tensors().items()
             if n.startswith("bert.")}
  tensors["classifier.weight"] = np.zeros([3, 8], np.float32)
  found = hf.read(write_folder(tmp_path / "part", tensors))
  whole = hf.read(write_folder(tmp_path / "whole", random_tensors()))
  assert found.missing == HEADS[2:]
  assert found.unused == ["classifier.weight"]
  assert_same(found.variables, {n: v for n, v in whole.variables.items()
                                if n not in found.missing})


def test_half_precision_becomes_float32(tmp_path):
  tensors = random_tensors()
  halves = {n: v.astype(np.float16) for n, v in tensors.items()}
  found = hf.read(write_folder(tmp_path / "fp16", halves))
  expected = hf.read(write_folder(tmp_path / "plain", {
      n: v.astype(np.float32) for n, v in halves.items()}))
  assert_same(found.variables, expected.variables)


def bfloat16_file(tensors):
  """Returns the bytes of a safetensors file, following its specification."""
  header, data = {}, b""
  for name, value in tensors.items():
    raw = (value.view("<u4") >> 16).astype("<u2").tobytes()
    header[name] = {"dtype": "BF16", "shape": list(value.shape),
                    "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
  text = json.dumps(header).encode("utf-8")
  return np.array([len(text)], "<u8").tobytes() + text + data


def test_bfloat16_becomes_float32(tmp_path):
  tensors = {n: (v.view("<u4") & 0xFFFF0000).astype("<u4").view("<f4")
             for n, v in random_tensors().items()}
  expected = hf.read(write_folder(tmp_path, tensors))
  (tmp_path / "model.safetensors").write_bytes(bfloat16_file(tensors))
  assert_same(hf.read(str(tmp_path)).variables, expected.variables)


def shard(folder, tensors):
  """Splits a directory's weights into two files."""
  os.remove(str(folder / "model.safetensors"))
  places = {}
  for i in range(2):
    name = "model-0000%d-of-00002.safetensors" % (i + 1)
    part = {n: tensors[n] for n in sorted(tensors)[i::2]}
    safetensors.numpy.save_file(part, str(folder / name))
    places.update((n, name) for n in part)
  write_json(folder / "model.safetensors.index.json", {"weight_map": places})
  return places


def test_weights_in_several_files(tmp_path):
  expected = hf.read(write_folder(tmp_path, random_tensors()))
  shard(tmp_path, random_tensors())
  assert_same(hf.read(str(tmp_path)).variables, expected.variables)


class Tensor:
  """The part of a PyTorch tensor that is used."""

  def __init__(self, value):
    self._value = value

  def float(self):
    return self

  def numpy(self):
    return self._value


class Torch:
  """The part of PyTorch that is used; the content of a file is given."""

  def __init__(self, result):
    self._result = result

  def load(self, stream, map_location, weights_only):
    assert map_location == "cpu" and weights_only is True
    assert stream.read() == b"a pickle"
    if isinstance(self._result, Exception):
      raise self._result
    return self._result


def torch_folder(folder):
  write_folder(folder, random_tensors())
  os.rename(str(folder / "model.safetensors"),
            str(folder / "pytorch_model.bin"))
  (folder / "pytorch_model.bin").write_bytes(b"a pickle")
  return str(folder)


def test_weights_of_pytorch(tmp_path, monkeypatch):
  expected = hf.read(write_folder(tmp_path / "plain", random_tensors()))
  monkeypatch.setitem(sys.modules, "torch", Torch({
      name: Tensor(value)
      for name, value in with_decoder(random_tensors()).items()}))
  found = hf.read(torch_folder(tmp_path / "torch"))
  assert_same(found.variables, expected.variables)


def test_a_real_file_of_pytorch(tmp_path):
  torch = pytest.importorskip("torch")
  expected = hf.read(write_folder(tmp_path, random_tensors()))
  os.remove(str(tmp_path / "model.safetensors"))
  tensors = {n: torch.from_numpy(v) for n, v in with_buffers(
      random_tensors()).items()}
  path = str(tmp_path / "pytorch_model.bin")
  torch.save(tensors, path)
  assert_same(hf.read(str(tmp_path)).variables, expected.variables)
  torch.save({"run": subprocess.run}, path)
  with pytest.raises(ValueError, match="holds more than weights"):
    hf.read(str(tmp_path))


# ------------------------------------------------------- config and tokenizer


@pytest.mark.parametrize("theirs, ours", [
    ("gelu", "gelu_erf"), ("gelu_python", "gelu_erf"), ("gelu_new", "gelu"),
    ("gelu_pytorch_tanh", "gelu"), ("relu", "relu"), (None, "gelu_erf")])
def test_activations(tmp_path, theirs, ours):
  write_json(tmp_path / "config.json", their_config(hidden_act=theirs))
  assert hf.read_config(str(tmp_path))["hidden_act"] == ours


def test_a_config_of_either_kind(tmp_path):
  """The same name means another activation in the other."""
  theirs, ours = tmp_path / "config.json", tmp_path / "bert_config.json"
  write_json(theirs, their_config(hidden_act="gelu"))
  write_json(ours, dict(TINY, hidden_act="gelu"))
  assert hf.load_config(str(theirs)).hidden_act == "gelu_erf"
  assert hf.load_config(str(ours)).hidden_act == "gelu"
  assert vars(hf.load_config(str(theirs))) == vars(config_of())
  ours.write_text("{")
  with pytest.raises(ValueError, match="config.*is not JSON"):
    hf.load_config(str(ours))


@pytest.mark.parametrize("changes, said", [
    ({"hidden_act": "gelu"}, "hidden_act is 'gelu_erf' there and 'gelu' by"),
    ({"hidden_size": 16}, "hidden_size is 8 there and 16 by the config")])
def test_a_config_beside_a_folder(tmp_path, changes, said):
  folder = write_folder(tmp_path, random_tensors())
  hf.check_config(folder, config_of(hidden_act="GELU_ERF",
                                    hidden_dropout_prob=0.0), "c.json")
  with pytest.raises(ValueError, match="of another model than c.json: " + said):
    hf.check_config(folder, config_of(**changes), "c.json")


def test_what_a_config_does_not_say_is_as_in_transformers(tmp_path):
  write_json(tmp_path / "config.json", {"model_type": "bert"})
  assert hf.read_config(str(tmp_path)) == dict(
      modeling.BertConfig(30522).to_dict(), type_vocab_size=2,
      hidden_act="gelu_erf")


@pytest.mark.parametrize("files, expected", [
    ({}, None),
    ({"tokenizer_config.json": {}}, None),
    ({"tokenizer_config.json": {"do_lower_case": False}}, False),
    ({"tokenizer_config.json": {
        "do_lower_case": True, "strip_accents": None,
        "tokenize_chinese_chars": True}}, True),
    ({"tokenizer.json": {"normalizer": {"lowercase": False}}}, False),
    ({"tokenizer.json": {"normalizer": {"lowercase": True}},
      "tokenizer_config.json": {"do_lower_case": False}}, False),
    ({"tokenizer.json": {"normalizer": None}}, None),
])
def test_do_lower_case(tmp_path, files, expected):
  for name, content in files.items():
    write_json(tmp_path / name, content)
  assert hf.read_options(str(tmp_path)).get("do_lower_case") is expected


@pytest.mark.parametrize("stated", [
    {"do_lower_case": True, "strip_accents": False},
    {"do_lower_case": False, "strip_accents": True},
    {"do_lower_case": True, "tokenize_chinese_chars": False}])
def test_other_options_of_a_tokenizer(tmp_path, stated):
  write_json(tmp_path / "tokenizer_config.json", stated)
  assert hf.read_options(str(tmp_path)) == stated


MECAB = {"word_tokenizer_type": "mecab", "subword_tokenizer_type": "wordpiece"}


@pytest.mark.parametrize("name, content, said", [
    ("tokenizer_config.json", {"do_lower_case": "yes"}, "'do_lower_case' must"),
    ("tokenizer_config.json", {"do_basic_tokenize": False}, "do_basic_tok"),
    ("tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"},
     r"\(XLMRobertaTokenizer, wordpiece\) does not split words into WordP"),
    ("config.json", {"tokenizer_class": "HerbertTokenizer"}, "HerbertToken"),
    ("tokenizer_config.json", dict(MECAB, subword_tokenizer_type="unigram"),
     r"\(no class named, unigram\) does not split"),
    ("tokenizer_config.json", MECAB, "words by mecab, not by BERT's rules"),
    ("tokenizer_config.json", dict(MECAB, subword_tokenizer_type="character"),
     "words by mecab, and these into characters, not by"),
    ("config.json", {"tokenizer_class": "BertJapaneseTokenizer"},
     r"--tokenize_chinese_chars=false --do_split_on_punc=false\."),
    ("tokenizer.json", {"normalizer": {"type": "Sequence"}},
     "has the normalizer Sequence, where BERT's tokenizer has BertNormalizer"),
    ("tokenizer.json", {"pre_tokenizer": {"type": "Whitespace"}},
     "has the pre_tokenizer Whitespace"),
    ("tokenizer.json", {"normalizer": {"clean_text": False}}, "clean_text"),
])
def test_a_tokenizer_of_another_kind_is_refused(tmp_path, name, content, said):
  write_json(tmp_path / name, content)
  with pytest.raises(ValueError, match=said) as refusal:
    hf.read_options(str(tmp_path))
  assert str(tmp_path) in str(refusal.value)


@pytest.mark.parametrize("content, expected", [
    (MECAB, {"do_lower_case": False, "strip_accents": False}),
    (dict(MECAB, do_lower_case=True),
     {"do_lower_case": True, "strip_accents": False})])
def test_words_of_a_program_for_japanese(tmp_path, content, expected):
  write_json(tmp_path / "tokenizer_config.json", content)
  assert hf.read_options(str(tmp_path), is_split_into_words=True) == expected


def test_the_vocabulary_of_a_tokenizer_json(tmp_path):
  """All that transformers 5 writes."""
  assert hf.find_vocab_file(str(tmp_path)) is None
  ids = {piece: i for i, piece in enumerate(VOCAB)}
  shuffled = {piece: ids[piece] for piece in sorted(ids)}
  path = tmp_path / "tokenizer.json"
  write_json(path, {"model": {"type": "WordPiece", "vocab": shuffled}})
  assert hf.find_vocab_file(str(tmp_path)) == str(path)
  assert tokenization.read_vocabulary(str(path)) == VOCABULARY
  (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n")
  assert hf.find_vocab_file(str(tmp_path)) == str(tmp_path / "vocab.txt")


@pytest.mark.parametrize("model", [
    {"type": "BPE", "vocab": {"a": 0}},
    {"type": "WordPiece", "vocab": {"a": 0, "b": 2}},
    {"type": "WordPiece", "vocab": {"a": 0, "b": "c"}},
    {"type": "WordPiece"}, None])
def test_a_tokenizer_json_without_pieces_is_refused(tmp_path, model):
  path = tmp_path / "tokenizer.json"
  write_json(path, {"model": model})
  with pytest.raises(ValueError, match="tokenizer.json"):
    tokenization.read_vocabulary(str(path))


# --------------------------------------------------------------------- refusals


@pytest.mark.parametrize("changes, said", [
    ({"model_type": "roberta", "architectures": ["RobertaForMaskedLM"]},
     r"describes a RoBERTa, with byte-level BPE instead of WordPieces \(model_"
     r"type 'roberta', RobertaForMaskedLM\), which is not supported"),
    ({"model_type": "electra"}, "describes an ELECTRA, .* train this model "),
    ({"model_type": "new"}, "describes another model than BERT .*'new'"),
    ({"architectures": ["JinaBertForMaskedLM"]}, "JinaBertForMaskedLM"),
    ({"position_embedding_type": "relative_key"}, "'relative_key'"),
    ({"is_decoder": True}, "'is_decoder' is True"),
    ({"layer_norm_eps": 1e-5}, "'layer_norm_eps' is 1e-05"),
    ({"hidden_act": "silu"}, "'silu' is not supported. These are: gelu_new"),
    ({"hidden_act": ["gelu"]}, "is not supported"),
    ({"vocab_size": "many"}, "'vocab_size' must be an integer of at least 1"),
    ({"num_hidden_layers": 0}, "'num_hidden_layers' must be .* but is 0"),
    ({"num_hidden_layers": True}, "'num_hidden_layers' must be"),
    ({"hidden_dropout_prob": 1.5}, "'hidden_dropout_prob' must be .* got 1.5"),
    ({"initializer_range": -1}, "'initializer_range' must be"),
    ({"num_attention_heads": 3}, "8 is not a multiple of .* 3"),
])
def test_configs_that_are_refused(tmp_path, changes, said):
  folder = write_folder(tmp_path, random_tensors(), **changes)
  with pytest.raises(ValueError, match=said) as refusal:
    hf.read(folder)
  assert os.path.join(folder, "config.json") in str(refusal.value)


@pytest.mark.parametrize("content, said", [
    ("{", "is not JSON"), ("[1]", "a JSON list where an object")])
def test_a_config_that_is_none(tmp_path, content, said):
  (tmp_path / "config.json").write_text(content)
  with pytest.raises(ValueError, match="config.json.*" + said):
    hf.read(str(tmp_path))


def without(name):
  return lambda tensors: {n: v for n, v in tensors.items() if n != name}


def with_tensor(name, value):
  return lambda tensors: dict(tensors, **{name: value})


def under(prefix, change=dict):
  """Returns a function that puts a prefix before all names."""
  return lambda tensors: {
      prefix + name: value for name, value in change(tensors).items()}


@pytest.mark.parametrize("change, said", [
    (without("bert.encoder.layer.1.output.dense.bias"),
     "bert/encoder/layer_1/output/dense/bias is missing"),
    (without("bert.embeddings.word_embeddings.weight"),
     "bert/embeddings/word_embeddings is missing"),
    (with_tensor("bert.encoder.layer.2.output.dense.bias",
                 np.zeros(8, np.float32)),
     "bert.encoder.layer.2.output.dense.bias is not in the model"),
    (with_tensor("bert.encoder.layer.0.output.dense.weight",
                 np.zeros([16, 8], np.float32)),
     r"layer_0/output/dense/kernel is \[8, 16\] there and \[16, 8\] by config"),
    (with_tensor("cls.predictions.decoder.weight",
                 np.zeros([45, 8], np.float32)),
     "cls.predictions.decoder.weight differs from bert.embeddings.word_embed"),
    (with_tensor("cls.predictions.decoder.bias", np.zeros(45, np.float32)),
     "cls.predictions.decoder.bias differs from cls.predictions.bias"),
    (with_tensor("cls.predictions.bias", np.zeros(45, np.int8)),
     "cls.predictions.bias is stored as I8"),
    (lambda tensors: {"weight": np.zeros(3, np.float32)},
     "it has weight where the model has bert.embeddings.word_embeddings.weig"),
    (lambda tensors: {"x": np.zeros(3, np.float32)}, "it has x where the"),
    (lambda tensors: {}, "does not hold the encoder of a BERT: it has no w"),
    (lambda tensors: dict(under("a.")(tensors), **under("b.")(tensors)),
     r"several encoders: a.bert.embeddings\.\.\., b.bert.embeddings\.\.\."),
    (under("module.", without("bert.encoder.layer.1.output.dense.bias")),
     "bert/encoder/layer_1/output/dense/bias is missing"),
    (under("module.", with_tensor("bert.encoder.layer.2.output.dense.bias",
                                  np.zeros(8, np.float32))),
     "module.bert.encoder.layer.2.output.dense.bias is not in the model"),
])
def test_weights_that_are_refused(tmp_path, change, said):
  folder = write_folder(tmp_path, change(random_tensors()))
  with pytest.raises(ValueError, match=said) as refusal:
    hf.read(folder)
  assert os.path.join(folder, "model.safetensors") in str(refusal.value)


def cut(folder):
  path = folder / "model.safetensors"
  path.write_bytes(path.read_bytes()[:-5])


def lengthen(folder):
  path = folder / "model.safetensors"
  path.write_bytes(path.read_bytes() + b"12345")


def garble(folder):
  (folder / "model.safetensors").write_bytes(b"\x80\x02}q\x00." * 100)


def empty(folder):
  (folder / "model.safetensors").write_bytes(b"")


def leave_pointer(folder):
  (folder / "model.safetensors").write_bytes(
      b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def remove(folder):
  os.remove(str(folder / "model.safetensors"))


def lead_out(folder):
  places = shard(folder, random_tensors())
  write_json(folder / "model.safetensors.index.json",
             {"weight_map": dict.fromkeys(places, "../model.safetensors")})


def spoil_index(folder):
  shard(folder, random_tensors())
  write_json(folder / "model.safetensors.index.json", {"weights": []})


@pytest.mark.parametrize("damage, said", [
    (cut, "model.safetensors is damaged or not a safetensors file"),
    (lengthen, "model.safetensors is damaged or not a safetensors file"),
    (garble, "model.safetensors is damaged or not a safetensors file"),
    (empty, "model.safetensors is damaged or not a safetensors file"),
    (leave_pointer, "is a Git LFS pointer, not the file itself"),
    (remove, "neither model.safetensors nor pytorch_model.bin"),
    (lead_out, "index.json is not an index of weights"),
    (spoil_index, "index.json is not an index of weights"),
])
def test_files_that_are_refused(tmp_path, damage, said):
  folder = write_folder(tmp_path, random_tensors())
  damage(tmp_path)
  with pytest.raises(ValueError, match=said) as refusal:
    hf.read(folder)
  assert folder in str(refusal.value)


@pytest.mark.parametrize("name, said", [
    ("tf_model.h5", r"has tf_model.h5, a Keras model\. Load it with .*from_tf"),
    ("flax_model.msgpack", "has flax_model.msgpack, a Flax model.*from_flax"),
    ("model.onnx", "has model.onnx, an ONNX model, which cannot be trained"),
    ("adapter_model.safetensors", "a LoRA or other PEFT adapter"),
    ("notes.txt", "neither .* Copy the whole directory")])
def test_weights_in_another_format_are_named(tmp_path, name, said):
  folder = write_folder(tmp_path, random_tensors())
  os.rename(str(tmp_path / "model.safetensors"), str(tmp_path / name))
  with pytest.raises(ValueError, match=said) as refusal:
    hf.read(folder)
  assert folder in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_missing_shard_is_an_os_error(tmp_path):
  folder = write_folder(tmp_path, random_tensors())
  os.remove(str(tmp_path / sorted(shard(tmp_path, random_tensors()).values())[
      0]))
  with pytest.raises(OSError, match="00001-of-00002"):
    hf.read(folder)


def test_packages_that_are_missing_are_named(tmp_path, monkeypatch):
  folder = write_folder(tmp_path / "plain", random_tensors())
  monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
  with pytest.raises(ValueError, match="pip install safetensors"):
    hf.read(folder)
  monkeypatch.setitem(sys.modules, "torch", None)
  with pytest.raises(ValueError, match="pip install torch"):
    hf.read(torch_folder(tmp_path / "torch"))


def test_what_pytorch_refuses_is_refused(tmp_path, monkeypatch):
  monkeypatch.setitem(
      sys.modules, "torch", Torch(RuntimeError("Unsupported class\nos.system")))
  with pytest.raises(ValueError, match=r"pytorch_model.bin is damaged or holds"
                     r" more than weights \(Unsupported class\)"):
    hf.read(torch_folder(tmp_path))


def test_an_activation_of_no_name_there_is_refused(tmp_path):
  config = config_of(hidden_act="swish")
  with pytest.raises(ValueError, match="no activation 'swish'"):
    hf.write(str(tmp_path / "out"), random_variables(config), config,
             VOCABULARY, True)
  assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- missing heads


def encoder_of(variables):
  return {n: v for n, v in variables.items() if n not in HEADS}


def complete(config, transform="identity", seed=5):
  return hf.complete(encoder_of(random_variables(config)), config,
                     np.random.RandomState(seed), transform)


def test_heads_that_are_made():
  config = config_of()
  whole = complete(config)
  assert list(whole) == list(modeling.variable_shapes(config))
  assert {n: list(v.shape) for n, v in whole.items()} == dict(
      modeling.variable_shapes(config))
  assert {v.dtype.name for v in whole.values()} == {"float32"}
  transform = "cls/predictions/transform/"
  np.testing.assert_array_equal(whole[transform + "dense/kernel"], np.eye(8))
  np.testing.assert_array_equal(whole[transform + "LayerNorm/gamma"],
                                np.ones(8))
  for name in HEADS:
    if name.endswith(("bias", "beta")):
      assert not whole[name].any()
  assert_same(encoder_of(whole), encoder_of(random_variables(config)))


def test_heads_that_are_there_stay():
  config = config_of()
  variables = random_variables(config)
  assert_same(hf.complete(variables, config, np.random.RandomState(0)),
              variables)


def test_an_identity_adds_nothing_to_the_vectors():
  """Except for its activation: it scores by the encoder's own vectors."""
  config = config_of(hidden_act="linear")
  variables = complete(config)
  inputs = batch(len(VOCAB))
  # After layer normalization the head's vectors are the encoder's.
  for name in ("gamma", "beta"):
    variables["bert/encoder/layer_1/output/LayerNorm/" + name][:] = (
        name == "gamma")
  states, logits, _ = our_bert(config, variables, *inputs)
  np.testing.assert_allclose(
      logits, states[-1] @ variables["bert/embeddings/word_embeddings"].T,
      atol=1e-4)


def test_random_heads_are_those_of_a_fresh_model():
  config = config_of(hidden_size=64, initializer_range=0.02)
  whole = complete(config, "random")
  for name in ("bert/pooler/dense/kernel",
               "cls/predictions/transform/dense/kernel"):
    assert np.abs(whole[name]).max() <= 0.04
    # Truncation at two deviations scales the standard deviation by 0.88.
    assert np.std(whole[name]) == pytest.approx(0.0176, rel=0.05)
  assert_same(whole, complete(config, "random"))
  other = complete(config, "random", seed=6)
  assert (other[name] != whole[name]).any()


def test_what_can_not_be_completed():
  config = config_of()
  variables = random_variables(config)
  del variables["bert/encoder/layer_0/output/dense/kernel"]
  with pytest.raises(ValueError, match="The encoder is incomplete: "
                     "bert/encoder/layer_0/output"):
    hf.complete(variables, config, np.random.RandomState(0))
  with pytest.raises(ValueError, match="'zero' is not one of identity, random"):
    complete(config, "zero")


# ------------------------------------------------------ transformers themselves


# Runs where transformers is installed. Writes the outputs of its models, and
# prints what it reports about a directory's weights.
THEIRS = '''
import json, sys
import numpy, torch, transformers
folder, inputs, outputs, make = sys.argv[1:]
if make:
  torch.manual_seed(1)
  config = transformers.BertConfig(**json.loads(make))
  kind = getattr(transformers, config.architectures[0])
  model = kind(config)
  with torch.no_grad():
    for weight in model.parameters():
      weight.normal_(0.0, 0.3)
  model.save_pretrained(folder)
  config.architectures = [kind.__name__]
kind = transformers.BertConfig.from_pretrained(folder).architectures[0]
with numpy.load(inputs) as arrays:
  ids, mask, segments = (torch.tensor(arrays[n]) for n in ("a", "b", "c"))
given = dict(input_ids=ids, attention_mask=mask, token_type_ids=segments,
             output_hidden_states=True)
found, told = {}, {}
for name in sorted({kind, "BertForMaskedLM"}):
  if name != kind == "BertModel":
    continue
  model, told[name] = getattr(transformers, name).from_pretrained(
      folder, output_loading_info=True)
  with torch.no_grad():
    result = model.eval()(**given)
  states = result.hidden_states
  if name == kind:
    found.update(("state%d" % i, state) for i, state in enumerate(states))
  if name == "BertForPreTraining":
    found.update(logits=result.prediction_logits,
                 next_sentence=result.seq_relationship_logits)
  elif name == "BertForMaskedLM":
    found.update(masked_lm_logits=result.logits)
  else:
    found.update(pooled=result.pooler_output)
numpy.savez(outputs, **{n: v.detach().numpy() for n, v in found.items()})
pieces = None
if not make:
  tokenizer = transformers.BertTokenizer.from_pretrained(folder)
  pieces = tokenizer("W1 w2 w39 what")["input_ids"]
print(json.dumps({
    "transformers": transformers.__version__, "pieces": pieces,
    "missing": {n: sorted(i["missing_keys"]) for n, i in told.items()},
    "unexpected": {n: sorted(i["unexpected_keys"]) for n, i in told.items()}}))
'''


def theirs(tmp_path, folder, inputs, make=None):
  """Runs transformers on a directory.

  Args:
    folder: str, a folder of theirs; written there first if `make`, their
      config, is given.
    inputs: (ids, mask, segments).

  Returns:
    (dict of arrays, what they say).
  """
  python = os.environ.get("HUGGING_FACE_PYTHON")
  if not python:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    python = sys.executable
  given, gotten = str(tmp_path / "in.npz"), str(tmp_path / "out.npz")
  np.savez(given, **dict(zip("abc", inputs)))
  environment = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
  output = subprocess.run(
      [python, "-c", THEIRS, folder, given, gotten,
       json.dumps(make) if make else ""],
      stdout=subprocess.PIPE, universal_newlines=True, check=True,
      env=dict(environment, HF_HUB_OFFLINE="1")).stdout
  with np.load(gotten) as arrays:
    return dict(arrays), json.loads(output.splitlines()[-1])


def states_of(arrays):
  return [arrays["state%d" % i]
          for i in range(sum(n.startswith("state") for n in arrays))]


@pytest.mark.parametrize("activation", ["gelu_erf", "gelu", "relu"])
def test_transformers_computes_the_same(tmp_path, activation):
  """From a directory of ours, without warnings of missing weights."""
  config = config_of(hidden_act=activation)
  variables = random_variables(config)
  folder = str(tmp_path / "folder")
  hf.write(folder, variables, config, VOCABULARY, True)
  inputs = batch(len(VOCAB))
  arrays, said = theirs(tmp_path, folder, inputs)
  ours = our_bert(config, variables, *inputs)
  found = differences(
      ours, (states_of(arrays), arrays["logits"], arrays["next_sentence"]),
      inputs[1])
  print("transformers", said["transformers"], activation, found)
  assert max(found) < 1e-4
  np.testing.assert_array_equal(arrays["masked_lm_logits"], arrays["logits"])
  assert not any(said["missing"].values())
  assert said["unexpected"]["BertForPreTraining"] == []
  # What a BertForMaskedLM does not have.
  assert all(name.startswith(("bert.pooler.", "cls.seq_relationship."))
             for name in said["unexpected"]["BertForMaskedLM"])
  assert said["pieces"] == [VOCAB.index(piece) for piece in (
      "[CLS]", "w1", "w2", "w39", "[UNK]", "[SEP]")]


@pytest.mark.parametrize("architecture", [
    "BertModel", "BertForMaskedLM", "BertForPreTraining"])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_a_folder_of_transformers_is_read(tmp_path, architecture, activation):
  make = their_config(architectures=[architecture], hidden_act=activation)
  folder = str(tmp_path / "folder")
  inputs = batch(len(VOCAB))
  arrays, _ = theirs(tmp_path, folder, inputs, make)
  model = hf.read(folder)
  assert model.missing == {
      "BertModel": HEADS[2:], "BertForPreTraining": [],
      "BertForMaskedLM": HEADS[:2] + HEADS[-2:]}[architecture]
  config = modeling.BertConfig.from_dict(model.config)
  states, logits, next_sentence = our_bert(config, hf.complete(
      model.variables, config, np.random.RandomState(0)), *inputs)
  found = differences(
      (states, arrays.get("masked_lm_logits", logits), next_sentence),
      (states_of(arrays), logits, arrays.get("next_sentence", next_sentence)),
      inputs[1])
  print(architecture, activation, found)
  assert max(found) < 1e-4


def test_trained_weights_compute_the_same(tmp_path):
  """The vectors of the model in MINILM_FOLDER, as converted by us."""
  folder = os.environ.get("MINILM_FOLDER")
  if not folder:
    pytest.skip("MINILM_FOLDER names no folder of a trained BERT")
  model = hf.read(folder)
  config = modeling.BertConfig.from_dict(model.config)
  variables = hf.complete(model.variables, config, np.random.RandomState(0))
  inputs = batch(config.vocab_size, (4, 64))
  ours = our_bert(config, variables, *inputs)
  before, _ = theirs(tmp_path, folder, inputs)
  out = str(tmp_path / "out")
  hf.write(out, variables, config,
           tokenization.read_vocabulary(hf.find_vocab_file(folder)),
           hf.read_options(folder)["do_lower_case"])
  after, said = theirs(tmp_path, out, inputs)
  for name, value in before.items():
    if name.startswith("state"):
      np.testing.assert_array_equal(after[name], value)
  found = differences(
      ours, (states_of(after), after["logits"], after["next_sentence"]),
      inputs[1])
  print("trained weights, transformers", said["transformers"], found)
  assert max(found) < 1e-4
  assert not any(said["missing"].values())
