"""Makes a WordPiece vocabulary from text; demo/vocab.txt was made by it.

    python -m demo.build_vocab --input_file=demo/corpus/train.txt \\
        --vocab_file=demo/vocab.txt --size=4000

Every word starts as its characters, those behind the first marked with `##`.
Again and again the neighbouring pair of pieces that is the most frequent in
the text is joined to a new piece (Sennrich, Haddow and Birch 2016, "Neural
Machine Translation of Rare Words with Subword Units"), until the vocabulary
has the size asked for, or no pair occurs twice. The same text always gives the
same vocabulary.
"""

import argparse
import collections
import string

import tokenization

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def count_words(lines, do_lower_case=True):
  """Counts words, cut as BERT's tokenizer cuts them before WordPiece.

  Args:
    lines: iterable of str.
    do_lower_case: bool, whether words are lower-cased and lose their accents.

  Returns:
    Counter of str.
  """
  tokenizer = tokenization.BasicTokenizer(do_lower_case=do_lower_case)
  words = collections.Counter()
  for line in lines:
    words.update(tokenizer.tokenize(line))
  return words


def alphabet(words):
  """Returns the pieces of one character, at the start of a word and behind it.

  Printable ASCII is always among them, so that no English text is unknown.
  """
  characters = set("".join(words)) | set(string.printable)
  characters -= set(string.whitespace) | set(string.ascii_uppercase)
  return sorted(characters) + ["##" + c for c in sorted(characters)]


def joined(pair):
  """Returns the piece that two neighbours make.

  >>> joined(("##a", "##b")), joined(("a", "##b"))
  ('##ab', 'ab')
  """
  return pair[0] + pair[1][2:]


def merge(pieces, pair):
  """Joins each occurrence of a pair in a word, from left to right.

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
  """Learns pieces of several characters.

  Args:
    words: dict from a word to how often it occurs.
    number: int, how many pieces at most.

  Returns:
    list of str, the most frequent pair of its time first.
  """
  split = {word: [word[0]] + ["##" + c for c in word[1:]] for word in words}
  counts = collections.Counter()
  holders = collections.defaultdict(set)  # From a pair to the words it is in.
  for word, pieces in split.items():
    for pair in zip(pieces, pieces[1:]):
      counts[pair] += words[word]
      holders[pair].add(word)
  learned = []
  while len(learned) < number and counts:
    # Of equally frequent pairs the last in alphabetical order.
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
  """Returns a vocabulary, a list of at most `size` different str."""
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
