"""Converts the HTML documentation in Debian packages to a corpus.

    apt-get download postgresql-doc-15 python3.11-doc linux-doc-6.1 \
        debian-handbook debian-reference-zh-cn installation-guide-amd64
    python benchmarks/text_of_packages.py --output=english.txt \
        --skip_pages='*translations*' postgresql*.deb python*.deb linux*.deb
    python benchmarks/text_of_packages.py --output=chinese.txt \
        --pages='*zh[-_][Cc][Nn]*' --sentences='[一-鿿]' \
        --max_bytes=2000000 debian*.deb installation*.deb linux*.deb

Each page becomes a document, with one sentence per line: a reproducible corpus
of real text. `dpkg-deb` unpacks the packages; nothing is installed.
"""

import argparse
import fnmatch
import gzip
import html.parser
import os
import re
import subprocess
import sys
import tempfile

_BLOCKS = frozenset(
    "p div li dt dd h1 h2 h3 h4 h5 h6 td th pre br tr title".split())
_SKIPPED = frozenset(["script", "style", "head", "nav"])
# Not after the number of a heading or a list item.
_SENTENCE_END = re.compile(
    r"(?<=[^\d\s][.!?]) +(?=[A-Z\"(])|(?<=[。！？])")


class _Text(html.parser.HTMLParser):
  """Extracts the paragraphs of a page.

  Attributes:
    paragraphs: list of str, the text of each block.
  """

  def __init__(self):
    super().__init__()
    self.paragraphs = [""]
    self._skipped = 0

  def handle_starttag(self, tag, attrs):
    self._skipped += tag in _SKIPPED
    if tag in _BLOCKS:
      self.paragraphs.append("")

  def handle_endtag(self, tag):
    self._skipped -= tag in _SKIPPED and self._skipped > 0
    if tag in _BLOCKS:
      self.paragraphs.append("")

  def handle_data(self, data):
    if not self._skipped:
      self.paragraphs[-1] += data


def sentences(page, pattern):
  """Returns the sentences of an HTML page that contain a pattern."""
  parser = _Text()
  parser.feed(page)
  found = []
  for paragraph in parser.paragraphs:
    text = " ".join(paragraph.split())
    found.extend(s.strip() for s in _SENTENCE_END.split(text)
                 if s.strip() and pattern.search(s))
  return found


def pages(directory, pattern, skipped):
  """Yields the HTML pages of a directory, sorted by path.

  Args:
    directory: str.
    pattern: str, glob that the path of a page must match.
    skipped: str, glob that it must not match.

  Yields:
    str.
  """
  paths = sorted(
      os.path.join(parent, name) for parent, _, names in os.walk(directory)
      for name in names if name.endswith((".html", ".html.gz")))
  for path in paths:
    if (fnmatch.fnmatch(path, pattern) and not fnmatch.fnmatch(path, skipped)
        and not os.path.islink(path)):
      with open(path, "rb") as stream:
        data = stream.read()
      if path.endswith(".gz"):
        data = gzip.decompress(data)
      yield data.decode("utf-8", "replace")


def documents(options):
  """Yields the documents of all packages, in the output format, as bytes."""
  pattern = re.compile(options.sentences)
  for package in options.packages:
    with tempfile.TemporaryDirectory() as directory:
      if subprocess.call(["dpkg-deb", "-x", package, directory]):
        sys.exit("%s cannot be unpacked." % package)
      for page in pages(directory, options.pages, options.skip_pages):
        found = sentences(page, pattern)
        if found:
          yield ("\n".join(found) + "\n\n").encode("utf-8")


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("packages", nargs="+", help=".deb files")
  parser.add_argument("--output", required=True)
  parser.add_argument(
      "--pages", default="*", help="glob of the pages' paths")
  parser.add_argument(
      "--skip_pages", default="", help="glob of paths to exclude")
  parser.add_argument(
      "--sentences", default="",
      help="regular expression that a sentence must contain")
  parser.add_argument("--max_bytes", type=int, default=50000000)
  options = parser.parse_args()
  with open(options.output, "wb") as output:
    for document in documents(options):
      output.write(document)
      if output.tell() >= options.max_bytes:
        break
  print("%s: %d bytes" % (options.output, os.path.getsize(options.output)))


if __name__ == "__main__":
  main()
