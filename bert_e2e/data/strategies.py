"""The user's own strategy: a function that builds the instances of a chunk.

--strategy=package.module:function takes the place of
instances.fusion_input_and_out and is called in the same way:

    strategy(lines, tokenizer, rng, **options) -> iterable of TrainingInstance

It is imported by name, in the trainer and in each worker process, so it has to
be in a module. What it returns is checked (instance_checks.py). Its source
identifies the stream that it builds.
"""

import collections.abc
import dataclasses
import importlib
import inspect
import os
import re
import sys
import traceback
from typing import Any, List

from bert_e2e.common.digests import digest
from bert_e2e.common.messages import list_names
from bert_e2e.config import InstanceConfig, default_of, names_of
from bert_e2e.data import instance_checks

# The keyword arguments that a strategy may accept: those of
# instances.fusion_input_and_out.
_KEYWORDS = (*names_of(InstanceConfig), "borrowed_lines")
_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_NAME = re.compile("(%s):(%s)" % (_DOTTED, _DOTTED))
_REMEDY = ("Define it with `def` at the top level of a module of its own, and "
           "import it from there.")


class StrategyError(ValueError):
  """A strategy failed on a chunk, or returned something else than instances.

  It is formatted by the process that shows it, see text_lines.InvalidUtf8.

  Args:
    name: str, of the strategy.
    place: what str() names the text of: see `Strategy.build`.
    reason: str.
  """

  def __init__(self, name, place, reason):
    super().__init__(name, place, reason)  # What is pickled.

  def __str__(self):
    return "The strategy %s failed on %s: %s" % self.args


class Strategy:
  """A strategy that was imported; see `find`.

  Pickled, it has its name and the module search path of this process instead of
  the function, which the other process imports when it calls it first.

  Args:
    name: str, "package.module:function".

  Attributes:
    name: as given.
    source: str, a digest of the sources of the function and of its module.

  Raises:
    ValueError: it can't be imported or called, or its source can't be read.
  """

  def __init__(self, name):
    self.name = name
    self._function: Any = _load(name)
    self._search_path: List[str] = []
    self._accepted = _find_accepted(name, self._function)
    self.source = _source_digest(name, self._function)

  def __getstate__(self):
    return dict(self.__dict__, _function=None,
                _search_path=[os.path.abspath(entry) for entry in sys.path])

  @property
  def function(self):
    """The function itself.

    Raises:
      ValueError: this process can't import it, or finds another source than the
        process that pickled the strategy.
    """
    if self._function is None:
      sys.path[:] = [*self._search_path, *(
          entry for entry in sys.path if entry not in self._search_path)]
      found = Strategy(self.name)
      if found.source != self.source:
        raise ValueError(
            "The source of --strategy=%s has changed since the program was "
            "started. Start it again." % self.name)
      self._function = found.function
    return self._function

  def accepts(self, name):
    """Tells whether a keyword argument is passed to the function.

    Args:
      name: str, of a field of config.InstanceConfig, or "borrowed_lines".
    """
    return name in self._accepted

  def check_options(self, options):
    """Checks that the function accepts all options that are not as by default.

    Args:
      options: config.InstanceConfig.

    Raises:
      ValueError: it does not accept one.
    """
    for name in names_of(InstanceConfig):
      value, default = getattr(options, name), default_of(name)
      if value != default and not self.accepts(name):
        raise ValueError(
            "--%s=%s would have no effect: --strategy=%s does not accept the "
            "argument %s. Add it to the function, or set the flag to its "
            "default, %s." % (name, value, self.name, name, default))

  def build(self, lines, tokenizer, rng, options, place, borrowed_lines=()):
    """Builds the instances of a chunk.

    Args:
      lines: list of str, without line ends; blank lines end documents.
      tokenizer: tokenization.FullTokenizer.
      rng: random.Random.
      options: config.InstanceConfig, validated.
      place: names the lines in errors, by str().
      borrowed_lines: sequence of str, lines of other documents.

    Returns:
      list of TrainingInstance, with pieces as texts, in the function's order.

    Raises:
      ValueError: see `function`.
      StrategyError: the function raised an error, or what it returned can't be
        serialized.
    """
    function = self.function
    values = dict(dataclasses.asdict(options), borrowed_lines=borrowed_lines)
    values = {name: values[name] for name in self._accepted}
    try:
      found = function(lines, tokenizer, rng, **values)
      if isinstance(found, collections.abc.Iterable):
        found = list(found)  # Which runs it, if it is a generator.
    except Exception as e:
      raise StrategyError(self.name, place, "%s%s." % (
          _first_line(e), _where(e, function.__code__.co_filename))) from e
    try:
      return instance_checks.checked(found, tokenizer.vocab, options)
    except ValueError as e:
      raise StrategyError(self.name, place, str(e)) from e

  def record(self):
    """Returns what the record of a stream says of the strategy, a dict; see
    resume.StreamRecord.differences."""
    return {"name": self.name, "source": self.source}


def find(strategy):
  """Imports a strategy.

  Args:
    strategy: str, "package.module:function", for which the working directory is
      searched after Python's own path; or a function that can be imported by
      the names of its module and its own; or a Strategy; or None.

  Returns:
    Strategy; None for None.

  Raises:
    ValueError: it can't be imported or called, or its source can't be read.
  """
  if strategy is None or isinstance(strategy, Strategy):
    return strategy
  if isinstance(strategy, str):
    directory = os.getcwd()
    if directory not in sys.path:
      sys.path.append(directory)
    return Strategy(strategy)
  found = Strategy(_name_of(strategy))
  if found.function is not strategy:
    raise ValueError("strategy=%s: importing that name gives another function. "
                     "%s" % (found.name, _REMEDY))
  return found


def _name_of(function):
  """Returns the name that a function can be imported by.

  Raises:
    ValueError: it can't be.
  """
  if not inspect.isfunction(function):
    raise ValueError(
        "strategy=%r is neither a function nor the name of one, such as "
        "\"my_strategies:mask_terms\"." % (function,))
  name = "%s:%s" % (function.__module__, function.__qualname__)
  what = ("a lambda" if "<lambda>" in name else
          "a function within another function" if "<locals>" in name else
          "a function of the program that runs"
          if function.__module__ == "__main__" else None)
  if what:
    raise ValueError("strategy=%s is %s, which worker processes cannot import. "
                     "%s" % (name, what, _REMEDY))
  return name


def _load(name):
  """Returns the function of a name.

  Raises:
    ValueError: there is none.
  """
  match = _NAME.fullmatch(name)
  if not match:
    raise ValueError(
        "--strategy=%s is not the name of a function in the form "
        "package.module:function, such as my_strategies:mask_terms." % name)
  module_name, path = match.groups()
  if module_name == "__main__":
    raise ValueError("--strategy=%s is in the program that runs, which worker "
                     "processes cannot import. %s" % (name, _REMEDY))
  module = _import(name, module_name)
  found = module
  for part in path.split("."):
    found = getattr(found, part, None)
  if not inspect.isfunction(found):
    functions = [key for key, value in sorted(vars(module).items())
                 if inspect.isfunction(value) and not key.startswith("_")]
    raise ValueError(
        "--strategy=%s: %s in the module %s (%s) is not a function. The "
        "functions there: %s." % (
            name, path, module_name, getattr(module, "__file__", "no file"),
            list_names(functions) or "none"))
  return found


def _import(name, module_name):
  """Imports the module of a strategy's name.

  Raises:
    ValueError: that failed, for whatever reason.
  """
  try:
    return importlib.import_module(module_name)
  except (Exception, SystemExit) as e:  # A script may end the program.
    raise ValueError(
        "--strategy=%s: the module %s cannot be imported from the working "
        "directory %s, from PYTHONPATH (%s) or from the installed packages: "
        "%s%s." % (
            name, module_name, os.getcwd(),
            os.environ.get("PYTHONPATH") or "not set",
            _first_line(e), _where(e))) from e


def _find_accepted(name, function):
  """Returns the keyword arguments to pass to a function, a tuple of str.

  Raises:
    ValueError: the function can't be called in this way.
  """
  signature = inspect.signature(function)
  arguments = (None,) * 3  # The lines, the tokenizer, rng.

  def is_accepted(keyword):
    try:
      signature.bind_partial(*arguments, **{keyword: None})
    except TypeError:
      return False
    return True

  accepted = tuple(filter(is_accepted, _KEYWORDS))
  try:
    signature.bind(*arguments, **dict.fromkeys(accepted))
  except TypeError as e:
    raise ValueError(
        "--strategy=%s cannot be called as strategy(lines, tokenizer, rng, "
        "**options): %s. The options that it may accept are the keyword "
        "arguments of fusion_input_and_out." % (name, e)) from e
  return accepted


def _source_digest(name, function):
  """Returns a digest of the sources of a function and of its module.

  Raises:
    ValueError: they can't be read.
  """
  try:
    sources = [inspect.getsource(code) for code in (
        function, sys.modules[function.__module__])]
  except (OSError, TypeError, KeyError) as e:
    raise ValueError(
        "--strategy=%s: its source cannot be read (%s), so a change would not "
        "be noticed. Define it in a .py file." % (
            name, _first_line(e))) from e
  return digest("\0".join(sources))


def _first_line(error):
  """Returns type and message of an exception, e.g. "KeyError: 'x'"."""
  said = traceback.format_exception_only(type(error), error)[-1]
  return said.splitlines()[0].rstrip(".")


def _where(error, own_file=None):
  """Returns where an exception was raised, a clause; "" if not in a file.

  Args:
    error: exception that was caught.
    own_file: str, of the strategy. If a function of another file raised the
      error, the line here that called it is named, too.
  """
  frames = [frame for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename not in (__file__, importlib.__file__) and
            not frame.filename.startswith("<frozen ")]
  if not frames:
    return ""
  said = ", raised in %s, line %s" % (frames[-1].filename, frames[-1].lineno)
  own = [frame for frame in frames if frame.filename == own_file]
  if own and own[-1] is not frames[-1]:
    said += ", called in %s, line %s" % (own[-1].filename, own[-1].lineno)
  return said
