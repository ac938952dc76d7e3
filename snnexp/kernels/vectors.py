"""Vectors as a type of Numba: sixteen numbers that move and compute together.

Numba vectorises a loop only where LLVM can show that no two arrays overlap, of few arrays, and
never with the stores and prefetches that a kernel at the memory limit wants between its
arithmetic. A kernel that says what is a vector gets what it says on every processor: LLVM cuts
sixteen lanes into registers of the size that there is.

Kernels use `load_lanes`, `store_lanes`, `load_bytes`, `store_bytes`, `lanes_of`, the operators
+ - * / < >= ==, the sign and abs.
Every operation rounds once, as a number's does; a comparison with NaN is false. Operands are of
one type: a number becomes a vector by `lanes_of`, a vector a number by `sum_of`. `where`,
`maximum`, `fused`, `like`, `exp2_of` and `exp_of` take vectors or numbers.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.extending import models, register_model
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

#: numbers in a vector: a cache line of float32
LANES = 16


class Lanes(types.Type):
    """Sixteen numbers of one type."""

    def __init__(self, element: Any) -> None:
        self.element = element
        super().__init__(f"Lanes({element})")


class Which(types.Type):
    """Sixteen truth values: what a comparison of vectors gives."""

    def __init__(self) -> None:
        super().__init__("Which")


WHICH = Which()
REGISTERS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(REGISTERS[kind.element], LANES))


@register_model(Which)
class _WhichModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.IntType(1), LANES))


def _operators() -> None:
    """Teach Numba the operators of vectors."""

    def define(op: Any, count: int, result: Any, build: Any) -> None:
        @infer_global(op)
        class Typing(AbstractTemplate):
            def generic(self, args: Any, kws: Any) -> Any:
                alike = len(args) == count and all(a == args[0] for a in args)
                if alike and isinstance(args[0], Lanes):
                    return signature(result or args[0], *args)
                return None

        @lower_builtin(op, *[Lanes] * count)
        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return build(builder, *args)

    define(operator.add, 2, None, lambda b, x, y: b.fadd(x, y))
    define(operator.sub, 2, None, lambda b, x, y: b.fsub(x, y))
    define(operator.mul, 2, None, lambda b, x, y: b.fmul(x, y))
    define(operator.truediv, 2, None, lambda b, x, y: b.fdiv(x, y))
    define(operator.neg, 1, None, lambda b, x: b.fneg(x))
    define(operator.lt, 2, WHICH, lambda b, x, y: b.fcmp_ordered("<", x, y))
    define(operator.ge, 2, WHICH, lambda b, x, y: b.fcmp_ordered(">=", x, y))
    define(operator.eq, 2, WHICH, lambda b, x, y: b.fcmp_ordered("==", x, y))
    define(abs, 1, None, lambda b, x: _llvm(b, "fabs", x))


def _llvm(builder: Any, name: str, *args: Any) -> Any:
    """Call an LLVM intrinsic on numbers or vectors of one type."""
    of = args[0].type
    lanes = f"v{LANES}" if isinstance(of, ir.VectorType) else ""
    element = of.element if lanes else of
    called = f"llvm.{name}.{lanes}{'f32' if element == ir.FloatType() else 'f64'}"
    kind = ir.FunctionType(of, [of] * len(args))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, called), args)


_operators()


@intrinsic
def lanes_of(typingctx: Any, value: Any) -> Any:
    """Return a vector of one number, sixteen times."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _broadcast(builder, args[0])

    return Lanes(value)(value), codegen


def _broadcast(builder: Any, value: Any) -> Any:
    kind = ir.VectorType(value.type, LANES)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.IntType(32)(0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), lanes)


@intrinsic
def like(typingctx: Any, x: Any, constant: Any) -> Any:
    """Return a constant as a number or vector of the type of x."""
    element = getattr(x, "element", x)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[0].type
        narrow = builder.fptrunc if element == types.float32 else builder.bitcast
        one = narrow(args[1], REGISTERS[element])
        return _broadcast(builder, one) if isinstance(kind, ir.VectorType) else one

    return x(x, types.float64), codegen


@intrinsic
def where(typingctx: Any, which: Any, yes: Any, no: Any) -> Any:
    """Return `yes` where the comparison holds, `no` elsewhere."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(*args)

    return yes(which, yes, no), codegen


@intrinsic
def maximum(typingctx: Any, x: Any, least: Any) -> Any:
    """Return x, but where it is below `least`, that; NaN stays NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *args), args[1], args[0])

    return x(x, least), codegen


@intrinsic
def fused(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """Return x y + z, rounded once where the processor can: not for what has to be equal."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _llvm(builder, "fmuladd", *args)

    return x(x, y, z), codegen


@intrinsic
def sum_of(typingctx: Any, x: Any) -> Any:
    """Return the sum of a vector, halves added first."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = args[0]
        while (many := vector.type.count) > 1:
            halves = [
                ir.Constant(ir.VectorType(ir.IntType(32), many // 2), list(range(i, i + many // 2)))
                for i in (0, many // 2)
            ]
            none = ir.Constant(vector.type, ir.Undefined)
            lower, upper = (builder.shuffle_vector(vector, none, half) for half in halves)
            vector = builder.fadd(lower, upper)
        return builder.extract_element(vector, ir.IntType(32)(0))

    return x.element(x), codegen


@intrinsic
def exp2_of(typingctx: Any, x: Any) -> Any:
    """Return 2^n for float32 x = 1.5 2^23 + 127 + n with whole n from -126 to 127, by its bits."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        whole: Any = ir.IntType(32)
        shift: Any = 23
        if isinstance(x, Lanes):
            whole, shift = ir.VectorType(whole, LANES), [shift] * LANES
        # n + 127 are the last bits of x, and the exponent's those of the result
        bits = builder.shl(builder.bitcast(args[0], whole), ir.Constant(whole, shift))
        return builder.bitcast(bits, args[0].type)

    return x(x), codegen


@intrinsic
def exp_of(typingctx: Any, x: Any) -> Any:
    """Return e^x by the C library, lane by lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _llvm(builder, "exp", args[0])

    return x(x), codegen


def _at(context: Any, builder: Any, array: Any, kind: Any, index: Any, element: Any) -> Any:
    """Return a pointer to sixteen numbers of an array."""
    data = make_array(kind)(context, builder, array).data
    place = builder.gep(data, [index])
    return builder.bitcast(place, ir.VectorType(element, LANES).as_pointer())


def _stored(kind: Any) -> tuple[Any, Any, int]:
    """Return (type of the state, how LLVM sees what is stored, bytes) of an array's numbers."""
    return {
        types.float32: (types.float32, ir.FloatType(), 4),
        types.float64: (types.float64, ir.DoubleType(), 8),
        types.uint16: (types.float32, ir.IntType(16), 2),
        types.int16: (types.float32, ir.HalfType(), 2),
    }[kind.dtype]


@intrinsic
def load_lanes(typingctx: Any, array: Any, index: Any) -> Any:
    """Read sixteen numbers from `index` on, widened to the type of the state.

    uint16 are the bits of a bfloat16, int16 those of a float16.
    """
    state, element, size = _stored(array)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _at(context, builder, args[0], sig.args[0], args[1], element)
        read = builder.load(place, align=size)
        if element == ir.HalfType():
            return builder.fpext(read, ir.VectorType(ir.FloatType(), LANES))
        if element == ir.IntType(16):
            whole = ir.VectorType(ir.IntType(32), LANES)
            bits = builder.shl(builder.zext(read, whole), ir.Constant(whole, [16] * LANES))
            return builder.bitcast(bits, ir.VectorType(ir.FloatType(), LANES))
        return read

    return Lanes(state)(array, types.intp), codegen


def _rounded(builder: Any, value: Any, element: Any) -> Any:
    """Round a vector of the state to what is stored, to the nearest, ties to even."""
    if element == ir.HalfType():
        return builder.fptrunc(value, ir.VectorType(element, LANES))
    if element != ir.IntType(16):
        return value
    whole = ir.VectorType(ir.IntType(32), LANES)

    def constant(n: int) -> Any:
        return ir.Constant(whole, [n] * LANES)

    bits = builder.bitcast(value, whole)
    odd = builder.and_(builder.lshr(bits, constant(16)), constant(1))
    rounded = builder.add(builder.add(bits, constant(0x7FFF)), odd)
    not_nan = builder.fcmp_ordered("ord", value, value)
    upper = builder.lshr(rounded, constant(16))
    upper = builder.select(not_nan, upper, constant(0x7FC0))
    return builder.trunc(upper, ir.VectorType(element, LANES))


def _store(array: Any, value: Any, past_cache: bool) -> Any:
    _, element, size = _stored(array)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _at(context, builder, args[0], sig.args[0], args[1], element)
        rounded = _rounded(builder, args[2], element)
        written = builder.store(rounded, place, align=min(64, size * LANES) if past_cache else size)
        if past_cache:
            mark = builder.module.add_metadata([ir.IntType(32)(1)])
            written.set_metadata("nontemporal", mark)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def store_lanes(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Write sixteen numbers from `index` on, rounded to what the array stores."""
    return _store(array, value, past_cache=False)


@intrinsic
def store_lanes_past_cache(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Write as `store_lanes`, past the caches, to where a multiple of sixteen numbers begins."""
    return _store(array, value, past_cache=True)


@intrinsic
def store_bytes(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Write sixteen whole numbers from 0 to 255 as uint8 from `index` on."""
    byte = ir.IntType(8)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _at(context, builder, args[0], sig.args[0], args[1], byte)
        builder.store(builder.fptoui(args[2], ir.VectorType(byte, LANES)), place, align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def load_bytes(typingctx: Any, array: Any, index: Any, alike: Any) -> Any:
    """Read sixteen uint8 from `index` on, as a vector of the type of `alike`."""
    byte = ir.IntType(8)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _at(context, builder, args[0], sig.args[0], args[1], byte)
        return builder.uitofp(builder.load(place, align=1), args[2].type)

    return alike(array, types.intp, alike), codegen


def whole_lanes(numbers: int) -> int:
    """Return the least multiple of sixteen that is not below `numbers`."""
    return -(-numbers // LANES) * LANES
