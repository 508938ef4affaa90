"""Converts the Python language reference to a corpus for the demo.

    python -m demo.prepare_corpus --output_dir=demo/corpus

Every CPython contains the text of its language reference in `pydoc_data.topics`
(which `help("lambda")` prints), so no download is needed. The text differs
slightly between Python versions. The output files train.txt and held_out.txt
have one sentence per line and a blank line between documents, the format that
BERT's data creation reads. A document is a section of a topic.
"""

import argparse
import os
import re
from pydoc_data import topics

# Every tenth document is held out.
HELD_OUT_EVERY = 10

_UNDERLINE = re.compile(r"([*=~^-])\1{2,}$")
_TABLE_BORDER = re.compile(r"[+|][-=+| ]*[+|]$")
_PLAIN_WORD = re.compile(r"[\"“(*]*[A-Za-z][a-z’-]*[)\"”*]*[.,:;!?]?[)\"”]*$")
_SENTENCE_END = re.compile(r"(?<!e\.g)(?<!i\.e)([.!?][\"”)]*) +"
                           r"(?=[\"“(\[*]?[A-Z])")


def blocks(text):
  """Splits text into paragraphs, titles, tables and pieces of code.

  Args:
    text: str, a topic.

  Returns:
    list of lists of str: the lines between blank lines.
  """
  return [block.split("\n") for block in re.split(r"\n\s*\n", text.strip("\n"))
          if block.strip()]


def is_title(block):
  """Returns True if a block is a single underlined line of text."""
  return len(block) == 2 and bool(_UNDERLINE.match(block[1].strip()))


def table_rows(block):
  """Yields one line of text per row of a table drawn with + - | and =.

  >>> list(table_rows(["+----+----+", "| a  | is |", "|    | b  |",
  ...                  "+----+----+"]))
  ['a is b']
  """
  row = []
  for line in (line.strip() for line in block):
    if _TABLE_BORDER.match(line):
      if row:
        yield " ".join(" ".join(cell).strip() for cell in zip(*row))
      row = []
    else:
      row.append([cell.strip() for cell in line.strip("|").split("|")])


def is_prose(text):
  """Returns True for prose, False for code, grammar and signatures.

  Most words of prose are plain.

  >>> [is_prose(t) for t in ("Some *text* here.", "x = f(a) + 1")]
  [True, False]
  """
  words = text.split()
  plain = sum(1 for word in words if _PLAIN_WORD.match(word))
  return ">>>" not in text and "::=" not in text and plain >= 0.6 * len(words)


def clean(prose):
  """Removes reStructuredText markup from a paragraph.

  That is the quotes around code, the asterisks around emphasis, the numbers of
  footnotes, and list markers.

  >>> clean('1. The "len()" of a *sequence* [3] is\\n   an in-\\n   teger.')
  'The len() of a sequence is an in-teger.'
  """
  text = re.sub(r"(?<=\w)-\n\s*(?=\w)", "-", prose.strip())
  text = re.sub(r"\s+", " ", text)
  text = re.sub(r"^(\* |[0-9]+\. )", "", text)
  text = re.sub(r" \[[0-9]+\]", "", text)
  text = re.sub(r"\"([^\"]*)\"", r"\1", text)
  return re.sub(r"\*{1,2}(\w(?:[^*]*[^*\s])?)\*{1,2}(?!\w)", r"\1", text)


def sentences(block):
  """Returns the sentences of a block that is not a title.

  A paragraph is split after full stops, a table into its rows. In any other
  block (code, grammar, signatures) each line is a sentence.

  Args:
    block: list of str, its lines.

  Returns:
    list of non-empty str.
  """
  if block[0].lstrip().startswith("+-"):
    found = list(table_rows(block))
  else:
    text = "\n".join(block)
    if is_prose(text):
      found = _SENTENCE_END.sub(r"\1\n", clean(text)).split("\n")
    else:
      found = [re.sub(r"\s+", " ", line) for line in block]
  return [s.strip() for s in found if re.search(r"\w", s)]


def documents(topic_texts):
  """Splits topics into documents.

  Topics overlap: the one on compound statements contains those on `if` and
  `for`. Only the first occurrence of a sentence is kept, so that the held-out
  text has no sentence of the training text.

  Args:
    topic_texts: dict from a topic's name to its text.

  Returns:
    list of lists of str: for each section of each topic, sorted by the topics'
    names, its sentences, starting with its title.
  """
  result, seen = [], set()
  for name in sorted(topic_texts):
    sections = [[]]
    for block in blocks(topic_texts[name]):
      if is_title(block):
        sections.append([clean(block[0])])
      else:
        sections[-1].extend(sentences(block))
    for section in sections:
      # The keys of a dict: without duplicates, in order.
      fresh = [s for s in dict.fromkeys(section) if s not in seen]
      seen.update(fresh)
      if fresh:
        result.append(fresh)
  return result


def split(all_documents):
  """Splits documents into (training documents, held-out documents)."""
  train = [d for i, d in enumerate(all_documents, 1) if i % HELD_OUT_EVERY]
  return train, all_documents[HELD_OUT_EVERY - 1::HELD_OUT_EVERY]


def write(path, some_documents):
  """Writes one sentence per line and a blank line between documents."""
  with open(path, "w", encoding="utf-8", newline="\n") as f:
    f.write("\n\n".join("\n".join(d) for d in some_documents) + "\n")


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--output_dir", default="demo/corpus",
                      help="directory for train.txt and held_out.txt")
  output_dir = parser.parse_args().output_dir
  os.makedirs(output_dir, exist_ok=True)
  for name, part in zip(("train.txt", "held_out.txt"),
                        split(documents(topics.topics))):
    path = os.path.join(output_dir, name)
    write(path, part)
    print("%s: %d documents, %d sentences" % (
        path, len(part), sum(len(document) for document in part)))


if __name__ == "__main__":
  main()
