"""The files that an input flag names: lists, patterns, directories."""

import os
import re

from bert_e2e.common import file_io
from bert_e2e.common.messages import list_names

# A comma that separates names, and one that is part of a name.
_SEPARATOR = re.compile(r"(?<!\\),")
_COMMA_IN_NAME = "\\,"


def split_list(names):
  r"""Splits a list of names that are separated by commas.

  Args:
    names: str. A comma that is part of a name is written "\,".

  Returns:
    list of str, without the whitespace around them.

  >>> split_list(r"a.txt, b\,c.txt")
  ['a.txt', 'b,c.txt']
  """
  return [name.replace(_COMMA_IN_NAME, ",").strip()
          for name in _SEPARATOR.split(names)]


def expand(patterns, is_skipped=None):
  """Expands a list of files, patterns and directories into files.

  Args:
    patterns: str, as in `--input_file=a.txt,more/*.txt`, or a list of such
      without separators. See `split_list` for commas in names, and
      file_io.matches for patterns and directories; a str that is the path of a
      file as a whole is not split. `~` is the home directory.
    is_skipped: function that tells whether to leave out a path that a pattern
      or a directory includes; None takes all. A file that is named itself is
      always taken.

  Returns:
    list of str: the matches of each pattern, sorted, the patterns in their
    order; a file as often as it is named.

  Raises:
    ValueError: a pattern matches no file, or there is no pattern; a pipe is
      named.

  Source: the loop over FLAGS.input_file in both of google-research/bert's
    programs. Changed: there, matches are sorted only if the file system sorts
    them, a pattern without a match is ignored, and directories are read as
    files.
  """
  files = []
  for pattern in _as_list(patterns):
    if not pattern:
      raise ValueError(
          "No input file is named between the commas of \"%s\"." % (
              patterns if isinstance(patterns, str) else ",".join(patterns)))
    pattern = file_io.expand_user(pattern)
    files += _matches(pattern, is_skipped)
  if not files:
    raise ValueError("No input file is named.")
  return files


def _as_list(patterns):
  """Returns a list of patterns from a list or a str of them."""
  if not isinstance(patterns, str):
    return [pattern.strip() for pattern in patterns]
  whole = patterns.strip()
  _, comma, rest = whole.partition(",")
  is_list = not comma or "://" in rest
  if not is_list and file_io.exists(file_io.expand_user(whole)):
    return [whole]
  return split_list(patterns)


def _matches(pattern, is_skipped):
  """Returns the files of one pattern; see `expand`."""
  found = file_io.matches(pattern)
  if found == [pattern]:
    _check_regular(pattern)
    return found
  kept = [path for path in found if not (is_skipped and is_skipped(path))]
  if kept:
    return kept
  if found:
    raise ValueError(
        "All files that %s includes were written by a run: %s. Name the text, "
        "or pass another --output_dir." % (pattern, list_names(found, 3)))
  if file_io.exists(pattern):
    raise ValueError("The directory %s contains no file." % pattern)
  raise ValueError(
      "No input file matches %s (the current directory is %s). Check the path; "
      "a pattern may contain *, ?, [...] and ** (any number of directories), "
      "and commas separate several (\"\\,\" is a comma in a name)." %
      (pattern, os.getcwd()))


def _check_regular(path):
  """Raises ValueError for what can't be read once for each epoch."""
  if file_io.is_local(path) and not os.path.isfile(path):
    raise ValueError(
        "%s is not a regular file; a stream can't be read twice. Write it to a "
        "file first." % path)
