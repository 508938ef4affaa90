"""Descriptions of Debian packages, as apt stores them."""

import contextlib
import re
import subprocess
from typing import Any, Dict, NamedTuple

from gain import texts

_APT_HELPER = "/usr/lib/apt/apt-helper"
_ITEM = re.compile(r"\s+[-*+o•] ")


class Package(NamedTuple):
  """A binary package.

  Attributes:
    name, source, section: str.
    lines: tuple of str, the synopsis and sentences of its description.
  """
  name: str
  source: str
  section: str
  lines: Any


def stanzas(stream):
  """Yields the stanzas of a Debian control file.

  Args:
    stream: iterable of str, lines.

  Yields:
    dict from field name to value; continuation lines are unchanged, including
    their leading blank.
  """
  fields: Dict[str, str] = {}
  name = ""
  for line in stream:
    line = line.rstrip("\n")
    if not line.strip():
      if fields:
        yield fields
      fields = {}
    elif line.startswith((" ", "\t")):
      fields[name] = fields.get(name, "") + "\n" + line
    else:
      name, _, value = line.partition(":")
      fields[name] = value.strip()
  if fields:
    yield fields


def lines_of(description):
  """Returns the synopsis and the sentences of a package's description.

  Args:
    description: str, as in a stanza: a line " ." ends a paragraph.

  Returns:
    tuple of str; each list item is separate.
  """
  synopsis, _, body = description.partition("\n")
  paragraphs = [[synopsis]]
  for line in [" ."] + body.split("\n"):
    if line.strip() == "." or _ITEM.match(line):
      paragraphs.append([])
    if line.strip() != ".":
      paragraphs[-1].append(_ITEM.sub("", line, 1))
  found = []
  for paragraph in paragraphs:
    found.extend(texts.sentences(" ".join(paragraph)))
  return tuple(found)


@contextlib.contextmanager
def lines_in(path):
  """Opens a text file that may be compressed in a format known to apt."""
  if not path.endswith((".lz4", ".xz", ".gz", ".zst")):
    with open(path, encoding="utf-8") as stream:
      yield stream
    return
  with subprocess.Popen([_APT_HELPER, "cat-file", path],
                        stdout=subprocess.PIPE, encoding="utf-8") as program:
    yield program.stdout
  if program.returncode:
    raise ValueError("%s cannot be unpacked by %s." % (path, _APT_HELPER))


def read_packages(packages, descriptions):
  """Reads packages and their descriptions.

  Args:
    packages: list of str, apt's Packages files.
    descriptions: list of str, apt's Translation-en files.

  Returns:
    list of Package, sorted by name; those without a description are omitted.

  Raises:
    OSError, ValueError: a file cannot be read.
  """
  texts = {}
  for path in descriptions:
    with lines_in(path) as stream:
      for fields in stanzas(stream):
        texts[fields.get("Description-md5")] = fields.get("Description-en", "")
  found = {}
  for path in packages:
    with lines_in(path) as stream:
      for fields in stanzas(stream):
        text = texts.get(fields.get("Description-md5"))
        name = fields.get("Package")
        if text and name and name not in found:
          found[name] = Package(
              name, fields.get("Source", name).split(" ")[0],
              fields.get("Section", "").split("/")[-1], lines_of(text))
  return [found[name] for name in sorted(found)]


