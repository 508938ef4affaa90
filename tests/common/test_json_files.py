"""json_files.py: tables survive a kill, records are whole or refused."""

import math
import os
from typing import List, NamedTuple

import pytest

from bert_e2e.common import file_io, json_files


class Record(NamedTuple):
  """A record with a default."""
  steps: int
  names: List[str]
  version: int = 3


@pytest.fixture(params=["", "file://"])
def folder(request, tmp_path):
  """Returns a directory as Python's `open` and as TensorFlow opens it."""
  return request.param + str(tmp_path)


# ---------------------------------------------------------------------- tables


def test_lines_that_are_no_object_are_skipped(tmp_path):
  path = tmp_path / "a.jsonl"
  assert json_files.read_lines(str(path)) == []
  path.write_bytes(b'{"a": 1}\n\n[1]\n{"b": "\xff"}\n{"c": NaN}\n{"d": 1, "e')
  first, second, third = json_files.read_lines(str(path))
  assert (first, second) == ({"a": 1}, {"b": "\ufffd"})
  assert math.isnan(third["c"])


def test_a_row_is_one_line_whatever_is_in_it(folder):
  path = folder + "/a.jsonl"
  rows = [{"b": "\u2028\x85\r\n", "a": [1.5, None]}, {}, {"\u00e9": True}]
  for row in rows:
    json_files.append_line(path, row)
  assert json_files.read_lines(path) == rows
  with file_io.open_binary(path) as stream:
    assert stream.read() == (
        b'{"a": [1.5, null], "b": "\\u2028\\u0085\\r\\n"}\n{}\n'
        b'{"\\u00e9": true}\n')


def test_a_row_after_an_incomplete_line_is_not_lost(folder):
  path = folder + "/a.jsonl"
  json_files.append_line(path, {"step": 1})
  json_files.append_line(path, {"step": 2})
  with file_io.open_binary(path) as stream:
    whole = stream.read()
  for kept in range(len(whole) + 1):
    file_io.write(path, whole[:kept])
    before = json_files.read_lines(path)
    json_files.append_line(path, {"step": 3})
    assert json_files.read_lines(path) == before + [{"step": 3}]
    with file_io.open_binary(path) as stream:
      assert b"\n\n" not in stream.read()


def test_a_table_is_replaced(folder):
  path = folder + "/a.jsonl"
  json_files.append_line(path, {"step": 1})
  json_files.write_lines(path, ({"step": step} for step in (5, 6)))
  assert json_files.read_lines(path) == [{"step": 5}, {"step": 6}]
  json_files.write_lines(path, [])
  assert json_files.read_lines(path) == [] and file_io.size(path) == 0


# --------------------------------------------------------------------- records


def test_a_record_is_read_as_it_was_written(folder):
  path = folder + "/a.json"
  assert json_files.read_record(path, Record, "Unused.") is None
  record = Record(7, ["one", "\u00e9"])
  assert not json_files.holds_record(path, record)
  json_files.write_record(path, record)
  assert json_files.read_record(path, Record, "Unused.") == record
  assert json_files.holds_record(path, record)
  assert not json_files.holds_record(path, record._replace(version=4))
  with file_io.open_binary(path) as stream:
    assert stream.read() == (
        b'{\n "steps": 7,\n "names": [\n  "one",\n  "\\u00e9"\n ],\n'
        b' "version": 3\n}')


@pytest.mark.parametrize("content", [
    b"", b'{"steps": 7', b"[7]", b"7", b'{"steps": 7}', b"\xff",
    b'{"steps": 7, "names": [], "other": 1}'])
def test_a_damaged_record_is_refused_by_name(tmp_path, content):
  path = tmp_path / "a.json"
  path.write_bytes(content)
  with pytest.raises(ValueError) as caught:
    json_files.read_record(str(path), Record, "Pass --steps.")
  said = str(caught.value)
  assert said.startswith("%s is damaged (" % path)
  assert said.endswith("). Pass --steps.")
  assert not json_files.holds_record(str(path), Record(7, []))


def test_a_record_is_replaced_atomically(tmp_path, monkeypatch):
  path = str(tmp_path / "a.json")
  json_files.write_record(path, Record(1, []))

  def fail(*unused):
    raise OSError("no")

  monkeypatch.setattr(file_io.os, "replace", fail)
  with pytest.raises(OSError):
    json_files.write_record(path, Record(2, []))
  assert json_files.read_record(path, Record, "Unused.") == Record(1, [])
  assert os.listdir(str(tmp_path)) == ["a.json"]


# --------------------------------------------------------------------- objects


def test_an_object_is_read(tmp_path):
  path = tmp_path / "a.json"
  path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
  assert json_files.read_object(str(path)) == {"a": 1}


@pytest.mark.parametrize("content, message", [
    (b"{", "a.json is not JSON: "), (b"\xff", "a.json is not JSON: "),
    (b"[1]", "a.json holds a JSON list where an object is expected."),
    (b'"a"', "a.json holds a JSON str where an object is expected."),
])
def test_what_is_no_object_is_refused(tmp_path, content, message):
  path = tmp_path / "a.json"
  path.write_bytes(content)
  with pytest.raises(ValueError) as caught:
    json_files.read_object(str(path))
  assert message in str(caught.value)


def test_an_object_that_is_missing_is_an_oserror(tmp_path):
  with pytest.raises(OSError):
    json_files.read_object(str(tmp_path / "a.json"))
