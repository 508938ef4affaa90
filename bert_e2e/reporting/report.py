"""Writes the report of a run, `report.html`, into its output directory.

run_data reads what the run left there; page renders it.
"""

import os

from bert_e2e.common import file_io
from bert_e2e.reporting import page, run_data

REPORT_FILE = "report.html"


def write(output_dir):
  """Writes the report of a run.

  Args:
    output_dir: directory of the run, local or with a scheme.

  Returns:
    str, path of the report.

  Raises:
    OSError: a file cannot be read or written.
  """
  path = os.path.join(output_dir, REPORT_FILE)
  text = page.render(run_data.read(output_dir))
  # File names may hold surrogates, which UTF-8 cannot encode.
  file_io.write(path, text.encode("utf-8", "replace"))
  return path
