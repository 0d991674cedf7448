"""What `lsr index --shards` and `lsr serve --ray` do, and `lsr reshard`: collections in shards, on a Ray cluster."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lsr.cli.corpus_options import ProblemLog
from lsr.cli.output import JsonFlag, exit_code, human_bytes, print_json, progress_bar

if TYPE_CHECKING:
    from lsr.corpora import Fields
    from lsr.errors import ExitCode
    from lsr.sharding.manifest import Publication
    from lsr.sharding.places import Place
    from lsr.vectors import VectorConfig
    from service.settings import ServiceSettings

ShardsOption = Annotated[
    int | None,
    typer.Option(help="Build a collection in N shards; --out may be s3://BUCKET/PATH.", metavar="N", min=1),
]
RayOption = Annotated[
    str | None,
    typer.Option("--ray", help="Ray cluster: HOST:6379, auto, or local for one on this machine.", metavar="ADDRESS"),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(help="Workers that build shards.  [default: the cluster's cores, at most one a shard]", min=1),
]
WorkOption = Annotated[
    Path | None,
    typer.Option(
        "--work", help="Folder that all workers see, for a build into an object store.  [default: in ~/.cache/lsr]"
    ),
]
ReplicasOption = Annotated[int, typer.Option(help="With --ray: replicas of each shard.", min=1)]
CacheOption = Annotated[
    Path, typer.Option("--cache", help="With --ray: folder for shards that come from an object store.")
]
LiveOption = Annotated[
    Path | None,
    typer.Option(
        "--live", help="With --ray: accept writes, and keep them below this folder of the machines that run writers."
    ),
]
DEFAULT_CACHE = Path("~/.cache/lsr/shards")


def expanded(corpus: str) -> list[str]:
    """Return the files that a pattern such as `data/*.jsonl.zst` names, in alphabetical order, or the corpus itself."""
    if not any(sign in corpus for sign in "*?["):
        return [corpus]
    found = sorted(glob.glob(corpus))  # noqa: PTH207 - a pattern may be absolute
    if not found:
        raise typer.BadParameter(f"no file matches {corpus}", param_hint="CORPUS")
    return found


def index_sharded(
    inputs: Sequence[str],
    out: str,
    vectors: Mapping[str, VectorConfig],
    *,
    corpus_format: str,
    chunk: int | None,
    fields: Fields,
    schema: Mapping[str, str] | None,
    shards: int,
    ray: str,
    workers: int | None,
    work: Path | None,
    resume: bool,
    device: str,
    strict: bool,
    as_json: bool,
) -> ExitCode:
    """Build the shards, publish them, and print the report. Raises what `build_shards` raises."""
    from encoders.errors import UnknownEncoder
    from lsr.default_pipeline import defaults_for
    from lsr.search.defaults import stored_defaults
    from lsr.sharding.building import Build, new_plan
    from lsr.sharding.places import place_of
    from lsr.sharding.publishing import next_generation
    from lsr.sharding.splitting import check_count
    from lsr.storage.layout import SEARCH_SETTING
    from service.cluster.connection import connected
    from service.cluster.indexing import build_shards

    check_count(shards)
    place = place_of(out)
    problems = ProblemLog(inputs[0] if len(inputs) == 1 else f"{len(inputs)} files", strict=strict)
    defaults = stored_defaults(dict(vectors), defaults_for(vectors)).get(SEARCH_SETTING)
    with connected(ray) as cluster, progress_bar() as progress:
        count = workers or max(1, min(shards, int(cluster.cluster_resources().get("CPU", 1))))
        plan = new_plan(
            inputs,
            format=corpus_format,
            chunk=chunk,
            fields=fields,
            shards=shards,
            workers=count,
            generation=next_generation(place),
            vectors=vectors,
            schema=schema,
            search=defaults,
            device=device,
        )
        build = Build.begin(_root(place, work), plan, resume=resume)
        try:
            report = build_shards(
                cluster, build, place, count, progress, lambda _, line, error: problems.add(line, error)
            )
        except UnknownEncoder:
            if not resume:
                build.abandon()  # a build with another name of an encoder cannot go on with it
            raise
    problems.close()
    described = {
        "accepted": report.accepted,
        "failed": report.failed,
        "empty": report.empty,
        "lines": report.lines,
        "segments": report.segments,
        **_shown(report.publication),
    }
    if as_json:
        print_json(described)
    else:
        _print(place, report.publication)
        if report.failed:
            print(f"  skipped lines: {report.failed:,}")
    return exit_code(report.accepted, report.failed)


def serve_sharded(
    uri: str,
    *,
    ray: str,
    replicas: int,
    cache: Path,
    live: Path | None,
    host: str,
    port: int,
    api_key_file: Path | None,
    insecure: bool,
    settings: ServiceSettings,
    on_ready: Callable[[str], None],
) -> int:
    """Serve a publication until Ctrl-C. Raises what `deployed` raises."""
    from lsr.sharding.places import place_of
    from lsr.sharding.publishing import published
    from service.cluster.connection import connected
    from service.cluster.deployment import ServingOptions
    from service.cluster.serving import deployed
    from service.cluster.writers import LiveOptions
    from service.server import serve

    published(place_of(uri))  # what is wrong with it is said before a cluster starts
    options = ServingOptions(replicas, cache, live=None if live is None else LiveOptions(live))
    with connected(ray), deployed(uri, options) as store:
        serve(
            lambda: store,
            host=host,
            port=port,
            api_key_file=api_key_file,
            insecure=insecure,
            settings=settings,
            on_ready=on_ready,
        )
    return 0


def reshard(
    source: Annotated[
        str, typer.Argument(help="A collection's folder, or where shards are published.", metavar="DIR|URI")
    ],
    shards: Annotated[
        int | None,
        typer.Option("--shards", help="How many shards there will be.  [default: those that are published]", min=1),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Where to publish.  [default: DIR|URI]", metavar="DIR|URI")
    ] = None,
    live: Annotated[
        Path | None,
        typer.Option(
            "--live", help="Include what was written through `lsr serve --live` to this folder.", metavar="DIR"
        ),
    ] = None,
    work: WorkOption = None,
    threads: Annotated[int | None, typer.Option(help="Threads; default: all cores.", metavar="N")] = None,
    json: JsonFlag = False,
) -> int:
    """Change the number of shards, or publish live writes.

    No text is encoded again. The result is published as a new generation; scores stay the same to the last bit, but
    for document frequencies, which count all documents of the new generation.
    """
    from lsr.errors import QueryError
    from lsr.sharding.places import place_of
    from lsr.sharding.publishing import find_published, next_generation, publish, published
    from lsr.sharding.resharding import publish_live, reshard_publication
    from lsr.sharding.splitting import split_collection
    from lsr.storage.layout import is_collection

    target = place_of(out or source)
    generation = next_generation(target)
    root = _root(target, work)
    folded: dict[str, Any] = {}
    with progress_bar() as progress:
        if is_collection(Path(source)) and find_published(place_of(source)) is None:
            if out is None or shards is None or live is not None:
                raise QueryError(
                    "a collection becomes shards with --shards N and --out, which says where they are published; "
                    "--live is for documents that were written to shards",
                    field="out" if out is None else "shards" if shards is None else "live",
                )
            publication = split_collection(
                Path(source), root, shards, generation=generation, threads=threads, progress=progress
            )
            publish(target, publication, root)
        else:
            place = place_of(source)
            before = published(place)
            count = shards or len(before.shards)
            if live is None:
                publication = reshard_publication(
                    place, before, root, count, generation=generation, threads=threads, progress=progress
                )
                publish(target, publication, root)
            else:
                publication, folder = publish_live(
                    place, before, target, root, count, live, generation=generation, threads=threads, progress=progress
                )
                folded["folded"] = str(folder)
    if json:
        print_json({**_shown(publication), **folded})
    else:
        _print(target, publication)
        for folder in folded.values():
            print(f"  it has the documents of {folder}, which can be removed once routers answer from it")
    return 0


def _root(place: Place, work: Path | None) -> Path:
    """Return the folder in which shards are built: the place itself, or one of this machine for an object store."""
    import hashlib

    if place.folder is not None:
        return place.folder
    if work is not None:
        return work.absolute()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "lsr" / "building" / hashlib.sha256(place.uri.encode()).hexdigest()[:16]


def _shown(publication: Publication) -> dict[str, Any]:
    return {
        "generation": publication.generation,
        "documents": publication.documents,
        "shards": [
            {"name": entry.name, "documents": entry.documents, "digest": entry.digest, "bytes": _size(entry)}
            for entry in publication.shards
        ],
    }


def _size(entry: Any) -> int:
    return sum(file.bytes for file in entry.files.values())


def _print(place: Place, publication: Publication) -> None:
    print(
        f"{place.uri}: generation {publication.generation}, {publication.documents:,} documents in "
        f"{len(publication.shards)} shards, {human_bytes(sum(_size(entry) for entry in publication.shards))}"
    )
    for entry in publication.shards:
        print(f"  {entry.folder}: {entry.documents:,} documents, {human_bytes(_size(entry))}")
