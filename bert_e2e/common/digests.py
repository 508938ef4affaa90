"""Short digests, by which records tell texts, options and functions apart."""

import hashlib
import json


def digest(content):
  """Returns a digest of bytes or of a str, a str of 16 hexadecimal digits."""
  if isinstance(content, str):
    content = content.encode("utf-8")
  return hashlib.sha256(content).hexdigest()[:16]


def digest_of_json(value):
  """Returns the digest of a value that JSON can represent."""
  return digest(json.dumps(value, sort_keys=True))
