"""Builds of Seismic's published grid, kept on disk so that `lsr bench` need only time them.

usage: RAYON_NUM_THREADS=1 python benchmarks/index_seismic.py VECTORS.npz BUILDS [--build N/F/E ...]

BUILDS is the folder for `lsr bench VECTORS.npz --builds BUILDS --peers seismic --seismic N/F/E` afterwards. Without
--build all 48 of the grid: n_postings 1000, 2000, 4000, 8000, centroid_fraction .05, .1, .2, summary_energy .3 to .6.
Existing builds are not repeated. Prints a JSON line for each: seconds and bytes.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path

from eval.bench.seismic import SeismicBuild, build_seismic
from eval.bench.vectors import read_vectors

GRID = tuple(product((4000, 2000, 8000, 1000), (0.1, 0.05, 0.2), (0.4, 0.5, 0.3, 0.6)))


def main() -> None:
    """Build what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors")
    parser.add_argument("builds", type=Path)
    parser.add_argument("--build", action="append", type=SeismicBuild.parse)
    options = parser.parse_args()
    documents = read_vectors(options.vectors, None, 1).documents
    options.builds.mkdir(parents=True, exist_ok=True)
    for build in options.build or [SeismicBuild(*parameters) for parameters in GRID]:
        path, note = build_seismic(documents, options.builds, build)
        print(json.dumps({**build._asdict(), **note, "bytes": path.stat().st_size}), flush=True)


if __name__ == "__main__":
    main()
