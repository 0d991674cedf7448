"""`lsr search`: the best documents for a query, straight from the collection's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lsr.cli.output import JsonFlag, emphasise, fit, plain, print_json

if TYPE_CHECKING:
    from lsr.documents import SparseInput
    from lsr.results import SearchResult
    from lsr.search.matched_words import MatchedWord

EXPLAINED_TERMS: Final = 8


def search(
    directory: Annotated[Path, typer.Argument(help="A collection.", metavar="DIR")],
    query: Annotated[str | None, typer.Argument(help="The query's text.", metavar="QUERY", show_default=False)] = None,
    k: Annotated[int | None, typer.Option("-k", help="How many hits.  [default: 10]", metavar="N")] = None,
    using: Annotated[str, typer.Option(help="Which of the collection's named vectors.", metavar="NAME")] = "default",
    sparse: Annotated[
        str | None, typer.Option(help="A sparse vector in place of QUERY: '{\"lobster\": 2.1}'.", metavar="JSON")
    ] = None,
    filter: Annotated[
        str | None, typer.Option(help='Only documents that match: \'{"year": {"gte": 2019}}\'.', metavar="JSON")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the words that matched, and their terms' weights.")
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Search exactly instead of approximately.")] = False,
    json: JsonFlag = False,
) -> int:
    """Search a collection in its folder; no service is needed."""
    if (query is None) == (sparse is None):
        raise typer.BadParameter("give either a text or --sparse", param_hint="QUERY")
    from lsr.cli.arguments import one_collection, parse_object
    from lsr.cli.output import say
    from lsr.collection import Collection
    from lsr.search.matched_words import matched_words
    from lsr.settings import load_settings

    settings = load_settings({"k": k})
    conditions = parse_object(filter, "--filter")
    wanted = query if query is not None else _sparse(sparse)
    with Collection.open(one_collection(directory)) as collection:
        result = collection.search(
            wanted,
            using=using,
            k=settings.k,
            exact=exact,
            filter=conditions,
            explain_terms=EXPLAINED_TERMS if explain else 0,
        )
        words = matched_words(collection.find_encoder(using), result.hits, EXPLAINED_TERMS) if explain else None
    if json:
        from service.messages.rendering import Shown, render_search

        shown = render_search(
            result,
            took_ms=result.timings.total,
            shown=Shown(("metadata", "title", "text"), None, EXPLAINED_TERMS if explain else None),
            words=None if words is None else (words, [{} for _ in words]),
        )
        print_json(shown)
    else:
        _print_hits(result, words)
    for warning in result.warnings:
        say(f"warning: {warning}")
    return 0


def _sparse(text: str | None) -> SparseInput:
    from lsr.cli.arguments import parse_object
    from lsr.documents import parse_sparse
    from lsr.errors import InvalidDocument

    try:
        return parse_sparse(parse_object(text, "--sparse"), "sparse")
    except InvalidDocument as error:
        raise typer.BadParameter(str(error), param_hint="--sparse") from None


def _print_hits(result: SearchResult, words: list[list[MatchedWord]] | None) -> None:
    if not result.hits:
        print("no hits")
        return
    id_width = min(max(len(plain(hit.id)) for hit in result.hits), 40)
    for position, hit in enumerate(result.hits):
        line = f"{hit.rank:>3}  {hit.score:>8.4f}  {plain(hit.id):<{id_width}}  "
        print(fit(line + (plain(hit.document.title) or plain(hit.document.text)[:200])))
        if words is not None:
            _print_words(words[position], hit.other_terms)


def _print_words(words: list[MatchedWord], other_terms: float) -> None:
    """Print each word's contribution, and the terms whose weights make it up."""
    shown = [plain(one.word or one.terms[0].token) for one in words]
    width = max(map(len, shown), default=0)
    for word, one in zip(shown, words, strict=True):
        products = []
        for term in one.terms:
            name = "" if one.word is None or term.token == word.casefold() else f" {plain(term.token)}"
            products.append(f"{term.query_weight:.4f} × {term.doc_weight:.4f}{name}")
        print(f"     {one.contribution:>8.4f}  {emphasise(word.ljust(width))}  = {' + '.join(products)}")
    if abs(other_terms) >= 0.00005:  # what the sums differ by in the last bits is no term
        print(f"     {other_terms:>8.4f}  other terms")
