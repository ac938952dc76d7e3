"""A scan as one operator of torch: autograd, autocast, torch.compile and DDP see one node.

`torch.library.custom_op` does the same, with work on every call that takes several times as long
as the scan of a small layer. For the same reason a call with plain tensors, when nobody traces or
watches operators, goes past the dispatcher to the same functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.autograd import Function

LIBRARY = torch.library.Library("snnexp", "FRAGMENT")


class Operator:
    """`snnexp::name`, made of the function `run`, whose annotations are its schema.

    `run` returns a tensor or several, and may return None for one that nobody asked for; through
    the dispatcher, whose schema knows tensors only, that is an empty tensor. `fake` returns outputs
    of the right shapes without computing. `derivative` is how autograd sees the operator; its
    `forward` gets what the operator gets, and calls the operator.
    """

    def __init__(
        self,
        name: str,
        run: Callable[..., Any],
        fake: Callable[..., Any],
        derivative: type[Function] | None = None,
    ) -> None:
        LIBRARY.define(name + torch.library.infer_schema(run, mutates_args=()))
        LIBRARY.impl(name, self._whole, "CompositeExplicitAutograd")
        torch.library.register_fake(f"snnexp::{name}", fake, lib=LIBRARY)
        if derivative is not None:
            LIBRARY.impl(name, self._differentiable, "Autograd")
        self.overload: OpOverload = getattr(torch.ops.snnexp, name).default
        self.run, self.derivative = run, derivative

    def __call__(self, *args: Any) -> Any:
        """Call the operator; its first argument is a tensor."""
        if not is_plain(args[0]):
            return self.overload(*args)
        if self.derivative is not None and _tracked(args):
            return self.derivative.apply(*args)
        return self.run(*args)

    def _whole(self, first: Tensor, *args: Any) -> Any:
        out = self.run(first, *args)
        if isinstance(out, Tensor):
            return out
        return tuple([first.new_empty(0) if o is None else o for o in out])

    def _differentiable(self, *args: Any) -> Any:
        assert self.derivative is not None
        with torch._C._AutoDispatchBelowAutograd():
            return self.derivative.apply(*args) if _tracked(args) else self.overload(*args)


def is_plain(x: Any) -> bool:
    """Say whether a call with x may go past the dispatcher: nobody traces or watches operators."""
    return (
        not torch.compiler.is_compiling()
        and not torch._C._len_torch_dispatch_stack()
        and type(x) in (Tensor, torch.nn.Parameter)
    )


def _tracked(args: tuple[Any, ...]) -> bool:
    if torch.is_grad_enabled():
        for a in args:
            if isinstance(a, Tensor) and a.requires_grad:
                return True
    return False
