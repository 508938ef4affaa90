"""Files of records with the same documents as a plain text, for tests."""

import bz2
import csv
import gzip
import io
import json
import lzma
from typing import Any, Dict

COMPRESSORS: Dict[str, Any] = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def json_lines(texts, field="text", ensure_ascii=True):
  """Returns JSON lines, bytes, with a few other fields."""
  return "".join(
      json.dumps({"id": i, field: text, "other": ["x" * (i % 7), None]},
                 ensure_ascii=ensure_ascii) + "\n"
      for i, text in enumerate(texts)).encode("utf-8", "surrogatepass")


def table(texts, delimiter=",", field="text"):
  """Returns a table, bytes, with two other columns."""
  stream = io.StringIO(newline="")
  writer = csv.writer(stream, delimiter=delimiter)
  writer.writerow(["id", field, "other"])
  writer.writerows([i, text, "y" * (i % 9)] for i, text in enumerate(texts))
  return stream.getvalue().encode("utf-8", "surrogateescape")


def parquet(texts, field="text", **options):
  """Returns a Parquet file, bytes."""
  import pyarrow
  import pyarrow.parquet
  stream = io.BytesIO()
  pyarrow.parquet.write_table(pyarrow.table({
      "id": list(range(len(texts))), field: texts}), stream, **options)
  return stream.getvalue()


MAKERS: Dict[str, Any] = {
    "jsonl": json_lines, "csv": table,
    "tsv": lambda texts, **options: table(texts, "\t", **options),
    "parquet": parquet}


def file_of(name, texts, **options):
  """Returns the content of a file by its name, such as a.jsonl.gz; bytes."""
  _, extension, *compression = name.split(".")
  data = MAKERS[extension](texts, **options)
  return COMPRESSORS[compression[0]](data) if compression else data


def plain(texts):
  """Returns the same documents as plain text, a str."""
  return "".join(
      "\n".join(filter(None, map(str.strip, text.split("\n")))) + "\n\n"
      for text in texts)
