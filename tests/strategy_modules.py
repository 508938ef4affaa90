"""Modules with strategies, which tests write and import."""

import importlib
import itertools
import sys
import textwrap

# Calls fusion_input_and_out: the stream is the default one.
BUILT_IN = """
    from create_pretraining_data import fusion_input_and_out

    def built_in(lines, tokenizer, rng, **options):
      return fusion_input_and_out(lines, tokenizer, rng, **options)
    """
_numbers = itertools.count()


class Modules:
  """Writes modules to the working directory.

  Args:
    directory: pathlib.Path, the working directory.
  """

  def __init__(self, directory):
    self._directory = directory

  def write(self, code, name=None):
    """Writes a module; returns its name, which no other test has used.

    Args:
      code: str, indented or not.
      name: str, of a module to write again, which is imported anew.
    """
    name = name or "strategy_of_test_%d" % next(_numbers)
    path = self._directory / (name + ".py")
    path.write_text(textwrap.dedent(code))
    sys.modules.pop(name, None)
    importlib.invalidate_caches()
    return name
