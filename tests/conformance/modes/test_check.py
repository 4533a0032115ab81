"""The check must be able to fail: each kind of wrong ablation is caught."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import surgery
from benchmarks.conformance.modes.check import check, check_uncalled
from benchmarks.conformance.modes.models import Probe
from benchmarks.conformance.modes.outcome import Outcome
from benchmarks.conformance.modes.subject import Subject
from benchmarks.conformance.modes.values import MODES
from surgery.errors import OperationError


def small_subject() -> Subject:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 36, 5),
    ).eval()
    data = ((torch.randn(3, 3, 6, 6), torch.zeros(3)),)
    return Subject(Probe(model, (torch.randn(2, 3, 6, 6),), {}, data))


@pytest.fixture
def subject() -> Subject:
    return small_subject()


def checked(subject: Subject, name: str, mode: str, ablate: Any) -> Outcome:
    (part,) = [c for c in subject.called() if str(c) == name]
    return check(subject, part, mode, ablate)


@pytest.mark.parametrize("mode", MODES)
def test_the_library_itself_passes(subject: Subject, mode: str) -> None:
    for part in subject.called():
        outcome = check(subject, part, mode)
        assert outcome.verdict != "failure", outcome


# What a wrong ablation leaves behind after it was restored.


def part(model: nn.Module, index: int) -> Any:
    return model.get_submodule(str(index))


def leave_a_hook(model: nn.Module) -> None:
    part(model, 4).register_forward_hook(lambda *_: None)


def move_one_bit(model: nn.Module) -> None:
    weight = part(model, 0).weight.data
    weight[0, 0, 0, 0] = torch.nextafter(weight[0, 0, 0, 0], torch.tensor(9.0))


def move_a_count(model: nn.Module) -> None:
    part(model, 1).num_batches_tracked.add_(1)


def leave_train_mode(model: nn.Module) -> None:
    part(model, 2).train()


def leave_it_frozen(model: nn.Module) -> None:
    part(model, 4).requires_grad_(False)


def leave_a_gradient(model: nn.Module) -> None:
    weight = part(model, 4).weight
    weight.grad = torch.zeros_like(weight)


def put_in_a_new_tensor(model: nn.Module) -> None:
    linear = part(model, 4)
    linear.weight = nn.Parameter(linear.weight.detach().clone())


def leave_an_attribute(model: nn.Module) -> None:
    model.__dict__["forgotten"] = 1


def add_a_buffer(model: nn.Module) -> None:
    model.register_buffer("extra", torch.zeros(1))


def draw_from_torch(model: nn.Module) -> None:
    torch.rand(1)


def draw_from_numpy(model: nn.Module) -> None:
    np.random.rand()


LEAKS: dict[Callable[[nn.Module], None], str] = {
    leave_a_hook: "not restored: flags, attributes or hooks of 4",
    move_one_bit: "not restored: the bits of 0.weight",
    move_a_count: "not restored: the bits of 1.num_batches_tracked",
    leave_train_mode: "not restored: flags, attributes or hooks of 2",
    leave_it_frozen: "not restored: flags, attributes or hooks of 4",
    leave_a_gradient: "not restored: flags, attributes or hooks of 4",
    put_in_a_new_tensor: "4.weight is another tensor",
    leave_an_attribute: "attributes or hooks of the model",
    add_a_buffer: "extra is another tensor",
    draw_from_torch: "the global generator of torch moved",
    draw_from_numpy: "the global generator of numpy moved",
}


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("mode", ["zero", "reinit", "freeze"])
def test_what_is_left_behind_is_caught(
    subject: Subject, leak: Callable[[nn.Module], None], mode: str
) -> None:
    @contextmanager
    def leaky(model: nn.Module, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with surgery.ablate(model, *args, **kwargs) as ablation:
            yield ablation
        leak(model)

    outcome = checked(subject, "0", mode, leaky)
    assert outcome.verdict == "failure"
    assert LEAKS[leak] in outcome.cause


def instead(operation: Any) -> Callable[..., surgery.Ablation]:
    """An `ablate` that does another operation than it was asked for."""

    def ablate(model: nn.Module, target: str, mode: Any, **kwargs: Any) -> Any:
        return surgery.ablate(model, target, operation)

    return ablate


def nothing(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
    return output.clone()


def almost_zero(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
    return torch.full_like(output, 1e-30)


@pytest.mark.parametrize("name", ["0", "1", "4"])
@pytest.mark.parametrize("mode", ["zero", "mean", "resample", "constant", "callable"])
def test_an_output_mode_that_does_nothing_is_caught(
    subject: Subject, name: str, mode: str
) -> None:
    outcome = checked(subject, name, mode, instead(nothing))
    assert outcome.verdict == "failure"
    assert "not the value that the mode says" in outcome.cause


def test_noise_that_adds_nothing_is_caught(subject: Subject) -> None:
    outcome = checked(subject, "0", "noise", instead(surgery.ops.Noise(std=0.0)))
    assert "noise of relative size 0, not 0.1" in outcome.cause


def test_an_adapter_that_changes_nothing_is_caught(subject: Subject) -> None:
    # 3 channels in, 4 out: no input has the output's shape.
    outcome = checked(subject, "0", "identity", instead(nothing))
    assert "silent no-op" in outcome.cause


def test_a_module_that_only_reshapes_is_no_silent_no_op(subject: Subject) -> None:
    outcome = checked(subject, "3", "identity", surgery.ablate)
    assert outcome.verdict == "no change"
    assert outcome.cause == "it only reshapes or averages, as the adapter does"


def test_a_nearly_right_value_is_caught(subject: Subject) -> None:
    outcome = checked(subject, "4", "zero", instead(almost_zero))
    assert "not the value that the mode says" in outcome.cause


@pytest.mark.parametrize("mode", ["noise on parameters", "reinit", "rewind"])
def test_a_parameter_mode_that_does_nothing_is_caught(
    subject: Subject, mode: str
) -> None:
    still = instead(surgery.ops.Noise(std=0.0, on="parameters"))
    outcome = checked(subject, "4", mode, still)
    assert outcome.verdict == "failure"
    assert "no parameter changed" in outcome.cause


def test_a_freeze_that_lets_gradients_through_is_caught(subject: Subject) -> None:
    still = instead(surgery.ops.Noise(std=0.0, on="parameters"))
    outcome = checked(subject, "4", "freeze", still)
    assert "4.weight got a gradient" in outcome.cause


def test_a_freeze_that_lets_statistics_move_is_caught(subject: Subject) -> None:
    @contextmanager
    def parameters_only(model: nn.Module, target: str, mode: Any) -> Iterator[Any]:
        with surgery.ablate(model, [f"{target}.weight", f"{target}.bias"], "freeze"):
            with surgery.ablate(model, target, nothing) as ablation:
                yield ablation

    outcome = checked(subject, "1", "freeze", parameters_only)
    assert "1.running_mean moved" in outcome.cause


def test_a_freeze_that_freezes_too_much_is_caught(subject: Subject) -> None:
    @contextmanager
    def whole_model(model: nn.Module, target: str, mode: Any) -> Iterator[Any]:
        with surgery.ablate(model, "0", mode):
            with surgery.ablate(model, target, mode) as ablation:
                yield ablation

    outcome = checked(subject, "4", "freeze", whole_model)
    assert "0.weight, outside of it, no longer learns" in outcome.cause


def test_parameters_changed_elsewhere_are_caught(subject: Subject) -> None:
    @contextmanager
    def spilling(model: nn.Module, target: str, mode: Any) -> Iterator[Any]:
        with surgery.ablate(model, "0", mode):
            with surgery.ablate(model, target, mode) as ablation:
                yield ablation

    outcome = checked(subject, "4", "reinit", spilling)
    assert "outside of it" in outcome.cause


def test_an_operation_on_another_module_is_caught(subject: Subject) -> None:
    def elsewhere(model: nn.Module, target: str, mode: Any, **kwargs: Any) -> Any:
        return surgery.ablate(model, "1", mode, **kwargs)

    outcome = checked(subject, "4", "zero", elsewhere)
    assert "not the value that the mode says" in outcome.cause


def test_keys_of_the_state_dict_that_change_meanwhile_are_caught(
    subject: Subject,
) -> None:
    @contextmanager
    def wrapping(model: nn.Module, target: str, mode: Any, **kw: Any) -> Iterator[Any]:
        with surgery.ablate(model, target, mode, **kw) as ablation:
            model.register_buffer("meanwhile", torch.zeros(1))
            yield ablation
            del model.meanwhile

    outcome = checked(subject, "4", "zero", wrapping)
    assert outcome.cause == "keys of state_dict"


def test_an_effect_that_reports_wrongly_is_caught(subject: Subject) -> None:
    class Boasting(surgery.Ablation):
        def effect(self, *, strict: bool = False) -> Any:
            (row,) = super().effect()
            return [type(row)(row.component, row.mode, row.fired + 1, False, "")]

    def ablate(*args: Any, **kwargs: Any) -> surgery.Ablation:
        ablation = surgery.ablate(*args, **kwargs)
        ablation.__class__ = Boasting
        return ablation

    outcome = checked(subject, "4", "zero", ablate)
    assert "fired 2 times in 1 calls" in outcome.cause
    assert "effect() says changed=False" in outcome.cause


def refuse(message: str, *args: Any, **kwargs: Any) -> Any:
    raise OperationError(message)


@pytest.mark.parametrize(
    "message", ["0 has no parameters", "no way was found", "I would rather not"]
)
def test_a_refusal_whose_reason_does_not_hold_is_caught(
    subject: Subject, message: str
) -> None:
    outcome = checked(subject, "0", "reinit", partial(refuse, message))
    assert outcome.verdict == "failure"
    assert f"refused for no reason that holds: {message}" in outcome.cause


def test_a_refusal_whose_reason_holds_is_told(subject: Subject) -> None:
    outcome = checked(subject, "2", "reinit", surgery.ablate)
    assert (outcome.verdict, outcome.cause) == ("refused", "no parameters inside")


def test_any_other_error_is_a_failure(subject: Subject) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("oh")

    outcome = checked(subject, "0", "zero", broken)
    assert (outcome.verdict, outcome.cause) == ("failure", "ZeroDivisionError: oh")


class Idle(nn.Module):
    """A model with a module that it never calls, and one whose output is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(3, 3)
        self.silent = nn.Threshold(1e9, 0.0)
        self.idle = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.used(x)
        z: Tensor = y + self.silent(y)
        return z


@pytest.fixture
def idle() -> Subject:
    torch.manual_seed(0)
    data = ((torch.randn(3, 3), torch.zeros(3)),)
    return Subject(Probe(Idle().eval(), (torch.randn(2, 3),), {}, data))


def test_no_change_names_a_reason_that_was_found_true(idle: Subject) -> None:
    outcome = checked(idle, "silent", "zero", surgery.ablate)
    assert (outcome.verdict, outcome.cause) == ("no change", "its output is all zero")


def test_a_module_never_called_must_be_refused(idle: Subject) -> None:
    (part,) = idle.uncalled()
    assert check_uncalled(idle, part).verdict == "refused"

    def silent(model: nn.Module, target: str, mode: Any) -> surgery.Ablation:
        return surgery.ablate(model, "used", mode)

    outcome = check_uncalled(idle, part, silent)
    assert "no error, although nothing in it is ever called" in outcome.cause
