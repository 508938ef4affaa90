"""Recognizes files that are not text by their first bytes.

`TYPES` lists what people have by the side of their text, or instead of it. A
file of such a type is refused with what it is and what to do, before its bytes
are taken for text.
"""

import re
from typing import NamedTuple, Optional, Pattern

from bert_e2e.data import text_encodings

# Bytes at the start of a file that are looked at.
HEAD_BYTES = 1 << 12
# Patterns of the starts of compressed files; readers.py decompresses these.
GZIP = rb"\x1f\x8b"
BZIP2 = rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"
XZ = rb"\xfd7zXZ\x00|\x5d\x00\x00.{10}"


class FileType(NamedTuple):
  """A type of files that are not text.

  Attributes:
    name: str, with its article.
    signature: pattern that matches at the start of such a file.
    remedy: str, what to do.
  """
  name: str
  signature: Pattern[bytes]
  remedy: str


_UNPACK = "unpack it and pass the files in it"
_DECOMPRESS = "decompress it first"
_EXPORT = "export its text to a UTF-8 text file"
_WRITE = "write its text to a UTF-8 text file, one sentence per line"
_REMOVE = "remove it from --input_file"

TYPES = tuple(
    FileType(name, re.compile(signature, re.DOTALL), remedy)
    for name, signature, remedy in (
        ("a tar archive", rb".{257}ustar", _UNPACK),
        ("a Word, Excel or PowerPoint document",
         rb"PK\x03\x04.{26}(?:\[Content_Types\]|_rels/|docProps/|word/|xl/)",
         _EXPORT),
        ("an OpenDocument or EPUB document", rb"PK\x03\x04.{26}mimetype",
         _EXPORT),
        ("a ZIP archive", rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", _UNPACK),
        ("a 7z archive", rb"7z\xbc\xaf\x27\x1c", _UNPACK),
        ("a RAR archive", rb"Rar!\x1a\x07", _UNPACK),
        ("a cpio or ar archive", rb"07070[12][0-9A-Fa-f]{104}|!<arch>\n",
         _UNPACK),
        # Within another compressed file, or where Python was built without.
        ("data compressed with gzip", GZIP, _DECOMPRESS),
        ("data compressed with bzip2", BZIP2, _DECOMPRESS),
        ("data compressed with xz", XZ, _DECOMPRESS),
        ("data compressed with zstd",
         rb"[\x22-\x28]\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", _DECOMPRESS),
        ("data compressed with lz4", rb"[\x02\x04]\x22\x4d\x18", _DECOMPRESS),
        ("data compressed with lzip", rb"LZIP\x01", _DECOMPRESS),
        ("data compressed with lzop", rb"\x89LZO\x00\r\n\x1a\n", _DECOMPRESS),
        ("data compressed with compress", rb"\x1f[\x9d\xa0]", _DECOMPRESS),
        ("data compressed with snappy", rb"\xff\x06\x00\x00sNaPpY",
         _DECOMPRESS),
        ("a PDF document", rb"%PDF-", _EXPORT + " (pdftotext does)"),
        ("a PostScript document", rb"%!PS", _EXPORT),
        ("an RTF document", rb"\{\\rtf", _EXPORT),
        ("a Word, Excel or PowerPoint document",
         rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _EXPORT),
        ("a DjVu document", rb"AT&TFORM", _EXPORT),
        ("a Parquet file", rb"PAR1\x15", "pass --input_format=parquet"),
        ("an Arrow or Feather file", rb"ARROW1\0|FEA1\0|\xff{4}.{2}\0\0",
         _WRITE),
        ("an Avro file", rb"Obj\x01", _WRITE),
        ("an ORC file", rb"ORC[\x00-\x08\x0b\x0c\x0e-\x1f]", _WRITE),
        ("a Hadoop sequence file", rb"SEQ[\x04-\x06]", _WRITE),
        ("a SQLite database", rb"SQLite format 3\x00", _WRITE),
        ("an HDF5 file", rb"\x89HDF\r\n\x1a\n", _WRITE),
        ("a NumPy array", rb"\x93NUMPY", _WRITE),
        ("a Python pickle", rb"\x80[\x02-\x05][\x00-\x7f\x80-\x95]", _WRITE),
        ("a TFRecord file", rb".{4}\x00{4}.{4}\x0a", "pass the raw text "
         "(run_pretraining_e2e.py also reads uncompressed TFRecords)"),
        ("an image", rb"\x89PNG\r\n|GIF8[79]a|\xff\xd8\xff|RIFF.{4}WEBP",
         _REMOVE),
        ("a sound or a video",
         rb"RIFF.{4}(?:WAVE|AVI )|OggS\x00|fLaC\x00|ID3[\x02-\x04]"
         rb"|\x00\x00.{2}ftyp|\x1aE\xdf\xa3", _REMOVE),
        ("a program", rb"\x7fELF|MZ.{62}\x0e\x1f"
         rb"|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe", _REMOVE),
    ))


def type_of(head) -> Optional[FileType]:
  """Returns the FileType of a file by its first HEAD_BYTES, or None."""
  return next((row for row in TYPES if row.signature.match(head)), None)


def check(head, path, unpacker=""):
  """Checks that a file may be text.

  Args:
    head: bytes, its first HEAD_BYTES, decompressed.
    path: the file, for the error.
    unpacker: str, the command that decompresses it, "" if it isn't compressed.

  Raises:
    ValueError: it is of another type, in UTF-16 or UTF-32, binary, or has line
      ends that are not supported.
  """
  found = type_of(head)
  if found:
    raise ValueError("%s %s %s, not text: %s." % (
        path, "contains" if unpacker else "is", found.name, found.remedy))
  problem = text_encodings.describe_head(head, path, unpacker)
  if problem:
    raise ValueError(problem)
