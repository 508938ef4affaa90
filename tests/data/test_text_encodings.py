"""text_encodings.py: text that is not UTF-8, and the command that converts it.
"""

import gzip
import subprocess

import pytest

from bert_e2e.data import readers, text_encodings, text_lines
from bert_e2e.data.corpus import Corpus

# A few sentences of ordinary text in each language.
TEXTS = {
    "chinese": "我们在学校里学习新的语言，也学习数学和历史。\n"
               "他说这个问题不难，可是没有人知道答案。\n",
    "traditional": "我們在學校裡學習新的語言，也學習數學和歷史。\n"
                   "他說這個問題不難，可是沒有人知道答案。\n",
    "japanese": "私たちは学校で新しい言葉を勉強しています。\n"
                "それは難しくないと彼は言いました。\n",
    "korean": "우리는 학교에서 새로운 언어를 배우고 있습니다.\n"
              "그는 그것이 어렵지 않다고 말했다.\n",
    "russian": "Мы изучаем в школе новые языки и историю.\n"
               "Он сказал, что это не трудно.\n",
    "ukrainian": "Ми вивчаємо у школі нові мови та історію.\n",
    "greek": "Μαθαίνουμε στο σχολείο νέες γλώσσες και ιστορία.\n",
    "french": "À l'école, nous étudions déjà de nouvelles langues étrangères.\n"
              "Il a répété que c'était très simple, n'est-ce pas ?\n",
    "german": "Wir üben schöne Sätze und größere Aufgaben für die Schüler.\n",
    "spanish": "El niño aprendió mañana y después volvió a la montaña.\n",
    "english": "The caf\u00e9 \u201cNoon\u201d isn\u2019t open \u2014 yet.\n",
    "polish": "Uczymy się w szkole nowych języków, później także historii.\n"
              "Wziął książkę i powiedział, że to łatwe ćwiczenie.\n",
    "czech": "Učíme se ve škole nové jazyky, později také dějepis a češtinu.\n",
    "turkish": "Okulda yeni diller öğreniyor, çünkü kış geldi, diyordu.\n",
    "hebrew": "אנחנו לומדים בבית הספר שפות חדשות והיסטוריה.\n",
    "arabic": "نحن نتعلم في المدرسة لغات جديدة والتاريخ.\n",
    "thai": "เราเรียนภาษาใหม่ที่โรงเรียน\n",
}


def in_encoding(language, codec):
  return (TEXTS[language] * 3).encode(codec)


@pytest.mark.parametrize("language, codec, name", [
    ("chinese", "gb18030", "GB18030"), ("chinese", "gb2312", "GB18030"),
    ("traditional", "big5", "BIG5"), ("japanese", "shift_jis", "SHIFT_JIS"),
    ("japanese", "euc_jp", "EUC-JP"), ("korean", "euc_kr", "EUC-KR"),
    ("russian", "cp1251", "CP1251"), ("russian", "koi8_r", "KOI8-R"),
    ("russian", "cp866", "CP866"), ("russian", "iso8859_5", "ISO-8859-5"),
    ("ukrainian", "cp1251", "CP1251"), ("greek", "cp1253", "CP1253"),
    ("french", "latin_1", "CP1252"), ("german", "latin_1", "CP1252"),
    ("spanish", "latin_1", "CP1252"), ("english", "cp1252", "CP1252"),
    ("german", "cp850", "CP850"), ("french", "mac_roman", "MACINTOSH"),
    ("polish", "cp1250", "CP1250"), ("polish", "iso8859_2", "ISO-8859-2"),
    ("czech", "cp1250", "CP1250"), ("turkish", "cp1254", "CP1254"),
    ("hebrew", "cp1255", "CP1255"), ("arabic", "cp1256", "CP1256"),
    ("thai", "cp874", "CP874"),
    ("chinese", "utf_16_le", "UTF-16LE"), ("chinese", "utf_16_be", "UTF-16BE"),
    ("french", "utf_16_le", "UTF-16LE"), ("russian", "utf_16_be", "UTF-16BE"),
    ("korean", "utf_16", "UTF-16"), ("english", "utf_32", "UTF-32"),
    ("japanese", "utf_32_be", "UTF-32BE"),
])
def test_the_encoding_of_a_text(language, codec, name):
  data = in_encoding(language, codec)
  assert text_encodings.guess(data) == name
  # Cut off anywhere.
  assert text_encodings.guess(data[:-1]) == name
  # The command that is advised converts it.
  converted = subprocess.run(
      ["iconv", "-f", name, "-t", "UTF-8"], input=data, check=True,
      stdout=subprocess.PIPE).stdout
  assert converted.decode("utf-8").lstrip("\ufeff") == TEXTS[language] * 3


@pytest.mark.parametrize("data", [
    bytes(range(128, 256)) * 9, b"\x81\x8d\x9d word\n" * 9,
    b"\x00\x01\x02\x03" * 99])
def test_what_can_not_be_told(data):
  assert text_encodings.guess(data) is None


@pytest.fixture
def write(tmp_path):

  def write(name, data):
    (tmp_path / name).write_bytes(data)
    return str(tmp_path / name)

  return write


def refused(path):
  """Returns what all that reads a file says about it."""
  said = set()
  for function in (lambda path: readers.text_file(path),
                   lambda path: Corpus([path]),
                   lambda path: list(text_lines.read_texts(path))):
    with pytest.raises(ValueError) as caught:
      function(path)
    said.add(str(caught.value))
  message, = said
  return message


@pytest.mark.parametrize("language, codec, name", [
    ("english", "utf_16", "UTF-16"), ("english", "utf_16_le", "UTF-16LE"),
    ("russian", "utf_16_le", "UTF-16LE"), ("chinese", "utf_16_be", "UTF-16BE"),
    ("german", "utf_32", "UTF-32")])
def test_wide_characters_are_refused(write, language, codec, name):
  """Without line ends of a byte, some of it would even be valid UTF-8."""
  path = write("a.txt", in_encoding(language, codec))
  said = refused(path)
  assert "is %s text, not UTF-8" % name in said
  assert "`iconv -f %s -t UTF-8 < %s > %s.utf8`" % (name, path, path) in said
  path = write("a.gz", gzip.compress(in_encoding(language, codec)))
  assert "`gzip -dc %s | iconv -f %s -t UTF-8 > %s.utf8`" % (
      path, name, path) in refused(path)


def test_a_byte_order_mark_of_utf8_is_no_problem(write):
  path = write("a.txt", b"\xef\xbb\xbfone\ntwo\n")
  assert readers.text_file(path).compression.name == "none"


def test_binary_data_is_refused(write):
  said = refused(write("a.txt", b"\x00\x01\x02\x03word\n" * 99))
  assert "99 of its first 891 bytes are NUL" in said and "tr -d" in said
  path = write("a.txt", b"an ordinary line of text\n" * 99 +
               b"a text with one\x00damaged byte in a line\n")
  assert len(list(text_lines.read_lines(path))) == 100


@pytest.mark.parametrize("data, is_fine", [
    (b"one line\ranother line\ra third\r", False),
    (b"one line\ranother line\ra third", False),
    (b"one line\r\nanother line\r\n", True), (b"a\rb\nc\rd\r\n", True),
    (b"a\rb", True), (b"one line", True)])
def test_lone_carriage_returns_are_no_line_ends(write, data, is_fine):
  path = write("my text", data)
  if is_fine:
    assert readers.text_file(path).compression.name == "none"
    return
  said = refused(path)
  assert "carriage return" in said
  command = said.split("`")[1]
  assert command == r"tr '\r' '\n' < '%s' > '%s.lines'" % (path, path)
  subprocess.run(command, shell=True, check=True)
  with open(path + ".lines", "rb") as stream:
    assert stream.read() == data.replace(b"\r", b"\n")


def invalid(path):
  """Returns what reading a file with invalid UTF-8 says."""
  with pytest.raises(text_lines.InvalidUtf8) as caught:
    list(text_lines.read_texts(path))
  return str(caught.value)


def test_invalid_utf8_is_named_with_the_command_that_converts_it(write):
  path = write("a.txt", b"ascii\n" * 3 + in_encoding("chinese", "gb18030"))
  said = invalid(path)
  assert "line 4, byte 1 of that line" in said
  assert ("It looks like GB18030. Convert it with "
          "`iconv -f GB18030 -t UTF-8 < %s" % path) in said
  # That would leave no text.
  assert "--invalid_utf8" not in said
  path = write("b.bz2", readers.bz2.compress(in_encoding("greek", "cp1253")))
  assert "`bzip2 -dc %s | iconv -f CP1253 -t UTF-8 > " % path in invalid(path)


def test_few_invalid_bytes_may_be_dropped(write):
  path = write("a.txt", b"an ordinary line of text in English, and another\n" *
               99 + b"caf\xe9 au lait\n" + b"more of the ordinary text\n" * 99)
  said = invalid(path)
  assert "looks like CP1252. Convert it" in said
  assert said.endswith("or pass --invalid_utf8=replace to drop such bytes.")


def test_damaged_utf8_is_not_converted(write):
  """That would spoil the rest of it."""
  data = in_encoding("german", "utf_8").replace(b"\xbc", b"\xe9", 1)
  said = invalid(write("a.txt", data))
  assert "iconv" not in said and "correct the line, or pass --invalid" in said


def test_an_encoding_that_is_not_known(write):
  said = invalid(write("a.txt", b"\x81\x8d\x9d word\n" * 9))
  assert "`file -i`" in said and "--invalid_utf8" not in said
