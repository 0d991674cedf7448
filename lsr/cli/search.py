"""`lsr search`: the best documents for a query, straight from the collection's folder."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from lsr.cli.collector import collector_paused
from lsr.cli.output import JsonFlag, emphasise, fit, plain, print_json

if TYPE_CHECKING:
    from lsr.documents import SparseInput
    from lsr.results import SearchResult
    from lsr.search.matched_words import MatchedWord
    from lsr.search.request import Query, Rescore, Sort

EXPLAINED_TERMS: Final = 8


class FusionMethod(StrEnum):
    """How the scores of several lists are made comparable, see lsr/search/fusion.py."""

    scaled = "scaled"
    rrf = "rrf"
    minmax = "minmax"
    zscore = "zscore"
    sum = "sum"


@collector_paused()
def search(
    directory: Annotated[Path, typer.Argument(help="A collection.", metavar="DIR")],
    query: Annotated[str | None, typer.Argument(help="The query's text.", metavar="QUERY", show_default=False)] = None,
    k: Annotated[int | None, typer.Option("-k", help="How many hits.  [default: 10]", metavar="N")] = None,
    using: Annotated[
        str | None, typer.Option(help="Rank by this named vector alone, unrescored.", metavar="NAME")
    ] = None,
    sparse: Annotated[
        str | None, typer.Option(help="A sparse vector in place of QUERY: '{\"lobster\": 2.1}'.", metavar="JSON")
    ] = None,
    like: Annotated[
        list[str] | None, typer.Option(help="Documents in place of QUERY; can be repeated.", metavar="ID")
    ] = None,
    unlike: Annotated[list[str] | None, typer.Option(help="With --like: stay away from these.", metavar="ID")] = None,
    fuse: Annotated[
        str | None,
        typer.Option(help="Fuse these vectors instead of the defaults: default=1,bm25=1.", metavar="NAME=WEIGHT,…"),
    ] = None,
    method: Annotated[FusionMethod, typer.Option(help="How --fuse makes scores comparable.")] = FusionMethod.scaled,
    rescore: Annotated[
        str | None,
        typer.Option(help="Rescore by this dense vector, or none.", metavar="NAME[:CANDIDATES[:WEIGHT]]|none"),
    ] = None,
    filter: Annotated[
        str | None, typer.Option(help='Only documents that match: \'{"year": {"gte": 2019}}\'.', metavar="JSON")
    ] = None,
    must: Annotated[
        list[str] | None, typer.Option(help="A word that hits must hold; repeatable.", metavar="WORD")
    ] = None,
    facet: Annotated[
        list[str] | None, typer.Option(help="Count this field's values; repeatable.", metavar="FIELD")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(help="One hit per value: parent, or a field.", metavar="FIELD")
    ] = None,
    sort: Annotated[str | None, typer.Option(help="All matches by a field.", metavar="FIELD[:asc|desc]")] = None,
    min_score: Annotated[float | None, typer.Option(help="Leave out hits below it.", metavar="X")] = None,
    feedback: Annotated[bool, typer.Option("--feedback", help="Expand the query from its first hits.")] = False,
    total: Annotated[bool, typer.Option("--total", help="Count all matches.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the words that matched, and their terms' weights.")
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Search exactly instead of approximately.")] = False,
    recall: Annotated[
        float | None, typer.Option(help="Share of the true best that the first stages must find.", metavar="X")
    ] = None,
    query_cut: Annotated[
        int | None, typer.Option(help="Terms of the query that lead to candidates.", metavar="N")
    ] = None,
    heap_factor: Annotated[
        float | None, typer.Option(help="Above 0, at most 1; lower: more thorough.", metavar="X")
    ] = None,
    n_knn: Annotated[
        int | None,
        typer.Option(help="Neighbours of each hit to score, at most those of the index (n_knn).", metavar="N"),
    ] = None,
    json: JsonFlag = False,
) -> int:
    """Search a collection in its folder; no service is needed."""
    if sum(one is not None for one in (query, sparse, like)) != 1:
        raise typer.BadParameter("give one of a text, --sparse and --like", param_hint="QUERY")
    from lsr.cli.arguments import one_collection, parse_object
    from lsr.cli.output import say
    from lsr.collection import Collection
    from lsr.search.matched_words import words_of_lists
    from lsr.search.request import Facets, Feedback, Fusion, GroupBy, Leg, Like, Must
    from lsr.settings import load_settings

    settings = load_settings({"k": k})
    conditions = parse_object(filter, "--filter")
    wanted = query if query is not None else Like(tuple(like), tuple(unlike or ())) if like else _sparse(sparse)
    asked: Query = wanted
    if fuse is not None:
        weights = _weights(fuse)
        asked = Fusion([Leg(wanted, name) for name in weights], method.value, tuple(weights.values()))
    with Collection.open(one_collection(directory)) as collection:
        result = collection.search(
            asked,
            using=using,
            k=settings.k,
            exact=exact,
            recall=recall,
            query_cut=query_cut,
            heap_factor=heap_factor,
            n_knn=n_knn,
            filter=conditions,
            rescore=_rescore(rescore),
            must=Must(tuple(must)) if must else None,
            facets=Facets(tuple(facet)) if facet else None,
            group_by=GroupBy(group_by) if group_by else None,
            sort=_sort(sort),
            min_score=min_score,
            prf=Feedback() if feedback else None,
            total=total,
            explain_terms=EXPLAINED_TERMS if explain else 0,
        )
        words = words_of_lists(collection.find_encoder, result.hits, EXPLAINED_TERMS) if explain else None
    if json:
        from service.messages.rendering import Shown, render_search

        shown = render_search(
            result,
            took_ms=result.timings.total,
            shown=Shown(("metadata", "title", "text"), None, EXPLAINED_TERMS if explain else None),
            words=words,
        )
        print_json(shown)
    else:
        _print_hits(result, words)
        for name, counts in result.facets.items():
            _print_facet(name, counts)
        if total:
            print(f"{result.total.value:,} documents match")
    for warning in result.warnings:
        say(f"warning: {warning}")
    return 0


def _weights(text: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = part.strip().partition("=")
        try:
            weights[name] = float(number) if equals else 1.0
        except ValueError:
            raise typer.BadParameter(f"{part!r} is not NAME=WEIGHT", param_hint="--fuse") from None
    return weights


def _rescore(text: str | None) -> Rescore | Literal[False] | None:
    from lsr.search.request import Rescore

    if text is None:
        return None
    if text == "none":
        return False
    name, *numbers = text.split(":")
    try:
        candidates, weight = (*numbers, *("100", "1")[len(numbers) :])
        return Rescore(name, int(candidates), float(weight))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not NAME[:CANDIDATES[:WEIGHT]]", param_hint="--rescore") from None


def _sort(text: str | None) -> Sort | None:
    from lsr.search.request import Sort

    if text is None:
        return None
    field, _, order = text.partition(":")
    if order not in ("", "asc", "desc"):
        raise typer.BadParameter(f"{order!r} is neither asc nor desc", param_hint="--sort")
    return Sort(field, "desc" if order == "desc" else "asc")


def _sparse(text: str | None) -> SparseInput:
    from lsr.cli.arguments import parse_object
    from lsr.documents import parse_sparse
    from lsr.errors import InvalidDocument

    try:
        return parse_sparse(parse_object(text, "--sparse"), "sparse")
    except InvalidDocument as error:
        raise typer.BadParameter(str(error), param_hint="--sparse") from None


def _print_hits(result: SearchResult, words: list[dict[str, list[MatchedWord]]] | None) -> None:
    if not result.hits:
        print("no hits")
        return
    id_width = min(max(len(plain(hit.id)) for hit in result.hits), 40)
    for position, hit in enumerate(result.hits):
        line = f"{hit.rank:>3}  {hit.score:>8.4f}  {plain(hit.id):<{id_width}}  "
        print(fit(line + (plain(hit.document.title) or plain(hit.document.text)[:200])))
        if words is None:
            continue
        fused = len(hit.legs) > 1 or hit.boosts
        for leg in hit.legs:
            if fused:
                rank = "not in its list" if leg.rank is None else f"rank {leg.rank}"
                print(f"     {leg.contribution:>8.4f}  {plain(leg.using)} ({leg.score:.4f}, {rank})")
            if leg.using in words[position]:
                _print_words(words[position][leg.using], leg.other_terms, "  " if fused else "")
        for boost in hit.boosts:
            print(f"     {boost.contribution:>8.4f}  {plain(boost.field)}")


def _print_facet(name: str, counts: Mapping[str, Any]) -> None:
    print(f"{plain(name)}:")
    for one in counts.get("values", ()):
        print(f"  {one['count']:>8,}  {plain(str(one['value']))}")
    for one in counts.get("buckets", ()):
        upper = one.get("lt", one.get("lte"))
        print(f"  {one['count']:>8,}  {one['gte']} to {upper}")
    if counts.get("other"):
        print(f"  {counts['other']:>8,}  others")
    if counts.get("missing"):
        print(f"  {counts['missing']:>8,}  without a value")


def _print_words(words: list[MatchedWord], other_terms: float, indent: str) -> None:
    """Print each word's contribution, and the terms whose weights make it up."""
    shown = [plain(one.word or one.terms[0].token) for one in words]
    width = max(map(len, shown), default=0)
    for word, one in zip(shown, words, strict=True):
        products = []
        for term in one.terms:
            name = "" if one.word is None or term.token == word.casefold() else f" {plain(term.token)}"
            products.append(f"{term.query_weight:.4f} × {term.doc_weight:.4f}{name}")
        print(f"     {indent}{one.contribution:>8.4f}  {emphasise(word.ljust(width))}  = {' + '.join(products)}")
    if abs(other_terms) >= 0.00005:  # a difference in the last bits is not a term
        print(f"     {indent}{other_terms:>8.4f}  other terms")
