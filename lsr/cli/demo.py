"""`lsr demo`: the sample collection, indexed and served."""

from __future__ import annotations

import hashlib
import json
import shutil
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lsr.cli.index import index_and_report
from lsr.cli.output import say
from lsr.cli.serve import service_settings
from lsr.settings import DEFAULT_ENCODER, Settings

if TYPE_CHECKING:
    from lsr.cli.sample_vectors import SampleVectors
    from lsr.corpora import Corpus


NAME: Final = "arxiv"
SCHEMA: Final = {"category": "keyword", "date": "date"}
# Questions that do not use the words of the titles, and the abstract that answers each.
QUESTIONS: Final = {
    "how high are the mountains on the moon": "arxiv:1905.08191",
    "asking people sensitive questions in a survey": "arxiv:1803.10568",
    "detecting intrusion in big data systems": "arxiv:1611.07649",
}
_STEM: Final = "arxiv-10k"
_SAMPLE: Final = Path("samples") / f"{_STEM}.jsonl.zst"


def demo(
    port: Annotated[int | None, typer.Option(help="Port; 0: any free port.  [default: 8080]", metavar="N")] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the collection; an existing one is reused.", metavar="DIR")
    ] = Path(".demo"),
    encoder: Annotated[
        str, typer.Option(help="bm25, lsr-mini, or another encoder.", metavar="NAME|PATH")
    ] = DEFAULT_ENCODER,
    encode: Annotated[
        bool, typer.Option("--encode", help="Encode the sample now instead of using its precomputed vectors.")
    ] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="Send three queries, check the hits, and exit.")] = False,
) -> int:
    """Index and serve the sample: 10,000 arXiv abstracts."""
    from lsr.settings import load_settings

    settings = load_settings({"port": port})
    return (
        smoke_test(out, encoder=encoder, encode=encode)
        if smoke
        else demonstrate(out, settings, encoder=encoder, encode=encode)
    )


def demonstrate(out: Path, settings: Settings, *, encoder: str, encode: bool) -> int:
    """Index the sample into `out` if necessary and serve it until Ctrl-C."""
    from lsr.errors import ExitCode
    from service.logs import log_to_stderr
    from service.server import serve

    _ensure_indexed(out, encoder, encode=encode)
    log_to_stderr(settings.log_format or "text")
    serve(
        out,
        host=settings.host,
        port=settings.port,
        settings=service_settings(settings),
        on_ready=_invite,
    )
    return ExitCode.OK


def smoke_test(out: Path, *, encoder: str, encode: bool) -> int:
    """Index the sample into `out` if necessary and send three queries over HTTP; FAILURE if an answer is wrong."""
    from lsr.errors import ExitCode
    from lsr.store import CollectionStore
    from service.server import running

    _ensure_indexed(out, encoder, encode=encode)
    failures = 0
    with CollectionStore(out) as store, running(store) as url:
        for question, expected in QUESTIONS.items():
            hits = _ask(url, question)["hits"]
            found = hits[0]["id"] if hits else None
            failures += found != expected
            print(f"{'ok    ' if found == expected else 'WRONG '} {question!r}: {found}, expected {expected}")
    return ExitCode.FAILURE if failures else ExitCode.OK


def _ensure_indexed(out: Path, encoder: str, *, encode: bool) -> None:
    from lsr.cli.sample_vectors import EncodedCorpus
    from lsr.corpora import open_corpus
    from lsr.default_pipeline import vectors_for

    sample = _find_sample()
    precomputed = _vectors_of(sample, encoder) if not encode else None
    how = "encoded here" if precomputed is None else f"precomputed by {precomputed.fingerprint}"
    origin = f"{hashlib.sha256(sample.read_bytes()).hexdigest()} {encoder} {how}"
    folder = out / NAME
    marker = out / f"{NAME}.made-of"
    if marker.exists() and marker.read_text() == origin and _opens(folder):
        say(f"{folder} exists already, built from the same sample ({how})")
        return
    corpus: Corpus = open_corpus(str(sample))
    if precomputed is None:
        say(f"encoding {sample.name} with {encoder} and indexing it into {folder}")
    else:
        corpus = EncodedCorpus(corpus, precomputed)
        say(f"indexing {sample.name} into {folder}, with precomputed vectors of {encoder}")
        say(f"(fingerprint {precomputed.fingerprint}; --encode computes them here, which takes minutes)")
    # What lies there is of another sample or version, or was not finished. Only what an earlier demo made is removed.
    marker.unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)
    out.mkdir(parents=True, exist_ok=True)
    index_and_report(corpus, folder, vectors_for(encoder), schema=SCHEMA)
    marker.write_text(origin)


def _vectors_of(sample: Path, encoder: str) -> SampleVectors | None:
    """Return the sample's precomputed vectors for this encoder, if any; raise EncoderMismatch for another's."""
    from encoders import load_encoder
    from lsr.cli.sample_vectors import SampleVectors

    file = sample.with_name(f"{_STEM}.{encoder}.npz")
    if "/" in encoder or not file.is_file():
        return None
    vectors = SampleVectors.load(file)
    vectors.require(load_encoder(encoder).fingerprint, sample)
    return vectors


def _opens(folder: Path) -> bool:
    from lsr.collection import Collection
    from lsr.errors import EXPECTED_ERRORS

    try:
        Collection.open(folder).close()
    except EXPECTED_ERRORS as error:
        say(f"{folder} is rebuilt: {error}")
        return False
    return True


def _find_sample() -> Path:
    """Return the sample's path: next to the packages in a checkout, or in the current folder."""
    from lsr.errors import CorpusUnreadable

    for folder in (Path(__file__).parents[2], Path.cwd()):
        if (folder / _SAMPLE).exists():
            return folder / _SAMPLE
    raise CorpusUnreadable(f"{_SAMPLE} is missing: run lsr demo in a checkout of the repository")


def _invite(url: str) -> None:
    body = json.dumps({"query": {"text": next(iter(QUESTIONS))}, "k": 3})
    print(f"\nThe service is at {url} (a search page). To search from a shell:\n", flush=True)
    print(f"  curl -s {url}/v1/collections/{NAME}/search -H 'Content-Type: application/json' -d '{body}'\n", flush=True)
    print("Ctrl-C stops it.", flush=True)


def _ask(url: str, question: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/v1/collections/{NAME}/search",
        data=json.dumps({"query": {"text": question}, "k": 3}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
    return answer
