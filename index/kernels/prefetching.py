"""Prefetching: the memory that a kernel will read at random is fetched while the kernel works on something else."""

from __future__ import annotations

from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def prefetch(_array, _row):
        """Do nothing: plain Python has no cache to fill."""

else:

    @intrinsic
    def prefetch(typingctx, array, row):  # noqa: ARG001
        """Prefetch the cache line at array[row], row int64 inside the array."""

        def codegen(context, builder, signature, arguments):
            array_type = signature.args[0]
            view = context.make_array(array_type)(context, builder, arguments[0])
            stride = cgutils.unpack_tuple(builder, view.strides)[0]
            base = builder.ptrtoint(view.data, stride.type)
            from llvmlite import ir

            pointer = builder.inttoptr(builder.add(base, builder.mul(arguments[1], stride)), ir.IntType(8).as_pointer())
            i32 = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            builder.call(function, [pointer, i32(0), i32(3), i32(1)])
            return context.get_dummy_value()

        return types.none(array, types.int64), codegen
