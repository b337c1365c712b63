"""Adam on a CPU by PyTorch's own function, without its class: the class loads the compiler of torch, which takes a second to import."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam


class Adam:
    """Updates parameters as `torch.optim.Adam(parameters, fused=True)` does, to the last bit; state and groups have its form.

    Source: Kingma and Ba, Adam, ICLR 2015.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float
    ) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), "lr": lr}]
        self.state: defaultdict[nn.Parameter, dict[str, Tensor]] = defaultdict(dict)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients."""
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters that have a gradient."""
        (group,) = self.param_groups
        updated = [parameter for parameter in group["params"] if parameter.grad is not None]
        for parameter in updated:
            if not self.state[parameter]:
                self.state[parameter] |= {
                    "step": torch.zeros((), dtype=torch.float32),
                    "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                    "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                }
        states = [self.state[parameter] for parameter in updated]
        adam(
            updated,
            [parameter.grad for parameter in updated],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            foreach=False,
            capturable=False,
            differentiable=False,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=group["lr"],
            weight_decay=self.weight_decay,
            eps=self.eps,
            maximize=False,
        )


Optimizer = torch.optim.Optimizer | Adam
"""What updates the parameters."""
