"""Makes a corpus of the HTML documentation in Debian packages.

    apt-get download postgresql-doc-15 python3.11-doc linux-doc-6.1 \
        debian-handbook debian-reference-zh-cn installation-guide-amd64
    python benchmarks/text_of_packages.py --output=english.txt \
        --skip_pages='*translations*' postgresql*.deb python*.deb linux*.deb
    python benchmarks/text_of_packages.py --output=chinese.txt \
        --pages='*zh[-_][Cc][Nn]*' --sentences='[一-鿿]' \
        --max_bytes=2000000 debian*.deb installation*.deb linux*.deb

A page becomes a document, a sentence a line: a corpus of real text that anybody
can make again. The packages are unpacked by `dpkg-deb`; nothing is installed.
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
# Not behind the number of a heading or an item.
_SENTENCE_END = re.compile(
    r"(?<=[^\d\s][.!?]) +(?=[A-Z\"(])|(?<=[。！？])")


class _Text(html.parser.HTMLParser):
  """Collects the paragraphs of a page.

  Attributes:
    paragraphs: list of str, a block's text each.
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
  """Returns the sentences of an HTML page in which a pattern is found."""
  parser = _Text()
  parser.feed(page)
  found = []
  for paragraph in parser.paragraphs:
    text = " ".join(paragraph.split())
    found.extend(s.strip() for s in _SENTENCE_END.split(text)
                 if s.strip() and pattern.search(s))
  return found


def pages(folder, pattern, skipped):
  """Yields the HTML pages of a folder, in the order of their paths.

  Args:
    folder: path.
    pattern, skipped: what a page's path matches, and what it does not.

  Yields:
    str.
  """
  paths = sorted(
      os.path.join(where, name) for where, _, names in os.walk(folder)
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
  """Yields the documents of all packages, as they are written, in bytes."""
  pattern = re.compile(options.sentences)
  for package in options.packages:
    with tempfile.TemporaryDirectory() as folder:
      if subprocess.call(["dpkg-deb", "-x", package, folder]):
        sys.exit("%s can't be unpacked." % package)
      for page in pages(folder, options.pages, options.skip_pages):
        found = sentences(page, pattern)
        if found:
          yield ("\n".join(found) + "\n\n").encode("utf-8")


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("packages", nargs="+", help=".deb files")
  parser.add_argument("--output", required=True)
  parser.add_argument(
      "--pages", default="*", help="pattern of the pages' paths")
  parser.add_argument(
      "--skip_pages", default="", help="pattern of paths to leave out")
  parser.add_argument(
      "--sentences", default="", help="regular expression of those to keep")
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
