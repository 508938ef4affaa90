"""BERT models in directories of Hugging Face's transformers: read and written.

Such a directory holds `config.json`, the weights in `model.safetensors` (or
`pytorch_model.bin`; either may be split into several files with an index) and
the tokenizer's files. It describes the same model in other terms:

* variables have PyTorch's names, and kernels are [units, width], where ours
  are [width, units];
* Hugging Face's activation "gelu" is our "gelu_erf", and Google's "gelu", the
  tanh form, is Hugging Face's "gelu_new";
* heads that pretraining needs may be missing; `complete` adds them.

Letters in shapes are those of modeling.py.
"""

from bert_e2e.checkpoints.hugging_face.config import (
  CONFIG_FILE,
  check_config,
  config_differences,
  config_file,
  is_directory,
  load_config,
  read_config,
)
from bert_e2e.checkpoints.hugging_face.export import (
  OUTPUT_FILES,
  check_writable,
  own_names,
  to_bytes,
  write,
)
from bert_e2e.checkpoints.hugging_face.heads import (
  TRANSFORMS,
  complete,
  truncated_normal,
)
from bert_e2e.checkpoints.hugging_face.model import Model, read
from bert_e2e.checkpoints.hugging_face.sentence_encoder import (
  is_sentence_encoder,
)
from bert_e2e.checkpoints.hugging_face.tokenizer import (
  find_directory,
  find_vocab_file,
  has_own_words,
  make_files,
  read_options,
)
from bert_e2e.checkpoints.hugging_face.weights import is_weight_file

__all__ = [
    "CONFIG_FILE", "OUTPUT_FILES", "TRANSFORMS", "Model", "check_config",
    "check_writable", "complete", "config_differences", "config_file",
    "find_directory", "find_vocab_file", "has_own_words", "is_directory",
    "is_sentence_encoder", "is_weight_file", "load_config", "make_files",
    "own_names", "read", "read_config", "read_options", "to_bytes",
    "truncated_normal", "write"]
