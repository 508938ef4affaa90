"""Starts the test files that take longest first, with pytest-xdist.

`--dist loadfile` starts those with the most tests first. Few tests may take
minutes, though, and one process would run them alone at the end.
"""

import collections

from xdist import scheduler

# In the order in which they start: files that take a minute and more.
FILES = ["tests/integration/test_%s.py" % name for name in (
    "multi_worker", "evaluated_runs", "engines", "benchmarks", "docs",
    "gpu_benchmark", "domain_gain", "heads_first", "averaged_runs")] + [
        "tests/checkpoints/test_saver.py"]


class _Queue(collections.OrderedDict):
  """The files to run, with their tests."""

  def popitem(self, last=True):
    """Removes and returns the next one."""
    for path in FILES:
      if not last and path in self:
        return path, self.pop(path)
    return super().popitem(last)


class Scheduling(scheduler.LoadFileScheduling):
  """That of `--dist loadfile`, in another order."""

  def __init__(self, config, log=None):
    super().__init__(config, log)
    self.workqueue = _Queue()
