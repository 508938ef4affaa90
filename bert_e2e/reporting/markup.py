"""Builds HTML and SVG elements as strings."""

import html

from bert_e2e.reporting.run_data import is_finite


def tag(name, content=None, **attributes):
  """Returns an element.

  Args:
    name: str.
    content: str, the element's content as HTML, which is not escaped; None for
      an empty element.
    **attributes: int, float or str; escaped. In their names `_` stands for
      `-`, and a `_` at the end is dropped (`class_`).

  Returns:
    str.
  """
  said = "".join(
      ' %s="%s"' % (key.rstrip("_").replace("_", "-"), html.escape(
          "%.1f" % value if isinstance(value, float) else str(value)))
      for key, value in attributes.items())
  if content is None:
    return "<%s%s/>" % (name, said)
  return "<%s%s>%s</%s>" % (name, said, content, name)


def section(title, content):
  """Returns a section of the page.

  Args:
    title: str, text.
    content: str, HTML.
  """
  return tag("section", tag("h2", html.escape(title)) + "\n" + content)


def plural(count, noun):
  """Returns a count with its noun.

  >>> plural(1, "example"), plural(1200, "example")
  ('1 example', '1,200 examples')
  """
  return "%s %s%s" % (format(count, ","), noun, "" if count == 1 else "s")


def uncapitalize(title):
  """Returns a title as it is written within a sentence.

  >>> uncapitalize("Masked-LM loss")
  'masked-LM loss'
  """
  return title[:1].lower() + title[1:]


def format_fixed(value, decimals):
  """Formats a number.

  Args:
    value: float.
    decimals: int.

  Returns:
    str; "-" for what is not a finite number.

  >>> format_fixed(1234.5, 2), format_fixed(float("nan"), 2)
  ('1,234.50', '-')
  """
  if not is_finite(value):
    return "-"
  return (format(value, ",.%df" % decimals) if abs(value) < 1e7 else
          "%.2e" % value)


def scrollable(table, label):
  """Returns a table that scrolls sideways if it is wider than the page.

  Args:
    table: str, HTML.
    label: str, its name for screen readers.
  """
  return tag("div", table, class_="wide", role="region", tabindex=0,
             aria_label=label)
