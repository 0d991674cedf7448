"""Vectors in the code that Numba compiles: what the intrinsics of kernels share.

Numba leaves it to LLVM to find loops that can work on several numbers at a time. For a few of ours it finds nothing, or
not the best; those are written as vectors of fixed length, which LLVM translates for every processor, whatever the
width of its registers.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils
from numba.core.registry import cpu_target

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32 = ir.FloatType()


def vector(kind, n):
    """Return the type of a vector."""
    return ir.VectorType(kind, n)


def constant(kind, n, values):
    """Return a vector of the given number, or numbers."""
    return ir.Constant(vector(kind, n), values if isinstance(values, list) else [values] * n)


def number(value):
    """Return an int64."""
    return ir.Constant(I64, value)


def repeat(builder, value, n):
    """Return a vector of n times the value."""
    empty = ir.Constant(vector(value.type, n), ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(vector(I32, n), None))


def call(builder, name, returned, arguments):
    """Call an operation of LLVM."""
    kind = ir.FunctionType(returned, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def data_of(context, builder, array_type, value):
    """Return the pointer to an array's first element; the array must be contiguous."""
    return context.make_array(array_type)(context, builder, value).data


def vector_at(builder, pointer, kind, n):
    """Return the pointer as one to a vector."""
    return builder.bitcast(pointer, vector(kind, n).as_pointer())


def has(*features):
    """Return whether the processor that Numba compiles for has all of these features, by LLVM's names."""
    own = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    return all(f"+{feature}" in own for feature in features)


def upper_half(builder, a, b):
    """Return the upper 16 bits of the products of two vectors of 32 unsigned 16-bit numbers.

    One instruction, which LLVM 20 does not find by itself.
    """
    if has("avx512bw"):
        return call(builder, "llvm.x86.avx512.pmulhu.w.512", a.type, [a, b])
    if has("avx2"):
        halves = [constant(I32, 16, list(range(first, first + 16))) for first in (0, 16)]
        products = [
            call(
                builder, "llvm.x86.avx2.pmulhu.w", vector(I16, 16), [builder.shuffle_vector(x, x, half) for x in (a, b)]
            )
            for half in halves
        ]
        return builder.shuffle_vector(*products, constant(I32, 32, list(range(32))))
    wide = vector(I32, a.type.count)
    product = builder.mul(builder.zext(a, wide), builder.zext(b, wide))
    return builder.trunc(builder.lshr(product, constant(I32, a.type.count, 16)), a.type)
