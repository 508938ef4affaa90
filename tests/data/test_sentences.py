"""sentences.py: the rule that splits lines into sentences."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_e2e.data import sentences

# The sentences of each line, which are separated by a space.
SPACED = [
    # English.
    ["It was 3.14 (see Dr. No).", "Really?", "\"Yes.\" he said.", "Next."],
    ["The U.S. Army came.", "In the U.S.", "The war ended, e.g. here."],
    ["J. R. R. Tolkien met Mr. and Mrs. Smith.", "They left at 5 p.m.", "He"],
    ["He earned 42.", "She said no.", "Never!", "Wait...", "What?!", "So."],
    ["He went ... home.", "He went \u2026 away.", "\u201cWhy?\u201d he asked."],
    ["\u201cGo.\u201d", "She went.[12]", "Then (maybe.)", "It ended."],
    ["1. The first item.", "See www.example.com/a?b=c.", "It is v. 2.0.1."],
    ["Visit https://example.com.", "It costs 1.000.000,50 dollars etc.", "But"],
    ["Apple Inc. makes phones.", "See Fig. 3 and p. 7 of vol. 2 now.", "OK."],
    ["She studied in Washington D.C.", "After that, she left."],
    # German.
    ["Am 3. Oktober kam z. B. Herr Dr. M\u00fcller.", "Das war Nr. 5."],
    ["Ludwig XIV. regierte im 17. Jahrhundert.", "Die Stra\u00dfe usw.", "Das"],
    ["Er sagte: \u201eJa.\u201c", "Dann ging er, d. h. schnell.", "Gut."],
    ["\u00bbNein.\u00ab", "Sie lachte, vgl. Abb. 3, bzw. sp\u00e4ter."],
    # French and Spanish.
    ["\u00ab Oui. \u00bb", "M. Dupont est l\u00e0.", "Vraiment ?", "Oui !"],
    ["\u00bfQu\u00e9?", "\u00a1S\u00ed!", "El Sr. L\u00f3pez vino."],
    # Russian.
    ["\u041e\u043d \u0443\u0448\u0451\u043b.", "\u0410. \u0421. "
     "\u041f\u0443\u0448\u043a\u0438\u043d \u043f\u0438\u0441\u0430\u043b "
     "\u0438 \u0442. \u0434. \u043c\u043d\u043e\u0433\u043e.", "\u0414\u0430!"],
    # Arabic and Urdu.
    ["\u0630\u0647\u0628 \u0627\u0644\u0648\u0644\u062f.", "\u0647\u0644 "
     "\u062c\u0627\u0621 \u062f. \u0623\u062d\u0645\u062f\u061f",
     "\u0646\u0639\u0645!", "\u06cc\u06c1 \u06c1\u06d2\u06d4", "\u0648\u06c1."],
    # Hindi.
    ["\u0930\u093e\u092e \u0918\u0930 \u0917\u092f\u093e\u0964",
     "\u0921\u0949. \u0936\u0930\u094d\u092e\u093e \u0906\u090f\u0964",
     "\u0915\u094d\u092f\u093e?", "\u0939\u093e\u0901\u0964"],
]
# The same without spaces.
JOINED = [
    # Chinese.
    ["\u4ed6\u8bf4\uff1a\u201c\u4f60\u597d\u3002\u201d", "\u7136\u540e\u8d70"
     "\u4e86\u3002", "\u771f\u7684\u5417\uff1f\uff01", "\uff08\u662f\u3002"
     "\uff09", "\u5706\u5468\u7387\u662f3.14\u3002"],
    ["\u4ed6\u95ee\uff1a\u300c\u53bb\u5417\uff1f\u300d", "\u597d!",
     "\u597d\u5417?", "\u597d\u3002"],
    ["\u201c\u597d\u3002\u201d\uff0c\u4ed6\u8bf4\u3002", "\u7b49\u2026\u2026"
     "\u5427\u3002"],
    # Japanese.
    ["\u300c\u305d\u3046\u3067\u3059\u3002\u300d\u3068\u5f7c\u306f\u8a00\u3063"
     "\u305f\u3002", "\u672c\u5f53\u3067\u3059\u304b\uff1f",
     "\u306f\u3044\uff01"],
    # Hindi.
    ["\u0930\u093e\u092e \u0906\u092f\u093e\u0964", "\u0935\u0939 "
     "\u0917\u092f\u093e\u0965"],
]


@pytest.mark.parametrize("separator, found", [
    *((" ", line) for line in SPACED), *(("", line) for line in JOINED),
    *((" ", line) for line in JOINED)])
def test_sentences_of_a_line(separator, found):
  assert sentences.split(separator.join(found)).split("\n") == found


def test_lines_stay_apart():
  text = "One. Two.\n\nDr.\nWho? No\n  Three.  Four. \n"
  assert sentences.split(text) == (
      "One.\nTwo.\n\nDr.\nWho?\nNo\n  Three.\nFour. \n")
  assert sentences.split(text, "line") == text


TEXT = st.text(alphabet=(
    "aBc 1\n\t.!?\u2026\u3002\uff1f\u0964\u061f\"')(\u201c\u201d\u00ab\u00bb"
    "\u300c\u300d\u4e2d\u3068\u0915-[]\u00a0\u3000DrUS"), max_size=60)


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_only_whitespace_changes(text):
  found = sentences.split(text)
  assert "".join(found.split()) == "".join(text.split())
  lines = found.split("\n")
  # Each line of the text is some lines of the result, none of them blank.
  blank = sum(not line.strip() for line in text.split("\n"))
  assert sum(not line.strip() for line in lines) == blank
  assert sentences.split(found).split() == text.split() or (
      "".join(sentences.split(found).split()) == "".join(text.split()))
