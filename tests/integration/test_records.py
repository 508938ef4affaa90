"""JSON lines and tables in a training: evaluations, errors.

A training on a table is killed in test_masks.py, one on JSON lines in
test_chinese_masks.py.
"""

import csv
import json
import os

import pytest
from program import (
  LENGTHS,
  command,
  prepared,
  run_program,
  text,
)

import run_pretraining_e2e as e2e

BOTH = pytest.mark.parametrize("name", ["train.jsonl", "train.csv"])


def write_records(files, name, content=None, field="body"):
  """Writes the documents of a text as records beside the other files.

  Args:
    files: dict of paths.
    name: str, with the extension of the format.
    content: str, the text; None for that of the training.
    field: str, of the text.

  Returns:
    str, the path.
  """
  documents = (content or text(60)).strip().split("\n\n")
  path = os.path.join(os.path.dirname(files["train"]), name)
  with open(path, "w", newline="") as stream:
    if name.endswith(".csv"):
      writer = csv.writer(stream)
      writer.writerow(["id", field])
      writer.writerows(enumerate(documents))
    else:
      for number, document in enumerate(documents):
        stream.write(json.dumps({"id": number, field: document}) + "\n")
  return path


@BOTH
def test_evaluations_read_records_too(files, parse_flags, name):
  path = write_records(files, "eval" + name, text(9, 100))
  run = prepared(parse_flags(command(
      files, do_eval=True, eval_input_file=path, text_field="body",
      general_eval_input_file=path, input_file=write_records(files, name))))
  for source in (run.training.source, *run.eval_sources.values()):
    assert [file.format.name for file in source.text.corpus.texts] == [
        name.split(".")[1]]
    assert source.count_examples() > 9
  assert run.training.preflight.documents == 60
  assert run.training.stream_record.options["input_formats"] == (
      name.split(".")[1])
  assert run.training.stream_record.options["text_field"] == "body"
  # What is trained on and evaluated is compared in any format.
  same = write_records(files, "same" + name, field="text")
  with pytest.raises(ValueError, match="share documents.*: 60 in the sample"):
    prepared(parse_flags(command(files, do_eval=True, eval_input_file=same)))


@BOTH
def test_what_is_wrong_with_a_record_is_one_sentence(files, name):
  path = write_records(files, name)
  run = run_program(command(files, input_file=path))
  assert run.returncode == 1 and "Traceback" not in run.stdout
  assert name in run.stdout and "--text_field" in run.stdout


@pytest.mark.slow
def test_a_run_on_json_lines_as_text_is_not_resumed_as_records(
    files, parse_flags):
  """As an earlier version has read them."""
  path = write_records(files, "train.jsonl")
  arguments = dict(input_file=path, num_train_steps=1)
  run = run_program(command(files, input_format="text", **arguments))
  assert run.returncode == 0, run.stdout
  assert "pass --input_format=jsonl and the name of the field" in run.stdout
  with pytest.raises(ValueError, match="pass --input_format=text to read it as "
                     "before.*or pass --accept_new_stream"):
    prepared(parse_flags(command(files, text_field="body", **arguments)))
  prepared(parse_flags(command(files, input_format="text", **arguments)))


@BOTH
def test_invalid_records_need_not_end_a_run(files, parse_flags, name):
  path = write_records(files, name)
  with open(path, "a") as stream:
    stream.write("[]\n")
  arguments = dict(input_file=path, text_field="body")
  with pytest.raises(
      ValueError, match="%s, line .*invalid_records=skip" % name):
    prepared(parse_flags(command(files, **arguments)))
  run = prepared(parse_flags(command(
      files, invalid_records="skip", **arguments)))
  assert 0 < run.training.preflight.skipped_record_share < 0.05
  assert run.training.stream_record == prepared(parse_flags(command(
      files, invalid_records="skip", **arguments))).training.stream_record
  flow = e2e.take_write_2_flow(
      path, files["vocab"], num_epochs=1, text_field="body",
      invalid_records="skip", **LENGTHS)
  assert len(list(flow)) == run.training.source.count_examples()
