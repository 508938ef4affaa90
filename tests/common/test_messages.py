"""messages.py: what is shortened and what is not."""

import pytest

from bert_e2e.common import messages


@pytest.mark.parametrize("names, expected", [
    ([], ""), (["a"], "a"), (["a", "b", "c"], "a, b, c"),
    (iter("abcd"), "a, b, c and 1 more"), (list("abcdef"),
                                          "a, b, c and 3 more")])
def test_a_list_is_shortened_beyond_its_limit(names, expected):
  assert messages.list_names(names, limit=3) == expected


@pytest.mark.parametrize("error, expected", [
    (KeyError("key"), "'key'"), (OSError("a\nb"), "a"),
    (KeyError(), "KeyError"), (ValueError("\nb"), "")])
def test_the_first_line_of_an_error(error, expected):
  assert messages.first_line(error) == expected
