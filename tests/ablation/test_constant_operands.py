"""Operands that hold no data: layer scales, biases, position embeddings."""

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import OperationError


class Scale(nn.Module):
    """Layer scale: what comes in times a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.tensor([1.0, 2.0, 3.0, 4.0]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


def model() -> nn.Module:
    return nn.Sequential(Scale()).eval()


X = torch.arange(8.0).reshape(2, 4) + 1


@pytest.mark.parametrize("mode", ["mean", "resample"])
@pytest.mark.parametrize("inputs", [None, X], ids=["unrecorded", "recorded"])
def test_what_takes_other_samples_values_is_refused(
    mode: str, inputs: Tensor | None
) -> None:
    net = model()
    data = [(X, torch.zeros(2))]
    with pytest.raises(OperationError, match="constant operand these do: zero"):
        with surgery.ablate(net, "0:gate", mode, data=data, inputs=inputs):
            net(X)


@pytest.mark.parametrize("inputs", [None, X], ids=["unrecorded", "recorded"])
def test_a_constant_takes_the_place_of_the_multiplier(inputs: Tensor | None) -> None:
    net = model()
    with surgery.ablate(net, "0:gate", surgery.ops.Constant(3.0), inputs=inputs):
        assert torch.equal(net(X), X * 3)
    assert torch.equal(net(X), X * torch.tensor([1.0, 2.0, 3.0, 4.0]))
