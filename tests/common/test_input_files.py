"""Which files an input flag names, on local and on other file systems."""

import contextlib
import fnmatch
import logging
import os

import pytest

from bert_e2e.common import file_io, input_files

BUCKET = "standin://bucket"


class StandIn:
  """What TensorFlow's file module does for directories, without TensorFlow."""

  def __init__(self, root):
    self._root = root

  def _local(self, path):
    assert path.startswith(BUCKET)
    return self._root + path[len(BUCKET):]

  def exists(self, path):
    return os.path.exists(self._local(path))

  def isdir(self, path):
    return os.path.isdir(self._local(path))

  def glob(self, pattern):
    """As there, `*` matches hidden names as well."""
    directory, _, name = pattern.rpartition("/")
    return [path for path in (
        "%s/%s" % (directory, found) for found in
        os.listdir(self._local(directory)))
            if fnmatch.fnmatchcase(path, pattern)]

  def walk(self, top):
    for where, directories, names in os.walk(self._local(top)):
      yield (BUCKET + where[len(self._root):] + "/",
             [name + "/" for name in directories], ["", *names])


@pytest.fixture(params=["local", "remote"])
def expand(request, tmp_path, monkeypatch):
  """Returns a function that expands patterns below a directory; what it
  returns is relative to the directory, too."""
  start = str(tmp_path) + os.sep
  if request.param == "remote":
    start = BUCKET + "/"
    stand_in = StandIn(str(tmp_path))
    monkeypatch.setattr(
        file_io, "_gfile", lambda path: contextlib.nullcontext(stand_in))

  def expand(*patterns, **options):
    found = input_files.expand(
        ",".join(start + pattern for pattern in patterns), **options)
    assert all(path.startswith(start) for path in found)
    return [path[len(start):] for path in found]

  return expand


@pytest.fixture
def write(tmp_path):
  """Returns a function that creates files."""

  def write(*names):
    for name in names:
      path = tmp_path / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text("x\n")

  return write


TREE = ["in/B/2.txt", "in/B/1.txt", "in/A/deep/er/3.txt", "in/A/4.md",
        "in/.hidden/5.txt", "in/A/.6.txt", "in/.7.txt"]


def test_each_patterns_matches_sorted(write, expand):
  write("b2.txt", "b1.txt", "a.txt", "c.md")
  expected = ["c.md", "a.txt", "b1.txt", "b2.txt", "a.txt"]
  assert expand("c.md", "*.txt", "a.txt") == expected
  with pytest.raises(ValueError, match="No input file matches"):
    expand("c.md", "*.html")


@pytest.mark.parametrize("pattern", ["in", "in/", "in/**", "in/*"])
def test_a_directory_stands_for_all_files_in_it(write, expand, pattern):
  write(*TREE)
  # The last pattern matches only directories.
  found = [os.path.normpath(path) for path in expand(pattern)]
  assert found == ["in/A/4.md", "in/A/deep/er/3.txt", "in/B/1.txt",
                   "in/B/2.txt"]


def test_any_number_of_directories(write, expand):
  write(*TREE, "in/8.txt")
  assert expand("in/**/*.txt") == [
      "in/8.txt", "in/A/deep/er/3.txt", "in/B/1.txt", "in/B/2.txt"]
  assert expand("in/A/**/er/*") == ["in/A/deep/er/3.txt"]
  assert expand("in/**/.7.txt") == ["in/.7.txt"]


def test_directories_beside_files_are_left_out_with_a_warning(
    write, expand, caplog):
  write(*TREE, "in/8.txt")
  with caplog.at_level(logging.WARNING):
    assert expand("in/*") == ["in/8.txt"]
  said, = caplog.messages
  assert "in/A" in said and "in/B" in said and "in/**/* " in said


def test_symbolic_links_to_directories(write, tmp_path, caplog):
  """Each directory is read once, by the path without links if there is one."""
  write("in/A/1.txt", "in/B/2.txt", "elsewhere/C/3.txt", "in/.hidden/4.txt")
  start = str(tmp_path) + os.sep
  for link, target in (
      ("in/A/up", ".."), ("in/B/self", "."), ("in/AA", "B"),
      ("in/link", "../elsewhere"), ("elsewhere/back", "../in"),
      ("in/shown", ".hidden"), ("in/none", "missing"), ("in/loop", "loop")):
    os.symlink(target, start + link)

  def expand(pattern):
    return [path[len(start):] for path in input_files.expand(start + pattern)]

  expected = ["in/A/1.txt", "in/B/2.txt", "in/link/C/3.txt", "in/shown/4.txt"]
  for pattern in ("in", "in/**", "in/**/*.txt", "in/**/**/*", "in/*"):
    assert expand(pattern) == expected
  # A pattern may name a link.
  assert expand("in/**/AA/*") == ["in/AA/2.txt"]
  assert "in/link/C/3.txt" in expand("in/**/link/**/?.txt")
  assert expand("in/AA/**") == ["in/AA/2.txt"]
  assert not caplog.records


def test_patterns_in_the_current_directory(write, tmp_path, monkeypatch):
  write("a.txt", "b/c.txt")
  monkeypatch.chdir(tmp_path)
  assert input_files.expand("**/*.txt") == ["a.txt", "b/c.txt"]
  assert input_files.expand("**") == ["a.txt", "b/c.txt"]


def test_a_directory_that_cannot_be_read(write, tmp_path, monkeypatch, caplog):
  write("in/a.txt", "in/secret/b.txt")
  list_all = os.listdir

  def list_some(path):
    if path.endswith("secret"):
      raise PermissionError(13, "Permission denied", path)
    return list_all(path)

  monkeypatch.setattr(os, "listdir", list_some)
  for pattern in ("in", "in/**", "in/**/*.txt", "in/**/**/*"):
    caplog.clear()
    assert input_files.expand(str(tmp_path / pattern)) == [
        str(tmp_path / "in" / "a.txt")]
    assert caplog.messages == ["%s is left out: Permission denied" % (
        tmp_path / "in" / "secret")]


@pytest.mark.parametrize("pattern", [
    "missing", "missing/*", "missing/**", "missing/**/*.txt"])
def test_a_directory_that_does_not_exist(tmp_path, caplog, pattern):
  path = str(tmp_path / pattern)
  with pytest.raises(ValueError) as caught:
    input_files.expand(path)
  assert "No input file matches %s " % path in str(caught.value)
  assert not caplog.records


def test_an_empty_directory(write, expand, tmp_path):
  (tmp_path / "in" / "A").mkdir(parents=True)
  write("in/.hidden")
  with pytest.raises(ValueError, match=r"in contains no file"):
    expand("in")
  with pytest.raises(ValueError, match="No input file matches"):
    expand("in/*")


def test_names_with_commas(write, expand):
  write("a, b.txt", "c.txt", "d,e/1.txt", "d,e/2.txt")
  # A path as a whole; escaped ones; a pattern.
  assert expand("a, b.txt") == ["a, b.txt"]
  assert expand(r"a\, b.txt", "c.txt") == ["a, b.txt", "c.txt"]
  assert expand("c.txt", r"d\,e/*.txt") == ["c.txt", "d,e/1.txt", "d,e/2.txt"]
  assert expand("d,e") == ["d,e/1.txt", "d,e/2.txt"]
  with pytest.raises(ValueError, match=r'"\\," is a comma in a name'):
    expand("a, b.md")


def test_a_list_is_not_split(write, tmp_path):
  write("a,b.txt")
  path = str(tmp_path / "a,b.txt")
  assert input_files.expand([path, path]) == [path, path]


def test_a_name_that_looks_like_a_pattern(write, expand):
  write("a[1].txt", "a1.txt", "b*/c.txt")
  assert expand("a[1].txt") == ["a[1].txt"]
  assert expand("b*") == ["b*/c.txt"]


def test_some_matches_are_skipped(write, expand):
  write("in/a.txt", "in/log.txt", "in/sub/log.txt")

  def is_skipped(path):
    return path.endswith("log.txt")

  for pattern in ("in", "in/**", "in/*.txt"):
    assert expand(pattern, is_skipped=is_skipped) == ["in/a.txt"]
  # One that is named itself is taken.
  assert expand("in/log.txt", is_skipped=is_skipped) == ["in/log.txt"]
  with pytest.raises(ValueError, match="written by a run: .*log.txt.*--output"):
    expand("in/l*", is_skipped=is_skipped)


@pytest.mark.parametrize("patterns", [
    "", ",", "no-such-file-*.txt", "tests,", []])
def test_no_match_is_an_error(patterns):
  with pytest.raises(ValueError, match="No input file"):
    input_files.expand(patterns)


def test_pipes_are_no_files(write, expand, tmp_path):
  write("sub/a.txt")
  os.mkfifo(str(tmp_path / "sub" / "pipe"))
  with pytest.raises(ValueError, match="pipe is not a regular file"):
    input_files.expand(str(tmp_path / "sub" / "pipe"))
  assert input_files.expand(str(tmp_path / "*" / "*")) == [
      str(tmp_path / "sub" / "a.txt")]


def test_where_files_can_be_written(write, tmp_path, monkeypatch):
  write("a.txt")
  for path in (".", str(tmp_path), str(tmp_path / "new" / "below"), "gs://b/c"):
    file_io.check_can_write_to(path)
  for path in ("a.txt", "a.txt/b/c"):
    with pytest.raises(NotADirectoryError, match="a.txt"):
      file_io.check_can_write_to(str(tmp_path / path))
  monkeypatch.setattr(file_io.os, "access", lambda path, mode: False)
  with pytest.raises(PermissionError, match=str(tmp_path)):
    file_io.check_can_write_to(str(tmp_path / "new" / "below"))
  assert sorted(os.listdir(str(tmp_path))) == ["a.txt"]


def test_home_directories(write, tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  write("a.txt", "b/c.txt")
  assert file_io.expand_user("~") == str(tmp_path)
  assert file_io.expand_user("~/a.txt") == str(tmp_path / "a.txt")
  assert input_files.expand("~/a.txt,~/b/*") == [
      str(tmp_path / "a.txt"), str(tmp_path / "b" / "c.txt")]
  for path in ("", "a/~", "./~", "gs://~/a"):
    assert file_io.expand_user(path) == path
  assert file_io.expand_user("~root/x") == os.path.expanduser("~root/x")
  with pytest.raises(ValueError, match=r"~nobody-here has .* \./~nobody-here/"):
    file_io.expand_user("~nobody-here/out")
  monkeypatch.chdir(tmp_path)
  write("~nobody-here/a.txt")
  assert file_io.expand_user("~nobody-here/a.txt") == "~nobody-here/a.txt"
