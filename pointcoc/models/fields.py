"""Fields of a configuration: what is allowed, entries per stage, and fields that have an effect only beside others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, field, fields
from typing import Any

from pointcoc.checks import check_choice

NO_EFFECT = "{name} has no effect on {other} {given!r}: leave it out, or choose {other} {needed}"
COUNTS = "hold integers of at least 1"
NUMBERS: dict[str, tuple[Any, float, float]] = {  # type, lowest value, and the value that all are below
    COUNTS: (int, 1, math.inf),
    "be an integer of at least 1": (int, 1, math.inf),
    "be an integer of at least 0": (int, 0, math.inf),
    "be 1, 2 or 3": (int, 1, 4),
    "be positive": ((int, float), math.ulp(0.0), math.inf),
    "be in [0, 1)": ((int, float), 0, 1),
}


def setting(
    default: Any,
    changes: str,
    must: str | None = None,
    *,
    choices: Sequence[str] = (),
    needs: tuple[str, tuple[Any, ...]] | None = None,
    refusal: str = NO_EFFECT,
    sized_by: Mapping[str, Any] | None = None,
) -> Any:
    """Make a field of a configuration that holds all that is known of it.

    Args:
        default: its default.
        changes: part of a trained network that another value changes (see `pointcoc.models.weights.policy`).
        must: numbers that are allowed, a key of `NUMBERS`; None for other types.
        choices: values that are allowed; any for none.
        needs: another field and its values with which this one has an effect; in an entry per stage one is enough.
        refusal: the error for a value without effect, a template of `name`, `value`, `other`, `given` and `needed`.
        sized_by: values of other fields with which this one is a size of the parameters of the reducers, whatever
            `changes` says.
    """
    return field(
        default=default,
        metadata={
            "changes": changes,
            "must": must,
            "choices": choices,
            "needs": needs,
            "refusal": refusal,
            "sized_by": sized_by or {},
        },
    )


def known_defaults(kind: Any) -> dict[str, Any]:
    """Return the defaults of the fields of a dataclass that have one."""
    return {one.name: one.default for one in fields(kind) if one.default is not MISSING}


def effective(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by name without those that nothing reads beside the others.

    Args:
        kind: a configuration or its class.
        values: the settings; fields that are absent have their defaults.
    """
    kept, read = dict(values), {**known_defaults(kind), **values}
    for one in fields(kind):
        needs = one.metadata.get("needs")
        if needs and not any(entry in needs[1] for entry in _entries(read[needs[0]])):
            read[one.name] = one.default
            kept.pop(one.name, None)
    return kept


def fill_stages(config: Any, names: Sequence[str]) -> None:
    """Give the entries per stage of a configuration one length, that of `depths`; one value stands for all stages.

    A field without effect has the first entries of its default, and its last for further stages.

    Raises:
        ValueError: if `depths` does not list stages, or a field has entries for another number of stages.
    """
    if not isinstance(config.depths, Sequence) or len(config.depths) == 0:
        raise ValueError(
            f"depths must hold the blocks of each stage, such as {type(config).depths}, got {config.depths!r}"
        )
    kept, defaults = effective(config, vars(config)), known_defaults(config)
    for name in names:
        value = getattr(config, name)
        if name not in kept and value == defaults[name]:
            value = _first_stages(value, config.num_stages)
        if value is not None:
            object.__setattr__(config, name, _per_stage(name, value, config.num_stages))


def check_fields(config: Any) -> None:
    """Raise ValueError if a field has a value that is not allowed, or one without effect that is not its default."""
    kept = effective(config, vars(config))
    for one in fields(config):
        value, must = getattr(config, one.name), one.metadata.get("must")
        if one.metadata.get("choices"):
            check_choice(one.name, value, one.metadata["choices"])
        if must:
            kind, low, high = NUMBERS[must]
            entries = [entry for entry in _entries(value) if entry is not None or one.default is not None]
            if not all(isinstance(entry, kind) and low <= entry < high for entry in entries):
                raise ValueError(f"{one.name} must {must}, got {value}")
        if one.name not in kept:
            _check_default(config, one.name, one.default, one.metadata)


def replace_settings(config: Any, overrides: Mapping[str, Any]) -> Any:
    """Return a copy of a configuration with other values; one value for an entry per stage stands for all stages.

    A field that loses its effect goes back to its default, unless `overrides` name it.

    Raises:
        ValueError: if a name is not a field.
    """
    inherited = {one.name: getattr(config, one.name) for one in fields(config)}
    for name in overrides:
        check_choice("setting", name, list(inherited))
    if "depths" in overrides and not isinstance(overrides["depths"], Sequence):
        overrides = {**overrides, "depths": (overrides["depths"],) * config.num_stages}
    return type(config)(**{**effective(config, {**inherited, **overrides}), **overrides})


def _check_default(config: Any, name: str, default: Any, known: Mapping[str, Any]) -> None:
    value, (other, needed) = getattr(config, name), known["needs"]
    if value != (_first_stages(default, config.num_stages) if isinstance(value, tuple) else default):
        allowed = " or ".join(map(repr, needed))
        raise ValueError(
            known["refusal"].format(name=name, value=value, other=other, given=getattr(config, other), needed=allowed)
        )


def _entries(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)


def _first_stages(default: Any, num_stages: int) -> Any:
    return None if default is None else (*default, *default[-1:] * num_stages)[:num_stages]


def _per_stage(name: str, value: Any, num_stages: int) -> Any:
    entries = value if isinstance(value, Sequence) else (value,) * num_stages
    if len(entries) != num_stages:
        raise ValueError(f"{name} must be one value or {num_stages} (one a stage, like depths), got {tuple(value)}")
    return tuple(entries)
