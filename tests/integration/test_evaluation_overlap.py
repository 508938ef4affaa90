"""Text that is held out for evaluation is not trained on."""

import pytest
from program import command, prepared, run_program, text

from bert_e2e.data import text_lines


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
  assert "and the evaluation text share documents, which would" in said
  assert ": 1 in the sample" in said
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


@pytest.fixture
def probe(tmp_path):
  """Writes the files of a probe; returns their flags."""
  paths = {"probe_train_file": tmp_path / "train.tsv",
           "probe_eval_file": tmp_path / "eval.tsv"}
  for number, path in enumerate(paths.values()):
    path.write_text("".join("label%d\tw%d w1 w3 w2 w0 w9 w%d\n" % (
        i % 2, i, number) for i in range(8)))
  return {flag: str(path) for flag, path in paths.items()}


def lines_of(path):
  with open(path, encoding="utf-8") as stream:
    return stream.read().splitlines()


def test_a_text_of_the_probe(refused, files, probe, tmp_path, parse_flags):
  """In the sample: as a document, or, from six words on, as a line of one."""
  run = prepared(parse_flags(command(files, do_eval=True, **probe)))
  assert not run.training.preflight.held_out
  shared = lines_of(probe["probe_eval_file"])[3].split("\t")[1]
  train = tmp_path / "train_and_probe.txt"
  train.write_text(text(3) + text(1, 9).strip() + "\n  %s\t\n" % shared)
  said = refused(input_file=str(train), **probe)
  assert ", and the probe share documents or lines, which would inflate" in said
  assert ': 1 in the sample, e.g. "%s...' % shared in said
  run = prepared(parse_flags(command(
      files, do_eval=True, input_file=str(train), accept_eval_overlap=True,
      **probe)))
  assert run.training.preflight.held_out == (shared,)
  for flag, path in probe.items():
    assert "--%s and --input_file both name %s" % (flag, path) in refused(
        input_file=path, input_format="text", **probe)


def test_what_is_held_out_is_named():
  of_text = text_lines.HeldOut(
      frozenset({b"a"}), names=("the evaluation text",))
  both = text_lines.NOTHING_HELD_OUT
  for held_out in (of_text, of_text, text_lines.HeldOut(
      lines=frozenset({b"b"}), names=("the probe",))):
    both = both.union(held_out)
  assert (of_text.name, of_text.units) == ("the evaluation text", "documents")
  assert (both.name, both.units) == (
      "the evaluation text or the probe", "documents or lines")
  assert text_lines.HeldOut().name == "the held-out text"


@pytest.mark.parametrize("sentence, is_found", [
    ("w1 w2 w3 w4 w5", False), ("w1, w2: w3 - w4 w5.", False),
    ("w1 w2 w3 w4 w5 w6", True), ("今天天气很好", True), ("今天天气好", False)])
def test_short_sentences_are_no_overlap(sentence, is_found):
  """Unless they are a document."""
  held_out = text_lines.hold_out_sentences([sentence])
  lines = "w1\n%s\nw2\n" % sentence
  assert [words for _, words in held_out.find(lines)] == [sentence] * is_found
  assert [words for _, words in held_out.find("w1\n\n%s \n\nw2" % sentence)
          ][:1] == [sentence]


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_later_ones_are_counted(files, tmp_path, num_workers):
  path = tmp_path / "shared.txt"
  path.write_text(text(5, 200) + text(2, 30))
  shared = "w1 w2 w3 w4 w5 w6"  # A line of the probe.
  with open(files["train"], "a") as stream:
    stream.write("%s\nw1\n" % shared)
  for name in ("train.tsv", "eval.tsv"):
    (tmp_path / name).write_text("a\tw1\nb\t%s\n" % shared)
  run = run_program(command(
      files, do_eval=True, eval_input_file=str(path), num_train_steps=20,
      max_eval_steps=1, num_workers=num_workers, accept_eval_overlap=True,
      probe_train_file=str(tmp_path / "train.tsv"),
      probe_eval_file=str(tmp_path / "eval.tsv")))
  assert run.returncode == 0, run.stdout
  assert run.stdout.count(
      "the evaluation text or the probe and the training text share documents "
      "or lines, which inflates") == 1
  assert ("WARNING: 3 documents or lines of the evaluation text or the probe "
          "occur in the training text") in run.stdout


def test_what_is_not_needed_is_asked_for(refused, files):
  assert "--eval_input_file" in refused(eval_every_steps=5)
  assert "--keep_best requires" in refused(keep_best=True)
  assert "--early_stopping_patience requires" in refused(
      early_stopping_patience=2)
