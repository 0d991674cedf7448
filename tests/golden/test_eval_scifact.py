"""BM25 on SciFact against the published figure, from the text in the repository to the last measure."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval import SearchSettings, evaluate
from lsr.corpora import open_corpus
from lsr.writing.bulk_load import index_corpus

SCIFACT = Path(__file__).parents[1] / "data" / "scifact"
PUBLISHED_NDCG = 0.679  # Pyserini's and Anserini's BM25 "flat" on BEIR SciFact, k1 0.9, b 0.4
PUBLISHED_RECALL = 0.925


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scifact") / "index"
    index_corpus(open_corpus(str(SCIFACT)), folder, encoder="bm25")
    return folder


def test_bm25_on_scifact_is_within_005_of_the_published_figure(collection):
    result = evaluate(SCIFACT, collection=collection)
    assert result.means["nDCG@10"] == pytest.approx(PUBLISHED_NDCG, abs=0.005)
    assert result.means["Recall@100"] == pytest.approx(PUBLISHED_RECALL, abs=0.005)
    assert result.warnings == ()  # all counts are the official ones


def test_approximate_search_on_scifact_loses_less_than_002(collection):
    exact = evaluate(SCIFACT, collection=collection, measures=["nDCG@10"])
    approximate = evaluate(SCIFACT, collection=collection, measures=["nDCG@10"], search=SearchSettings(exact=False))
    assert approximate.means["nDCG@10"] == pytest.approx(exact.means["nDCG@10"], abs=0.002)
