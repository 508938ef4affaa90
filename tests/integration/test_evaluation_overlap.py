"""Text that is held out for evaluation is not trained on."""

import re

import pytest
from program import command, prepared, run_program, text


@pytest.fixture
def refused(files, parse_flags):

  def refused(**changes):
    with pytest.raises(ValueError) as caught:
      prepared(parse_flags(command(files, do_eval=True, **changes)))
    assert "\n" not in str(caught.value)
    return str(caught.value)

  return refused


def test_the_same_file(refused, files, tmp_path):
  (tmp_path / "link.txt").symlink_to(files["train"])
  for path in (files["train"], str(tmp_path / "link.txt")):
    assert "--eval_input_file and --input_file both name %s" % path in (
        refused(eval_input_file=path))
  assert "--general_eval_input_file and" in refused(
      eval_input_file=files["eval"], general_eval_input_file=files["train"])


def test_a_shared_document(refused, files, tmp_path, parse_flags):
  """Whatever its whitespace."""
  one = text(1, 30).strip().replace("\n", "  \r\n")
  path = tmp_path / "shared.txt"
  path.write_text(text(5, 200) + "\n \n" + one)
  said = refused(eval_input_file=str(path))
  assert "share documents" in said and ": 1 in the sample" in said
  assert '"w10 w11 w12 w13 w14 ' in said
  assert "share documents" in refused(
      eval_input_file=files["eval"], general_eval_input_file=str(path))
  run = prepared(parse_flags(command(
      files, do_eval=True, eval_input_file=str(path),
      accept_eval_overlap=True)))
  assert len(run.training.preflight.held_out) == 1


def test_a_part_of_a_document_is_none(files, tmp_path, parse_flags):
  path = tmp_path / "part.txt"
  path.write_text("\n".join(text(1, 30).splitlines()[:3]) + "\n")
  run = prepared(parse_flags(command(
      files, do_eval=True, eval_input_file=str(path))))
  assert not run.training.preflight.held_out


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_later_ones_are_counted(files, tmp_path, num_workers):
  path = tmp_path / "shared.txt"
  path.write_text(text(5, 200) + text(3, 30))
  run = run_program(command(
      files, do_eval=True, eval_input_file=str(path), num_train_steps=20,
      num_workers=num_workers, accept_eval_overlap=True))
  assert run.returncode == 0, run.stdout
  assert run.stdout.count(
      "the training text contains a document of the evaluation text") == 1
  assert re.search("WARNING: 3 documents of the evaluation text occur",
                   run.stdout)


def test_what_is_not_needed_is_asked_for(refused, files):
  assert "--eval_input_file" in refused(eval_every_steps=5)
  assert "--keep_best requires" in refused(keep_best=True)
  assert "--early_stopping_patience requires" in refused(
      early_stopping_patience=2)
