"""`lsr leaderboard`: stored results next to published figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lsr.cli.output import JsonFlag, print_json


def leaderboard(
    results: Annotated[list[Path], typer.Argument(help="Files or folders of lsr eval --results.", metavar="RESULTS…")],
    baseline: Annotated[str | None, typer.Option(help="The system to compare the others with.", metavar="NAME")] = None,
    measure: Annotated[
        str | None, typer.Option(help="Measure for all columns; default: each data set's own.", metavar="NAME")
    ] = None,
    published: Annotated[bool, typer.Option(help="Show published figures with their sources.")] = True,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots.", metavar="FILE")] = None,
    mteb: Annotated[Path | None, typer.Option(help="Write MTEB result files here.", metavar="DIR")] = None,
    json: JsonFlag = False,
) -> int:
    """Show stored results next to published figures.

    Prints text, Markdown, CSV or JSON on stdout; --html and --mteb write files instead.
    """
    import eval as evaluation
    from lsr.cli.output import say
    from lsr.output_file import output_file

    if sum((markdown, csv, json)) > 1:
        raise typer.BadParameter("give only one of them", param_hint="--markdown, --csv, --json")
    cells = evaluation.read_cells(results)
    table = evaluation.build_table(cells, baseline=baseline, measure=measure, published=published)
    if html is not None:
        with output_file(html) as file:
            file.write(evaluation.to_html(table).encode())
        say(f"page written to {html}")
    if mteb is not None:
        say(f"{len(evaluation.export_mteb(cells, mteb))} files written to {mteb}")
    if json:
        print_json(evaluation.to_json(table))
    elif markdown:
        print(evaluation.to_markdown(table), end="")
    elif csv:
        print(evaluation.to_csv(table), end="")
    elif html is None and mteb is None:
        print(evaluation.to_text(table), end="")
    return 0
