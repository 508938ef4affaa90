"""Supported versions, and what reaches the terminal."""

import logging

import pytest
import tensorflow.compat.v1 as tf

from bert_e2e.common import logs, supported_versions, tensorflow_setup


@pytest.mark.parametrize("version", [
    "1.15.0", "1.15.5+nv22.12", "2.12.0", "2.13.1", "2.15.1", "2.15.0-rc1"])
def test_supported_versions(version):
  tensorflow_setup.check_version(version)
  # The rule of the setup, which runs before TensorFlow is installed.
  assert supported_versions.is_supported_tensorflow(version)


@pytest.mark.parametrize("version", [
    "1.14.0", "1.4.0", "2.1.0", "2.11.0", "2.16.1", "2.20.0", "3.0", "x"])
def test_other_versions_are_refused_by_name(version):
  assert not supported_versions.is_supported_tensorflow(version)
  with pytest.raises(ImportError, match=version.split("+")[0]) as caught:
    tensorflow_setup.check_version(version)
  assert "1.15" in str(caught.value) and "2.12 to 2.15" in str(caught.value)


@pytest.fixture
def clean_logging():
  """Puts the handlers back that console.py takes away."""
  loggers = [logging.getLogger(n) for n in (None, "tensorflow", "absl")]
  before = [(x, list(x.handlers), x.level, x.propagate) for x in loggers]
  yield
  for x, handlers, level, propagate in before:
    x.handlers[:] = handlers
    x.setLevel(level)
    x.propagate = propagate
  logging.captureWarnings(False)


def test_terminal_and_log_file(clean_logging, tmp_path, capsys):
  """Ours go to both, TensorFlow's to the file alone; the file is appended."""
  (tmp_path / logs.LOG_FILE).write_text("from an earlier run\n")
  logs.log_to_terminal()
  logging.getLogger("checks").info("before there is a file")
  logs.log_to_file(str(tmp_path))
  logging.getLogger("corpus").info("progress of ours")
  logging.getLogger("corpus").warning("a warning of ours")
  tf.logging.info("detail of TensorFlow")
  tf.logging.warning("a deprecation of TensorFlow")
  terminal = capsys.readouterr().err
  assert terminal == ("before there is a file\nprogress of ours\n"
                      "WARNING: a warning of ours\n")
  log = (tmp_path / logs.LOG_FILE).read_text()
  assert log.startswith("from an earlier run\n")
  for message in ("before there is a file", "progress of ours",
                  "a warning of ours", "detail of TensorFlow",
                  "a deprecation of TensorFlow"):
    assert log.count(message) == 1
