"""All commands, in the order of `lsr --help`."""

from __future__ import annotations

from typing import Annotated

import typer

from lsr.cli.alias import alias
from lsr.cli.bench import bench
from lsr.cli.compare import compare
from lsr.cli.config import config
from lsr.cli.demo import demo
from lsr.cli.diagnose import diagnose
from lsr.cli.doctor import doctor
from lsr.cli.encode import encode
from lsr.cli.evaluate import evaluate
from lsr.cli.export import export
from lsr.cli.import_source import import_source
from lsr.cli.index import index
from lsr.cli.leaderboard import leaderboard
from lsr.cli.mcp import mcp
from lsr.cli.merge import merge
from lsr.cli.models import models
from lsr.cli.reindex import reindex
from lsr.cli.schema import schema
from lsr.cli.search import search
from lsr.cli.serve import serve
from lsr.cli.shards import reshard
from lsr.cli.snapshot import snapshot
from lsr.cli.train import train
from lsr.cli.tune import tune
from lsr.cli.verify import verify

app = typer.Typer(
    name="lsr",
    help="Learned sparse retrieval: index, search, serve and evaluate collections.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from lsr import __version__

        print(f"lsr {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Learned sparse retrieval: index, search, serve and evaluate collections."""


app.command("index")(index)
app.command("search")(search)
app.command("serve")(serve)
app.command("mcp")(mcp)
app.command("encode")(encode)
app.command("eval")(evaluate)
app.command("tune")(tune)
app.command("leaderboard")(leaderboard)
app.command("compare")(compare)
app.command("diagnose")(diagnose)
app.command("bench")(bench)
app.command("verify")(verify)
app.command("reindex")(reindex)
app.command("schema")(schema)
app.command("reshard")(reshard)
app.command("alias")(alias)
app.command("merge")(merge)
app.add_typer(snapshot, name="snapshot")
app.command("import")(import_source)
app.command("export")(export)
app.command("train")(train)
app.command("demo")(demo)
app.command("models")(models)
app.add_typer(config, name="config")
app.command("doctor")(doctor)
