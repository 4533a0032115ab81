"""Request: everything that determines a trial, and its id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from surgery.report import JSONValue
from surgery.study.arms import Arm, FactorPart, applies
from surgery.study.configs import with_values, without


@dataclass(frozen=True)
class Setting:
    """Where an arm is tried: a base config, on a tier.

    Attributes:
        config: The base config.
        context: Its name; `""` where there is one.
        tier: The tier's name; `""` where there is one.
        code: Hash of the code of the tier's model, data and train functions.
    """

    config: Any
    context: str = ""
    tier: str = ""
    code: str = ""


@dataclass(frozen=True)
class Request:
    """A trial to run, as executors are given it; pickles if its parts do.

    Attributes:
        id: Hash of everything that determines it.
        arm: What is left out.
        seed: Its seed.
        config: The config with the arm's factors set.
        base_config: The config without.
        context: Name of the base config.
        tier: Name of the tier.
    """

    id: str
    arm: Arm
    seed: int
    config: Any
    base_config: Any
    context: str = ""
    tier: str = ""

    def described(self) -> dict[str, JSONValue]:
        """What is recorded of it, as JSON."""
        return {
            "arm": self.arm.name,
            "parts": identities(self.arm),
            "described": self.arm.described(),
            "seed": self.seed,
            "config": without(self.config, ()),
            "context": self.context,
            "tier": self.tier,
        }


def request_for(
    arm: Arm, seed: int, setting: Setting, ignored: Sequence[str] = ()
) -> Request:
    """The request of one arm with one seed in one setting."""
    config = configured(arm, setting.config)
    determines = {
        "parts": identities(arm),
        "seed": seed,
        "config": without(config, ignored),
        "context": setting.context,
        "tier": setting.tier,
        "code": setting.code,
    }
    text = json.dumps(determines, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Request(
        digest, arm, seed, config, setting.config, setting.context, setting.tier
    )


def configured(arm: Arm, config: Any) -> Any:
    """The config with the arm's factors set.

    Conditions are asked of the config that the arm's other factors give: of two
    factors one of which switches the other's algorithm off, only that one counts.
    """
    factors = [part for part in arm.parts if isinstance(part, FactorPart)]
    free: dict[str, object] = {}
    for part in factors:
        if not part.when:
            free.update(part.values)
    changed = with_values(config, free)
    for part in factors:
        if part.when and applies(part, changed):
            changed = with_values(changed, part.values)
    return changed


def identities(arm: Arm) -> list[JSONValue]:
    """What of its parts determines a trial, in one order; factors are in the config."""
    found = [part.identity() for part in arm.parts]
    return sorted((one for one in found if one is not None), key=json.dumps)
