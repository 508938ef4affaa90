"""Digests are in the records of output directories, so they must not change."""

from bert_e2e.common.digests import digest, digest_of_json


def test_digests_are_those_of_earlier_versions():
  assert digest("a") == digest(b"a") == "ca978112ca1bbdca"
  assert digest("\u4e2d") == digest("\u4e2d".encode("utf-8"))
  assert digest_of_json({"b": [1, None], "a": "x"}) == digest(
      '{"a": "x", "b": [1, null]}')
