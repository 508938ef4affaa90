"""Files behind a scheme: TensorFlow reads and writes them, in the trainer."""

import contextlib
import gzip
import os
import textwrap

import forked_programs
import pytest
import record_files
import tensorflow.compat.v1 as tf
import tf_checkpoints
from hugging_face_models import config_of, random_variables
from program import LENGTHS, ROOT, WORDS, command

import run_pretraining_e2e as e2e
from bert_e2e.common import file_io, input_files
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import resume, text_lines
from bert_e2e.data import stream as stream_lib
from bert_e2e.training import training_plan

SCHEME = "standin://"


class StandIn:
  """Does what tf.io.gfile does, with real GFiles, for paths that nothing else
  can open: `standin://name` is `name` in a folder."""

  def __init__(self, folder):
    self._folder = folder

  def _local(self, path):
    assert path.startswith(SCHEME)
    return os.path.join(self._folder, path[len(SCHEME):])

  def GFile(self, path, mode):
    return tf.io.gfile.GFile(self._local(path), mode)

  def stat(self, path):
    return tf.io.gfile.stat(self._local(path))

  def exists(self, path):
    return tf.io.gfile.exists(self._local(path))

  def isdir(self, path):
    return tf.io.gfile.isdir(self._local(path))

  def listdir(self, path):
    return tf.io.gfile.listdir(self._local(path))

  def remove(self, path):
    tf.io.gfile.remove(self._local(path))

  def glob(self, pattern):
    return [SCHEME + os.path.relpath(path, self._folder)
            for path in tf.io.gfile.glob(self._local(pattern))]


@pytest.fixture
def remote(files, tmp_path, monkeypatch):
  """Puts the files behind a scheme; returns {name: remote path}."""
  with open(files["train"], "rb") as stream:
    text = stream.read()
  with gzip.open(str(tmp_path / "train2.txt.gz"), "wb") as stream:
    stream.write(text)
  stand_in = StandIn(str(tmp_path))
  monkeypatch.setattr(
      file_io, "_gfile", lambda path: contextlib.nullcontext(stand_in))
  return {name: SCHEME + os.path.basename(path)
          for name, path in files.items()}


def flow_of(pattern, vocab_file, **options):
  return e2e.take_write_2_flow(
      [pattern], vocab_file, num_epochs=2, chunk_lines=50, **dict(
          LENGTHS, **options))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_flow_of_remote_files_is_that_of_local_ones(
    files, remote, tmp_path, num_workers):
  """Worker processes know nothing of the stand-in: they are given the text."""
  with pytest.raises(OSError):
    open(remote["train"])
  local = list(flow_of(str(tmp_path / "train*"), files["vocab"]))
  log = remote["out"] + "_windows.txt"
  assert list(flow_of(
      SCHEME + "train*", remote["vocab"], num_workers=num_workers,
      log=resume.WindowLog(log))) == local
  rest = flow_of(
      SCHEME + "train*", remote["vocab"], num_workers=num_workers,
      first_example=len(local) - 3, log=resume.WindowLog(log))
  assert list(rest) == local[-3:]
  assert (tmp_path / "out_windows.txt").stat().st_size > 0


@pytest.mark.parametrize("name", [
    "a.jsonl", "a.csv", "a.parquet", "a.jsonl.gz"])
def test_records_of_remote_files(files, remote, tmp_path, name):
  texts = ["%s\n%s" % (WORDS[i % 40], WORDS[i % 7]) for i in range(400)]
  (tmp_path / name).write_bytes(record_files.file_of(name, texts))
  local = list(flow_of(str(tmp_path / name), files["vocab"]))
  assert len(local) > 100
  assert list(flow_of(SCHEME + name, remote["vocab"])) == local
  assert list(flow_of(
      SCHEME + name, remote["vocab"], num_workers=2,
      first_example=len(local) - 3)) == local[-3:]
  with pytest.raises(ValueError, match=SCHEME + name + ".*text_field"):
    list(flow_of(SCHEME + name, remote["vocab"], text_field="body"))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bad_byte_of_a_remote_file_is_named(
    remote, tmp_path, num_workers):
  with open(str(tmp_path / "train.txt"), "ab") as stream:
    stream.write(b"caf\xe9 au lait\n")
  with pytest.raises(text_lines.InvalidUtf8) as caught:
    for _ in flow_of(remote["train"], remote["vocab"],
                     num_workers=num_workers):
      pass
  assert "standin://train.txt is not UTF-8" in str(caught.value)
  assert "line 301, byte 4" in str(caught.value)


def test_what_a_remote_file_system_says_is_an_os_error():
  path = "nosuch://folder/file"
  for function in (file_io.size, file_io.exists, file_io.names,
                   file_io.matches, file_io.remove,
                   lambda path: file_io.write(path, b"x"),
                   lambda path: file_io.append(path, b"x")):
    with pytest.raises(OSError, match="nosuch"):
      function(path)
  with pytest.raises(OSError, match="nosuch"), file_io.open_binary(
      path) as stream:
    stream.read()


def test_a_program_says_it_in_one_sentence(files):
  run = forked_programs.run([
      os.path.join(ROOT, "show_examples.py"),
      "--input_file=" + files["train"], "--vocab_file=nosuch://vocab.txt"])
  assert run.returncode == 1
  assert "nosuch://vocab.txt" in run.stdout and "Traceback" not in run.stdout


def test_records_go_to_remote_folders(remote, tmp_path):
  (tmp_path / "out").mkdir()
  folder = remote["out"]
  record = resume.describe(
      corpus_lib.Corpus([remote["train"]]).fingerprint(), remote["vocab"],
      {"chunk_lines": 50})
  assert resume.load(folder) is None
  record.save(folder)
  assert resume.load(folder) == record
  path = resume.windows_file(folder, stream_lib.Shard())
  resume.WindowLog(path).add(stream_lib.Position(), 0, 9, (0, 1))
  record._replace(first_example=7).save(folder)  # Of another stream.
  assert not file_io.exists(path)
  plan = training_plan.make(2.0, 100, 8)
  plan.save(folder)
  assert training_plan.load(folder) == plan
  assert sorted(os.listdir(str(tmp_path / "out"))) == [
      resume.STREAM_FILE, training_plan.PLAN_FILE]


# TensorFlow's file system in memory, which there is from version 2 on.
WHOLE_PROGRAM = """
    import glob, os, sys
    from absl import flags
    import run_pretraining_e2e as e2e
    gfile = e2e.tf.io.gfile
    folder, *arguments = sys.argv[1:]
    for path in glob.glob(os.path.join(folder, "*.*")):
      with gfile.GFile("ram://in/" + os.path.basename(path), "wb") as stream:
        stream.write(open(path, "rb").read())
    e2e.define_flags()
    flags.FLAGS(["program"] + arguments)
    e2e.main(["program"])
    for name in gfile.listdir("ram://out"):
      print("left", name)
    """


def has_memory_files():
  try:
    return not tf.io.gfile.exists("ram://nothing")
  except tf.errors.UnimplementedError:
    return False


@pytest.mark.skipif(not has_memory_files(),
                    reason="this TensorFlow has no file system in memory")
def test_remote_directories():
  """By TensorFlow's own functions; test_input_files.py has all cases."""
  names = ["1.txt", "B/.hidden.txt", "B/2.txt", "B/C/3.txt", "B/C/x,y.txt"]
  tf.io.gfile.makedirs("ram://tree/B/C")
  for name in names:
    file_io.write("ram://tree/" + name, b"x")
  expected = ["ram://tree/" + name for name in names if ".h" not in name]
  assert input_files.expand("ram://tree") == expected
  assert input_files.expand("ram://tree/**") == expected
  assert input_files.expand("ram://tree/B/*.txt") == [expected[1]]
  assert input_files.expand("ram://tree/**/3.txt,ram://tree/B/C/x\\,y.txt") == (
      expected[2:])
  assert input_files.expand(expected[3]) == [expected[3]]


@pytest.mark.skipif(not has_memory_files(),
                    reason="this TensorFlow has no file system in memory")
def test_the_program_with_all_files_remote(files, tmp_path):
  paths = {name: "ram://in/" + os.path.basename(path)
           for name, path in files.items()}
  # The model is the checkpoint in that directory, with config and vocabulary.
  tf_checkpoints.write(
      tmp_path / "bert_model.ckpt",
      random_variables(config_of(num_hidden_layers=1)))
  arguments = command(dict(paths, out="ram://out"), num_workers=2, do_eval=True,
                      input_file="ram://in/tra*.txt",
                      init_checkpoint="ram://in", bert_config_file=None,
                      vocab_file=None)
  script = tmp_path / "script.py"
  script.write_text(textwrap.dedent(WHOLE_PROGRAM))
  run = forked_programs.run(
      [str(script), os.path.dirname(files["train"])] + arguments)
  assert run.returncode == 0, run.stdout
  assert "starting from the weights of ram://in/bert_model.ckpt" in run.stdout
  assert "newly initialized:" not in run.stdout
  assert "step 4/4" in run.stdout
  left = {line[5:] for line in run.stdout.splitlines()
          if line.startswith("left ")}
  assert {"model.ckpt-4.index", "eval_results.txt", "stream.json",
          "stream_windows.txt"} <= left
  assert not any(os.path.exists(os.path.join(ROOT, name)) for name in left)
