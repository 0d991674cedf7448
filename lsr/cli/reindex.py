"""`lsr reindex`: a collection's documents in a new collection, with vectors added, encoded again or left out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lsr.cli.arguments import (
    INDEX_SETTING,
    IndexSettingOption,
    SettingOption,
    one_collection,
    parse_object,
    parse_settings,
    stored_name,
)
from lsr.cli.output import JsonFlag, human_bytes, print_json, progress_bar, say

if TYPE_CHECKING:
    from lsr.reindexing import ReindexReport
    from lsr.storage.alias_file import Alias, AliasFile
    from lsr.vectors import VectorConfig

TITLES = "titles"


def reindex(
    directory: Annotated[Path, typer.Argument(help="The collection that is read.", metavar="DIR")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new collection.", metavar="NEW")],
    add: Annotated[
        list[str] | None,
        typer.Option(
            help="Add a vector: bm25=bm25, or meaning=dense:lsr-mini; can be repeated.", metavar="NAME=[dense:]ENCODER"
        ),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="Leave this vector out; can be repeated.", metavar="NAME")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Encode --using again with bm25, lsr-mini, or a checkpoint's name or path.  "
            "[default: lsr-mini, where none of --add, --remove, --schema and --index-setting is given]",
            metavar="NAME|PATH",
        ),
    ] = None,
    setting: SettingOption = None,
    index_setting: IndexSettingOption = None,
    using: Annotated[
        str, typer.Option(help="Which named vector is encoded again; others are copied.", metavar="NAME")
    ] = "default",
    search: Annotated[
        str | None,
        typer.Option(
            help="New search defaults, or pipeline for those of a new lsr-mini collection.  [default: those of DIR]",
            metavar="JSON|pipeline",
        ),
    ] = None,
    schema: Annotated[
        str | None, typer.Option(help="New metadata fields.  [default: those of DIR]", metavar="JSON")
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            help="Compare both collections: a file of queries (JSONL, TSV, or a text on each line), or titles for "
            "those of 100 documents.  [default: titles, with --alias]",
            metavar="QUERIES|titles",
        ),
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option(help="With --compare: judgements, for nDCG@10 of both.", metavar="FILE")
    ] = None,
    alias: Annotated[
        str | None, typer.Option(help="Let this alias stand for NEW, after the comparison.", metavar="NAME")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --alias: do not ask.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, mps.  [default: auto]", metavar="NAME")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")] = False,
    threads: Annotated[int | None, typer.Option(help="Default: all cores.", metavar="N")] = None,
    json: JsonFlag = False,
) -> int:
    """Copy a collection with vectors, fields or indexes changed.

    Adds vectors, encodes one again, changes the metadata fields or rebuilds the indexes, in a new collection. DIR
    is only read and may be served meanwhile; what is written to it after the start is not in NEW. Vectors that stay
    are copied as they are stored. lsr alias FOLDER NAME --back returns an alias to the collection from before.
    """
    from lsr.cli.reindex_comparison import Comparison, compare_and_print
    from lsr.comparing import read_queries
    from lsr.errors import ExitCode
    from lsr.reindexing import reindex as run_reindex
    from lsr.settings import load_settings

    if qrels is not None and compare in (None, TITLES):
        raise typer.BadParameter("judgements need their queries: --compare FILE", param_hint="--qrels")
    source = one_collection(directory)
    queries = None if compare in (None, TITLES) else read_queries(Path(str(compare)))
    aliases = None if alias is None else _checked_alias(alias, source, out, yes, json)
    settings = load_settings({"encoder": encoder, "device": device, "threads": threads})
    own, of_added = _split_settings(parse_settings(setting))
    of_index = parse_settings(index_setting, INDEX_SETTING)
    added = _parse_added(add or [], of_added)
    replaced = {}
    if encoder is not None or not (add or remove or of_index or schema is not None):
        replaced[using] = _config_again(source, using, stored_name(settings.encoder), own)
    elif own:
        key = next(iter(own))
        named = " or ".join(f"{name}.{key}" for name in added)
        raise typer.BadParameter(f"{key}: of which vector? {named or 'Nothing is encoded'}", param_hint="--setting")
    with progress_bar() as progress:
        report = run_reindex(
            source,
            out,
            add=added,
            replace=replaced,
            remove=remove or (),
            schema=parse_object(schema, "--schema"),
            search=_parse_search(search),
            index_settings=of_index,
            resume=resume,
            device=settings.device,
            threads=settings.threads,
            progress=progress,
        )
    if not json:
        _print_report(report, out)
    comparison: Comparison | None = None
    if compare is not None or aliases is not None:
        comparison = compare_and_print(source, out, queries, qrels, json)
    moved: Alias | None = None
    if aliases is not None and alias is not None:
        moved = _move_alias(aliases, alias, source, out, report.seq, yes, quiet=json)
    if json:
        shown: dict[str, Any] = report.to_json()
        if comparison is not None:
            shown["comparison"] = comparison.to_json()
        if moved is not None:
            shown["alias"] = {"alias": alias, "collection": moved.collection, "previous": moved.previous}
        print_json(shown)
    return ExitCode.OK if alias is None or moved is not None else ExitCode.FAILURE


def on_terminal() -> bool:
    """Whether there is a person who can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _split_settings(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the settings without a name before a dot, and the others by that name."""
    own: dict[str, Any] = {}
    named: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        name, dot, rest = key.partition(".")
        if dot:
            named.setdefault(name, {})[rest] = value
        else:
            own[key] = value
    return own, named


def _parse_added(texts: Sequence[str], settings: Mapping[str, dict[str, Any]]) -> dict[str, VectorConfig]:
    """Return the vectors that --add and --setting describe; raises typer.BadParameter."""
    from lsr.vectors import VectorConfig

    added: dict[str, VectorConfig] = {}
    for text in texts:
        name, equals, made_by = (part.strip() for part in text.partition("="))
        dense = made_by.startswith("dense:")
        encoder = made_by.removeprefix("dense:").strip()
        if not name or not equals or not encoder or encoder == "dense":
            raise typer.BadParameter(f"{text!r} is not NAME=ENCODER or NAME=dense:ENCODER", param_hint="--add")
        if name in added:
            raise typer.BadParameter(f"{name} is given twice", param_hint="--add")
        made = dict(settings.get(name, {}))
        dimensions = made.pop("dimensions", None) if dense else None
        added[name] = VectorConfig(stored_name(encoder), made, dense=dense, dimensions=dimensions)
    for name in settings:
        if name not in added:
            known = ", ".join(added) or "none"
            raise typer.BadParameter(f"{name} is not an added vector; these are: {known}", param_hint="--setting")
    return added


def _config_again(source: Path, using: str, encoder: str, settings: Mapping[str, Any]) -> VectorConfig:
    """Return how a vector of the collection is encoded again: a dense one stays dense, and an index keeps its
    settings."""
    from index import IndexConfig
    from lsr.collection import Collection
    from lsr.vectors import VectorConfig

    with Collection.open(source) as collection:
        vector = collection.info().vectors.get(using)
    made = dict(settings)
    dense = vector is not None and vector.kind == "dense"
    dimensions = made.pop("dimensions", None) if dense else None
    index = IndexConfig() if vector is None or vector.index is None else IndexConfig.from_json(vector.index.settings)
    return VectorConfig(encoder, made, index, dense=dense, dimensions=dimensions)


def _parse_search(text: str | None) -> Mapping[str, Any] | Literal["pipeline"] | None:
    if text == "pipeline":
        return "pipeline"
    return parse_object(text, "--search")


def _checked_alias(alias: str, source: Path, out: Path, yes: bool, as_json: bool) -> AliasFile:
    """Return the folder's aliases; raises before anything is encoded if the alias could not be set afterwards."""
    from lsr.errors import CollectionExists
    from lsr.storage.alias_file import AliasFile, check_name
    from lsr.storage.layout import is_collection

    folder = source.resolve().parent
    if out.resolve().parent != folder:
        raise typer.BadParameter(f"{out} is not in {folder}: an alias is for collections of one folder")
    check_name(alias)
    check_name(out.resolve().name)
    if is_collection(folder / alias) or folder / alias == out.resolve():
        raise CollectionExists(f"{alias!r} is the name of a collection, not of an alias")
    if not yes and (as_json or not on_terminal()):
        raise typer.BadParameter("there is no terminal to ask on: give --yes, too", param_hint="--alias")
    aliases = AliasFile(folder)
    aliases.read()
    return aliases


def _move_alias(
    aliases: AliasFile, alias: str, source: Path, out: Path, seq: int, yes: bool, *, quiet: bool
) -> Alias | None:
    """Let the alias stand for the new collection, if nothing speaks against it; None where it was left as it is."""
    from lsr.collection import Collection

    new = out.resolve().name
    by_hand = f"`lsr alias {aliases.folder} {alias} {new}` does it"
    with Collection.open(source) as collection:
        now = collection.info().seq
    if now != seq:
        say(f"{source} has changed since it was read (change {seq:,}, now {now:,}): {new} may lack documents")
        if yes:
            say(f"the alias {alias} is left as it is; {by_hand} nevertheless")
            return None
    before = aliases.read().get(alias)
    if not yes and not typer.confirm(f"{alias}: {before.collection if before else 'a new alias'} -> {new}?"):
        say(f"the alias {alias} is left as it is; {by_hand} later")
        return None
    moved = aliases.point(alias, new)
    if not quiet:
        back = f"; back: lsr alias {aliases.folder} {alias} --back" if moved.previous is not None else ""
        print(f"{alias} -> {new}{back}")
    return moved


def _print_report(report: ReindexReport, out: Path) -> None:
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    load = report.load
    print(f"{out}: {load.accepted:,} documents in {load.seconds:.1f} s, {human_bytes(size)}")
    for what, names in (("encoded", report.encoded), ("copied", report.copied), ("left out", report.removed)):
        if names:
            print(f"  {what}: {', '.join(names)}")
    if report.without_text:
        print(f"  without a text, so without the encoded vectors: {report.without_text:,} documents")
    if load.empty:
        print(f"  without any term, found by no query: {load.empty:,}")
