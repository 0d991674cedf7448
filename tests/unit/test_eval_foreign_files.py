"""Files of other tools: runs with more columns, qrels with quotes and other header names; and names that are near."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval.catalogue import nearest_names
from eval.comparison.significance import mean_interval, paired_difference
from eval.errors import InputFileError
from eval.qrels import read_qrels
from eval.runs import read_run


def test_a_run_may_have_more_than_six_columns(tmp_path: Path) -> None:
    file = tmp_path / "run.txt"
    file.write_text("1 Q0 a 1 2.5 a tag of words\n1 Q0 b 2 1.5 a tag of words\n")
    run = read_run(file)
    assert run.tag == "a"
    assert run.rankings["1"].doc_ids == ["a", "b"]
    file.write_text("1 Q0 a 1 2.5\n")
    with pytest.raises(InputFileError, match="5 columns"):
        read_run(file)


@pytest.mark.parametrize(
    "text",
    [
        'query-id\tcorpus-id\tscore\n"1"\t"a ""b"""\t2\n"1"\tc\t"0"\n',
        '"query-id"\t"corpus-id"\t"score"\n1\ta "b"\t2\n1\tc\t0\n',
        'qid\tdocid\trelevance\n1\ta "b"\t2\n1\tc\t0\n',
        'Query_ID\tDoc_ID\tLabel\n1\ta "b"\t2\n1\tc\t0\n',
        'corpus-id\tquery-id\tscore\na "b"\t1\t2\nc\t1\t0\n',
        'topic\titeration\tdocument\trelevance\n1\t0\ta "b"\t2\n1\t0\tc\t0\n',
    ],
)
def test_qrels_with_quotes_and_other_header_names(tmp_path: Path, text: str) -> None:
    file = tmp_path / "qrels.tsv"
    file.write_text(text)
    assert read_qrels(file) == {"1": {'a "b"': 2, "c": 0}}


def test_qrels_of_trec_with_a_header_and_without(tmp_path: Path) -> None:
    file = tmp_path / "qrels.txt"
    file.write_text("query iter docno rel\n1 0 a 2\n1 0 c 0\n")
    assert read_qrels(file) == {"1": {"a": 2, "c": 0}}
    file.write_text('1 0 "a" 2\n')  # white space separates TREC's columns, and quotes are part of an id there
    assert read_qrels(file) == {"1": {'"a"': 2}}
    file.write_text("qid\tdocid\trelevance\n1\ta\n")
    with pytest.raises(InputFileError, match=r"2 columns"):
        read_qrels(file)
    file.write_text("query document grade of a line\n1 0 a 2\n")
    with pytest.raises(InputFileError, match=r"6 columns"):
        read_qrels(file)


def test_each_near_name_is_named_once() -> None:
    near = nearest_names("vaswany", ("vaswani", "vaswani"))
    assert near.count("vaswani") == 1
    assert len(near) == len(set(near))


def test_the_order_of_the_queries_changes_no_figure_of_a_comparison() -> None:
    rng = np.random.default_rng(1)
    system, baseline = rng.random(300).round(3), rng.random(300).round(3)
    expected = paired_difference(system, baseline, resamples=500)
    assert 0.0 < expected.p_randomisation < 1.0
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(300)
        assert paired_difference(system[order], baseline[order], resamples=500) == expected
        assert mean_interval(system[order], resamples=500) == mean_interval(system, resamples=500)
