"""Builds a WordPiece vocabulary from text; it built demo/vocab.txt.

    python -m demo.build_vocab --input_file=demo/corpus/train.txt \\
        --vocab_file=demo/vocab.txt --size=4000

Every word is first split into its characters, with the prefix `##` on all but
the first. Then the most frequent pair of adjacent pieces is merged into a new
piece (Sennrich, Haddow and Birch 2016, "Neural Machine Translation of Rare
Words with Subword Units"), until the vocabulary has the requested size or no
pair occurs twice. The result is deterministic.
"""

import argparse
import collections
import string

import tokenization

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def count_words(lines, do_lower_case=True):
  """Counts words, split as BERT's tokenizer splits text before WordPiece.

  Args:
    lines: iterable of str.
    do_lower_case: bool, lower-case the words and strip accents.

  Returns:
    Counter of str.
  """
  tokenizer = tokenization.BasicTokenizer(do_lower_case=do_lower_case)
  words = collections.Counter()
  for line in lines:
    words.update(tokenizer.tokenize(line))
  return words


def alphabet(words):
  """Returns the single-character pieces, with and without `##`.

  They always include printable ASCII, so that no English word is unknown.

  Args:
    words: iterable of str.
  """
  characters = set("".join(words)) | set(string.printable)
  characters -= set(string.whitespace) | set(string.ascii_uppercase)
  return sorted(characters) + ["##" + c for c in sorted(characters)]


def joined(pair):
  """Returns the piece that results from merging a pair.

  >>> joined(("##a", "##b")), joined(("a", "##b"))
  ('##ab', 'ab')
  """
  return pair[0] + pair[1][2:]


def merge(pieces, pair):
  """Merges each occurrence of a pair in a word, from left to right.

  >>> merge(["a", "##b", "##a", "##b"], ("##a", "##b"))
  ['a', '##b', '##ab']
  """
  result = []
  for piece in pieces:
    if result and (result[-1], piece) == pair:
      result[-1] = joined(pair)
    else:
      result.append(piece)
  return result


def learn_pieces(words, number):
  """Learns the pieces of several characters.

  Args:
    words: dict from word to its number of occurrences.
    number: int, maximum number of pieces.

  Returns:
    list of str, in the order of the merges.
  """
  split = {word: [word[0]] + ["##" + c for c in word[1:]] for word in words}
  counts = collections.Counter()
  holders = collections.defaultdict(set)  # From pair to the words with it.
  for word, pieces in split.items():
    for pair in zip(pieces, pieces[1:]):
      counts[pair] += words[word]
      holders[pair].add(word)
  learned = []
  while len(learned) < number and counts:
    # Ties are broken by taking the last pair in alphabetical order.
    best = max(counts, key=lambda pair: (counts[pair], pair))
    if counts[best] < 2:
      break
    for word in holders.pop(best):
      for pair in zip(split[word], split[word][1:]):
        counts[pair] -= words[word]
        holders[pair].discard(word)
      split[word] = merge(split[word], best)
      for pair in zip(split[word], split[word][1:]):
        counts[pair] += words[word]
        holders[pair].add(word)
    del counts[best]
    if joined(best) not in learned:
      learned.append(joined(best))
  return learned


def build(lines, size, do_lower_case=True):
  """Returns a vocabulary, a list of at most `size` distinct str."""
  words = count_words(lines, do_lower_case)
  vocabulary = SPECIAL + alphabet(words)
  return vocabulary + learn_pieces(words, size - len(vocabulary))


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--input_file", required=True, nargs="+",
                      help="text, UTF-8")
  parser.add_argument("--vocab_file", required=True, help="file to write")
  parser.add_argument("--size", type=int, default=4000)
  args = parser.parse_args()
  lines = []
  for path in args.input_file:
    with open(path, encoding="utf-8") as f:
      lines.extend(f)
  vocabulary = build(lines, args.size)
  with open(args.vocab_file, "w", encoding="utf-8", newline="\n") as f:
    f.write("\n".join(vocabulary) + "\n")
  print("%s: %d entries" % (args.vocab_file, len(vocabulary)))


if __name__ == "__main__":
  main()
