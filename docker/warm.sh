#!/bin/sh
# Compiles every kernel for x86-64-v3 into /opt/kernels: run once, when the image is built.
set -eu
cat > /opt/kernels/settings <<'SETTINGS'
NUMBA_CPU_NAME=x86-64-v3
NUMBA_CPU_FEATURES=+64bit,+avx,+avx2,+bmi,+bmi2,+cmov,+crc32,+cx16,+cx8,+f16c,+fma,+fxsr,+lzcnt,+mmx,+movbe,+popcnt,+sahf,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3,+xsave
SETTINGS
. /opt/kernels/settings
export NUMBA_CPU_NAME NUMBA_CPU_FEATURES NUMBA_CACHE_DIR=/opt/kernels/cache
folder=$(mktemp -d)
cd "$folder"
printf '{"id":"a","title":"lobster roll","text":"butter"}\n{"id":"b","text":"rye bread with butter"}\n' > corpus.jsonl
lsr index corpus.jsonl --out c --vectors default=bm25
lsr search c 'lobster bread' > /dev/null
lsr search c 'lobster bread' --exact > /dev/null
python -c 'from index.warming import warm_kernels; warm_kernels()'
cd / && rm -rf "$folder"
find /opt/kernels/cache -type f | sort | xargs sha256sum | sha256sum | cut -c1-16 > /opt/kernels/id
