"""An int64 as 64 bits, one for each of 64 numbers or documents."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from index.kernels.vector_code import I1, I16, I64, call, data_of, repeat, vector_at

if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def count_bits(bits):
        """Return how many bits of an int64 are set."""
        return np.int64((int(bits) & 0xFFFFFFFFFFFFFFFF).bit_count())

    def lowest_bit(bits):
        """Return the place of the lowest bit that is set; at least one is."""
        return np.int64((int(bits) & -int(bits)).bit_length() - 1)

    def bits_between(numbers, first, least, most):
        """Return which of numbers[first:first + 64], uint16[], are in least .. most, as bits of an int64."""
        inside = [place for place in range(64) if least <= numbers[first + place] <= most]
        return np.array([sum(1 << place for place in inside)], dtype=np.uint64).view(np.int64)[0]

else:

    @intrinsic
    def count_bits(typingctx, bits):  # noqa: ARG001
        """Return how many bits of an int64 are set."""

        def codegen(context, builder, signature, arguments):  # noqa: ARG001
            return call(builder, "llvm.ctpop.i64", I64, arguments)

        return types.int64(types.int64), codegen

    @intrinsic
    def lowest_bit(typingctx, bits):  # noqa: ARG001
        """Return the place of the lowest bit that is set; at least one is."""

        def codegen(context, builder, signature, arguments):  # noqa: ARG001
            return call(builder, "llvm.cttz.i64", I64, [arguments[0], ir.Constant(I1, 1)])

        return types.int64(types.int64), codegen

    @intrinsic
    def bits_between(typingctx, numbers, first, least, most):  # noqa: ARG001
        """Return which of numbers[first:first + 64], uint16[], are in least .. most, as bits of an int64."""

        def codegen(context, builder, signature, arguments):
            data = data_of(context, builder, signature.args[0], arguments[0])
            read = builder.load(vector_at(builder, builder.gep(data, [arguments[1]]), I16, 64))
            read.align = 2
            enough = builder.icmp_unsigned(">=", read, repeat(builder, arguments[2], 64))
            inside = builder.and_(enough, builder.icmp_unsigned("<=", read, repeat(builder, arguments[3], 64)))
            return builder.bitcast(inside, I64)

        return types.int64(numbers, types.int64, types.uint16, types.uint16), codegen
