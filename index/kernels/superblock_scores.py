"""Scores of the 64 documents of a superblock, from the postings that a query's terms have there (kernels.block_max).

A run is what one term has in one superblock: some ten postings, ascending documents. Added up one by one, a posting
takes a nanosecond, and each run's end, which the processor cannot foresee, ten. Where it has AVX-512 with VBMI2, all 64
sums stay in registers instead: the run's documents become a mask of 64 bits, the impacts, which lie next to each other,
are spread to the mask's places by one instruction (vpexpandw), and a run takes seven nanoseconds whatever its length.
LLVM has these operations for every processor; where there is no such instruction its substitute is slower than a loop,
so the loop is used there (docs/decisions/0129). Such sums are float32 and only say which documents are worth an exact
score; the mask says where the impact of each is.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from index.kernels.bits import count_bits
from index.kernels.lines import impact_value
from index.kernels.vector_code import (
    F32,
    I1,
    I16,
    I32,
    I64,
    call,
    constant,
    data_of,
    has,
    number,
    repeat,
    vector,
    vector_at,
)

SUPERBLOCK = 64
# Postings that become bits at a time.
_WIDE = 16
_NEEDED = ("avx512bw", "avx512vl", "avx512vbmi2")


def find_above(docs, impacts, begin, end, row, weights, held, sums, least):
    """Return the documents whose sums of weight times impact reach `least`, as bits of an int64; write `held`.

    docs, impacts   postings, see exhaustive.Windows; a document's place in the superblock is its remainder by 64
    begin, end      int64[rows * m], where the runs of the query's m terms are in docs; `row` is read
    weights         float32[m], above 0
    held            int64[m], written: the documents that each term's run holds, as bits
    sums            float64[64], written or not
    least           float32, above 0. Sums are rounded as float32 at least: relative errors are below (m + 1) / 2**24

    Oracle: oracle.canonical_scores.
    """
    m = len(weights)
    sums[:] = 0.0
    for i in range(m):
        bits = np.int64(0)
        for p in range(begin[row * m + i], end[row * m + i]):
            place = np.int64(docs[p]) & (SUPERBLOCK - 1)
            bits |= np.int64(1) << place
            sums[place] += np.float64(weights[i]) * np.float64(impact_value(impacts[p]))
        held[i] = bits
    above = np.int64(0)
    for place in range(SUPERBLOCK):
        above |= np.int64(sums[place] >= least) << np.int64(place)
    return above


_in_a_loop = njit(find_above)


@overload(find_above, inline="always")
def _find_above(docs, impacts, begin, end, row, weights, held, sums, least):  # noqa: ARG001
    if impacts.dtype == types.uint16 and has(*_NEEDED):
        return lambda docs, impacts, begin, end, row, weights, held, sums, least: _in_registers(  # type: ignore[call-arg]
            docs, impacts, begin, end, row, weights, held, sums, least
        )
    return lambda docs, impacts, begin, end, row, weights, held, sums, least: _in_a_loop(
        docs, impacts, begin, end, row, weights, held, sums, least
    )


@njit(cache=True, nogil=True)
def score_of_place(place, held, begin, row, weights, impacts):
    """Return the canonical score, float32, of the document at a place of the superblock: see `find_above`."""
    m = len(weights)
    last = np.int64(len(impacts)) - 1
    before = ~(np.int64(-1) << np.int64(place))
    total = 0.0
    for i in range(m):
        # Without branches: a term that the document lacks adds 0.
        at = min(begin[row * m + i] + count_bits(held[i] & before), last)
        has = np.float64((held[i] >> np.int64(place)) & 1)
        total += np.float64(weights[i]) * np.float64(impact_value(impacts[at])) * has
    return np.float32(total)


@intrinsic
def _in_registers(typingctx, docs, impacts, begin, end, row, weights, held, sums, least):  # noqa: ARG001
    """Do what `find_above` does for impacts of uint16, float16 bits, with 64 float32 sums in registers."""

    def codegen(context, builder, signature, arguments):
        docs, impacts, begin, end, weights, held = (
            data_of(context, builder, signature.args[place], arguments[place]) for place in (0, 1, 2, 3, 5, 6)
        )
        m = context.make_array(signature.args[5])(context, builder, arguments[5]).nitems
        before = builder.mul(arguments[4], m)
        total = cgutils.alloca_once(builder, vector(F32, 64))
        builder.store(ir.Constant(vector(F32, 64), None), total)
        with cgutils.for_range(builder, m) as term:
            at = builder.add(before, term.index)
            first, stop = builder.load(builder.gep(begin, [at])), builder.load(builder.gep(end, [at]))
            bits = _bits_of_run(builder, docs, first, stop)
            builder.store(bits, builder.gep(held, [term.index]))
            spread = _spread(builder, builder.gep(impacts, [first]), bits)
            weight = repeat(builder, builder.load(builder.gep(weights, [term.index])), 64)
            products = builder.fmul(spread, weight, flags=("contract",))
            builder.store(builder.fadd(builder.load(total), products, flags=("contract",)), total)
        above = builder.fcmp_ordered(">=", builder.load(total), repeat(builder, arguments[8], 64))
        return builder.bitcast(above, I64)

    return types.int64(docs, impacts, begin, end, types.int64, weights, held, sums, types.float32), codegen


def _bits_of_run(builder, docs, first, stop):
    """Return the bits of docs[first:stop], 16 documents at a time; most runs have no more."""
    bits, at = cgutils.alloca_once(builder, I64), cgutils.alloca_once(builder, I64)
    builder.store(_bits_of_few(builder, docs, first, stop), bits)
    builder.store(builder.add(first, number(_WIDE)), at)
    is_more, more, done = (builder.append_basic_block(name) for name in ("is_more", "more", "done"))
    builder.branch(is_more)
    builder.position_at_end(is_more)
    builder.cbranch(builder.icmp_signed("<", builder.load(at), stop), more, done)
    builder.position_at_end(more)
    builder.store(builder.or_(builder.load(bits), _bits_of_few(builder, docs, builder.load(at), stop)), bits)
    builder.store(builder.add(builder.load(at), number(_WIDE)), at)
    builder.branch(is_more)
    builder.position_at_end(done)
    return builder.load(bits)


def _bits_of_few(builder, docs, first, stop):
    """Return the bits of the first 16 documents of docs[first:stop], or fewer; nothing beyond is read."""
    left = builder.sub(stop, first)
    left = builder.select(builder.icmp_signed("<", left, number(_WIDE)), left, number(_WIDE))
    places = constant(I16, _WIDE, list(range(_WIDE)))
    inside = builder.icmp_signed("<", places, repeat(builder, builder.trunc(left, I16), _WIDE))
    nothing, wide = ir.Constant(vector(I16, _WIDE), None), vector(I64, _WIDE)
    pointer = vector_at(builder, builder.gep(docs, [first]), I16, _WIDE)
    read = call(
        builder, f"llvm.masked.load.v{_WIDE}i16.p0", nothing.type, [pointer, ir.Constant(I32, 2), inside, nothing]
    )
    shifts = builder.zext(builder.and_(read, constant(I16, _WIDE, SUPERBLOCK - 1)), wide)
    one_each = builder.shl(constant(I64, _WIDE, 1), shifts)
    bits = builder.select(inside, one_each, ir.Constant(wide, None))
    return call(builder, f"llvm.vector.reduce.or.v{_WIDE}i64", I64, [bits])


def _spread(builder, pointer, bits):
    """Return 64 float32: the impacts from `pointer` on at the places of the bits that are set, 0 at the others."""
    nothing = ir.Constant(vector(I16, 32), None)
    low = builder.trunc(bits, I32)
    high = builder.trunc(builder.lshr(bits, number(32)), I32)
    beyond = builder.gep(pointer, [call(builder, "llvm.ctpop.i64", I64, [builder.zext(low, I64)])])
    halves = [
        call(
            builder, "llvm.masked.expandload.v32i16", nothing.type, [at, builder.bitcast(half, vector(I1, 32)), nothing]
        )
        for at, half in ((pointer, low), (beyond, high))
    ]
    both = builder.shuffle_vector(*halves, constant(I32, 64, list(range(64))))
    return builder.fpext(builder.bitcast(both, vector(ir.HalfType(), 64)), vector(F32, 64))
