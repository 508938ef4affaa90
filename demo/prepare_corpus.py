"""Cuts the Python language reference into a corpus for the demo.

    python -m demo.prepare_corpus --output_dir=demo/corpus

Every CPython carries the text of its language reference in `pydoc_data.topics`
(what `help("lambda")` prints), so the demo needs no download. The text differs
a little between Python versions. Written are train.txt and held_out.txt, one
sentence a line and a blank line between documents, as BERT's data creation
reads them. A document is a section of a topic.
"""

import argparse
import os
import re
from pydoc_data import topics

# Of ten documents the last is held out.
HELD_OUT_EVERY = 10

_UNDERLINE = re.compile(r"([*=~^-])\1{2,}$")
_TABLE_BORDER = re.compile(r"[+|][-=+| ]*[+|]$")
_PLAIN_WORD = re.compile(r"[\"“(*]*[A-Za-z][a-z’-]*[)\"”*]*[.,:;!?]?[)\"”]*$")
_SENTENCE_END = re.compile(r"(?<!e\.g)(?<!i\.e)([.!?][\"”)]*) +"
                           r"(?=[\"“(\[*]?[A-Z])")


def blocks(text):
  """Splits text into its paragraphs, titles, tables and pieces of code.

  Args:
    text: str, a topic.

  Returns:
    list of lists of str: the lines between two blank lines.
  """
  return [block.split("\n") for block in re.split(r"\n\s*\n", text.strip("\n"))
          if block.strip()]


def is_title(block):
  """Tells whether a block is a line of text that is underlined."""
  return len(block) == 2 and bool(_UNDERLINE.match(block[1].strip()))


def table_rows(block):
  """Yields one line of text for each row of a table drawn with + - | and =.

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
  """Tells prose from code, grammar and signatures: most words are plain.

  >>> [is_prose(t) for t in ("Some *text* here.", "x = f(a) + 1")]
  [True, False]
  """
  words = text.split()
  plain = sum(1 for word in words if _PLAIN_WORD.match(word))
  return ">>>" not in text and "::=" not in text and plain >= 0.6 * len(words)


def clean(prose):
  """Takes the traces of reStructuredText out of a paragraph.

  These are the quotes round pieces of code, the stars round emphasis, the
  numbers of footnotes, and the marks of lists.

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
  """Returns the sentences of a block that is no title.

  A paragraph is cut behind full stops, a table into its rows. Of anything else
  (code, grammar, signatures) each line counts as a sentence.

  Args:
    block: list of str, its lines.

  Returns:
    list of str, none of them empty.
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
  """Cuts topics into documents.

  Topics overlap: one on compound statements holds those on `if` and `for`. Of
  a sentence that occurs again only the first occurrence is kept, so that no
  held-out sentence is one of the training text.

  Args:
    topic_texts: dict from a topic's name to its text.

  Returns:
    list of lists of str: for each section of each topic, in the order of the
    topics' names, its sentences, its title the first.
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
      # A dict's keys: the order stays, and what occurs twice counts once.
      fresh = [s for s in dict.fromkeys(section) if s not in seen]
      seen.update(fresh)
      if fresh:
        result.append(fresh)
  return result


def split(all_documents):
  """Splits documents into (those to train on, those held out)."""
  train = [d for i, d in enumerate(all_documents, 1) if i % HELD_OUT_EVERY]
  return train, all_documents[HELD_OUT_EVERY - 1::HELD_OUT_EVERY]


def write(path, some_documents):
  """Writes documents as one sentence a line, a blank line between them."""
  with open(path, "w", encoding="utf-8", newline="\n") as f:
    f.write("\n\n".join("\n".join(d) for d in some_documents) + "\n")


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--output_dir", default="demo/corpus",
                      help="folder for train.txt and held_out.txt")
  folder = parser.parse_args().output_dir
  os.makedirs(folder, exist_ok=True)
  for name, part in zip(("train.txt", "held_out.txt"),
                        split(documents(topics.topics))):
    path = os.path.join(folder, name)
    write(path, part)
    print("%s: %d documents, %d sentences" % (
        path, len(part), sum(len(document) for document in part)))


if __name__ == "__main__":
  main()
