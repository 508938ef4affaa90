"""absl flags generated from the fields of config.py, and docs/flags.md.

    python -m bert_e2e.flags > docs/flags.md
"""

import collections
import dataclasses
import os
import sys
import textwrap

from absl import app, flags

from bert_e2e import config as config_lib
from bert_e2e import recipes
from bert_e2e.common import file_io, input_files

# What people write for a boolean.
_BOOLEANS = dict(
    {word: True for word in ("true", "t", "1", "yes", "y", "on")},
    **{word: False for word in ("false", "f", "0", "no", "n", "off")})
# What create_pretraining_data.py and show_examples.py need to build instances.
INSTANCE_FLAGS = ("vocab_file", "random_seed", "strategy",
                  *config_lib.names_of(config_lib.ReaderConfig),
                  *config_lib.names_of(config_lib.TokenizerConfig),
                  *config_lib.names_of(config_lib.InstanceConfig))


class _PathParser(flags.ArgumentParser):
  """Parses the path of one file or directory; see file_io.expand_user."""

  syntactic_help = "a path"

  def parse(self, argument):
    return file_io.expand_user(argument)

  def flag_type(self):
    return "string"


def define_path(name, default, help_text):
  """Defines a flag for the path of one file or directory."""
  flags.DEFINE(_PathParser(), name, default, help_text,
               serializer=flags.ArgumentSerializer())


class _PathsParser(_PathParser):
  """Parses paths that are separated by commas; see input_files.split_list."""

  syntactic_help = "paths separated by commas"

  def parse(self, argument):
    if isinstance(argument, str):
      argument = input_files.split_list(argument)
    return [super(_PathsParser, self).parse(path) for path in argument]


def define_paths(name, default, help_text):
  """Defines a flag for a list of paths of one file or directory each."""
  flags.DEFINE(_PathsParser(), name, default, help_text,
               serializer=flags.ArgumentSerializer())


class _FloatsParser(flags.ArgumentParser):
  """Parses numbers that are separated by commas."""

  syntactic_help = "numbers separated by commas"

  def parse(self, argument):
    if isinstance(argument, str):
      argument = argument.split(",") if argument.strip() else []
    return [float(number) for number in argument]

  def flag_type(self):
    return "list of floats"


def _define_floats(name, default, help_text):
  flags.DEFINE(_FloatsParser(), name, default, help_text,
               serializer=flags.ArgumentSerializer())


class _IntegerOrAutoParser(flags.IntegerParser):
  """Parses an integer, or the word auto."""

  syntactic_help = "an integer or auto"

  def parse(self, argument):
    if argument == config_lib.AUTO:
      return argument
    return super().parse(argument)


def _define_integer_or_auto(name, default, help_text):
  flags.DEFINE(_IntegerOrAutoParser(), name, default, help_text,
               serializer=flags.ArgumentSerializer())


_DEFINE = {"string": flags.DEFINE_string, "path": define_path,
           "integer": flags.DEFINE_integer,
           "integer_or_auto": _define_integer_or_auto,
           "float": flags.DEFINE_float, "boolean": flags.DEFINE_bool,
           "list": flags.DEFINE_list, "floats": _define_floats}


def is_flag(name):
  """Tells whether a field is offered as a flag: not if there is no choice."""
  option = config_lib.option_of(name)
  return option.kind != "enum" or len(option.choices) > 1


def define(names, **defaults):
  """Defines the flags of some fields.

  Args:
    names: iterable of names of fields, of any group.
    **defaults: defaults that replace those of the fields.
  """
  for name in filter(is_flag, names):
    option = config_lib.option_of(name)
    default = defaults.get(name, config_lib.default_of(name))
    if option.kind == "enum":
      flags.DEFINE_enum(name, default, list(option.choices), option.help)
    else:
      _DEFINE[option.kind](name, default, option.help)


def define_all():
  """Defines the flags of run_pretraining_e2e.py: those of all fields."""
  for group in config_lib.GROUPS.values():
    names = config_lib.names_of(group)
    define(names)
    flags.mark_flags_as_required([
        name for name in names if config_lib.option_of(name).is_required])


def group_from_flags(group, values):
  """Returns an instance of a config group with the values of parsed flags.

  Args:
    group: a class of config.py. A field without a flag keeps its default.
    values: absl.flags.FlagValues.

  Raises:
    ValueError: a value is out of bounds.
  """
  return group(**{
      field.name: values[field.name].value
      for field in dataclasses.fields(group) if field.name in values
  }).validated()


def config_from_flags(values):
  """Returns the config.Config of parsed flags.

  Args:
    values: absl.flags.FlagValues with the flags of `define_all`.

  Raises:
    ValueError: a value is out of bounds, flags contradict each other, or there
      is no text.
  """
  groups = {name: group_from_flags(group, values)
            for name, group in config_lib.GROUPS.items()}
  given = frozenset(name for name in values if values[name].present and
                    config_lib.is_field(name))
  if groups["optimizer"].stages:  # Each stage has its own number for "auto".
    groups["instances"] = dataclasses.replace(
        groups["instances"],
        max_predictions_per_seq=values["max_predictions_per_seq"].value)
  config = config_lib.Config(given=given, **groups).validated()
  config.mixture.parts(config.data.input_file)
  return recipes.apply(config)


def run(main):
  """Parses the command line and runs a program, as absl.app.run does.

  Flags may follow other arguments, so that `check_no_arguments` in `main` sees
  these before a flag behind them is missed.

  Args:
    main: function from the list of the program's name and the arguments that
      are not flags.
  """
  app.run(main, flags_parser=_parse)


def _parse(argv):
  """Returns the arguments that are not flags; sets the flags."""
  try:
    check_booleans(argv[1:], flags.FLAGS)
  except ValueError as e:
    sys.exit("%s: %s" % (os.path.basename(argv[0]), e))
  flags.FLAGS.set_gnu_getopt()
  return app.parse_flags_with_usage(argv)


def check_booleans(arguments, values):
  """Checks that no boolean flag has its value in an argument of its own.

  `--do_lower_case False` would turn the flag on and leave `False` over.

  Args:
    arguments: list of str, the command line without the program's name.
    values: absl.flags.FlagValues, which know the flags.

  Raises:
    ValueError: one has.
  """
  left = collections.deque(arguments)
  while left:
    argument = left.popleft()
    name = argument.lstrip("-")
    if argument == "--":
      return
    if name == argument or name not in values or not left:
      continue
    if not values[name].boolean:
      left.popleft()  # Its value.
    elif left[0].lower() in _BOOLEANS:
      raise ValueError(
          "The value of a boolean flag follows an equals sign: instead of "
          "--%s %s, write --%s=%s." % (
              name, left[0], name, _BOOLEANS[left[0].lower()]))


def check_no_arguments(arguments):
  """Raises ValueError if there are arguments other than flags.

  `--input_file=*.txt` is one flag if it is quoted, but in `--input_file *.txt`
  the shell makes the second file an argument.
  """
  if arguments:
    raise ValueError(
        "Arguments without a flag: %s. Quote a pattern of several files, or "
        "join them by commas." % " ".join(arguments))


_TITLES = {
    "run": "What to do", "data": "Data", "mixture": "Mixtures",
    "reader": "Reading text",
    "tokenizer": "Tokenizer",
    "instances": "Training instances", "packing": "Packing",
    "optimizer": "Optimizer and schedule", "evaluation": "Evaluation",
    "checkpoint": "Model and checkpoints", "hardware": "Hardware"}
_INTRODUCTION = """\
# Flags

<!-- Generated by `python -m bert_e2e.flags > docs/flags.md`; do not edit. -->

The flags of `run_pretraining_e2e.py`. A flag marked with ● exists in
google-research/bert's `run_pretraining.py` or `create_pretraining_data.py`
under the same name and with the same default. Boolean flags are written
`--do_train` or `--do_train=true`, and `--do_train=false` or `--nodo_train`.
"""


def _default_text(name):
  option, default = config_lib.option_of(name), config_lib.default_of(name)
  if option.is_required:
    return "required"
  if option.default_text:
    return option.default_text
  if default is None or default == ():
    return "none"
  if isinstance(default, bool):
    return str(default).lower()
  return "`%s`" % default


def _row(name):
  option = config_lib.option_of(name)
  details = option.help
  if option.kind == "enum":
    details += " One of %s." % ", ".join("`%s`" % c for c in option.choices)
  elif option.bounds():
    details += " Must be %s." % option.bounds()
  return "| `--%s`%s | %s | %s |" % (
      name, " ●" if option.in_original else "", _default_text(name), details)


def to_markdown():
  """Returns the content of docs/flags.md."""
  lines = [_INTRODUCTION]
  for group_name, group in config_lib.GROUPS.items():
    lines += ["## %s\n" % _TITLES[group_name],
              textwrap.dedent(group.__doc__ or "").strip() + "\n",
              "| flag | default | |", "|---|---|---|"]
    lines += [_row(field.name) for field in dataclasses.fields(group)
              if is_flag(field.name)]
    lines.append("")
  return "\n".join(lines)


if __name__ == "__main__":
  print(to_markdown(), end="")
