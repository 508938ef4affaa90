"""What a run writes is not taken as its input, at no start."""

import os
import shutil

import pytest
from program import command, prepared

from bert_e2e import output_files


@pytest.fixture
def with_text(trained):
  """A run of three steps whose text is in its output directory."""
  path = os.path.join(trained["out"], "text.txt")
  shutil.copy(trained["train"], path)
  return dict(trained, text=path)


@pytest.mark.parametrize("pattern", ["", "/*", "/**"])
def test_a_resumed_run_reads_the_same_files(with_text, parse_flags, pattern):
  run = prepared(parse_flags(command(
      with_text, input_file=with_text["out"] + pattern, do_eval=True)))
  assert run.training.source.files == [with_text["text"]]
  for source in run.eval_sources.values():
    assert source.files == [with_text["text"]]
  assert run.latest.endswith("model.ckpt-3")


def test_without_text_it_is_refused_at_the_first_start(trained, parse_flags):
  with pytest.raises(ValueError, match="written by a run.*--output_dir"):
    prepared(parse_flags(command(
        trained, input_file=trained["out"] + "/*")))


def test_each_file_of_a_run_is_known(trained):
  out = trained["out"]
  found = [os.path.join(where, name)
           for where, _, names in os.walk(out) for name in names]
  assert len(found) > 8
  for path in found:
    assert output_files.is_output(path, out), path
    # In another directory, the name says nothing.
    assert not output_files.is_output(path, out + "2")


def test_exports_are_no_input(tmp_path):
  out, export = str(tmp_path / "out"), str(tmp_path / "result" / "hf")
  assert output_files.is_output(export + "/vocab.txt", out, [export])
  assert not output_files.is_output(export + "2/vocab.txt", out, [export])
  assert not output_files.is_output("gs://result/hf/vocab.txt", out, [export])
  assert output_files.is_output(
      "gs://b/out/train.log", "gs://b/out") and not output_files.is_output(
          "gs://b/out/corpus.txt", "gs://b/out/")
