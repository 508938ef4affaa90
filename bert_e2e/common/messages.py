"""Helpers to word messages."""

_DEFAULT_LIMIT = 8


def list_names(names, limit=_DEFAULT_LIMIT, separator=", "):
  """Joins names for a message; a long list is shortened.

  Args:
    names: iterable of str.
    limit: int, the number of names that are listed.
    separator: str, between two names.

  Returns:
    str.

  >>> list_names("abcde", limit=2)
  'a, b and 3 more'
  >>> list_names("abcde", limit=2, separator="; ")
  'a; b and 3 more'
  """
  names = list(names)
  text = separator.join(names[:limit])
  if len(names) > limit:
    text += " and %d more" % (len(names) - limit)
  return text


def first_line(error):
  """Returns the first line of an exception's message, else its type's name.

  >>> first_line(ValueError("no such key\\nin the table"))
  'no such key'
  >>> first_line(ValueError())
  'ValueError'
  """
  return (str(error).splitlines() or [type(error).__name__])[0]
