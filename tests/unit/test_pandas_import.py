"""The service does without pandas, in a process of its own: the test's has imported it already."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from service.runtime.pandas_import import do_without_pandas
do_without_pandas()
import datetime
import pyarrow as pa
import pyarrow.compute as pc
dates = pa.array([datetime.datetime(2020, 1, 1)], pa.timestamp("us"))
assert pc.is_in(dates, value_set=dates).to_pylist() == [True]
assert pa.Table.from_pylist([{"a": ["x"]}]).to_pylist() == [{"a": ["x"]}]
assert "pandas" not in sys.modules
import pandas
"""


def test_pyarrow_works_without_pandas_which_can_still_be_imported() -> None:
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
