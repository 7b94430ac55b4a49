"""Which settings weights depend on: one policy for everything that loads weights.

Each field of `NetworkConfig` says which part of a trained network another value changes:

- "head", "input" (the first reducer), "reducers", "stages", "norms": the names, shapes or meaning of parameters. The
  settings of the weights and of the network must agree.
- "equations": the parameters fit, but the network computes something else. Only an override that names the field
  changes it; a network with another value does not take the weights.
- "positions": the parameters fit, but points are grouped otherwise. An override changes it, and so does the network
  that takes the weights.
- "start": initial values. Networks that take weights may differ; an override would have no effect and is refused.
- "training", "nothing": free.

Fields of other models say the same of themselves, or follow the field of `NetworkConfig` with their name; all others
must agree.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from pointcoc.models.config import NetworkConfig
from pointcoc.models.fields import effective, known_defaults
from pointcoc.ops.operators import RENAMED

EQUATIONS = {"changes": "equations"}  # what the fields of `ClusterOptions` are
RULES = {one.name: one.metadata or EQUATIONS for one in fields(NetworkConfig)}


def fields_changing(*parts: str) -> tuple[str, ...]:
    """Return the fields of `NetworkConfig` that change one of these parts."""
    return tuple(name for name, rule in RULES.items() if rule["changes"] in parts)


def fixed_fields(config: NetworkConfig) -> tuple[str, ...]:
    """Return the fields that no override may change once there are weights."""
    free = ("equations", "positions", "training", "nothing")
    return tuple(name for name, rule in RULES.items() if _changed_part(rule, vars(config)) not in free)


def fixed_settings(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that weights and the model that takes them must agree on, as JSON holds them.

    Args:
        kind: the configuration of the model, or its class. A field that holds the fields of another configuration says
            of which, by the key "fields_of" of its metadata.
        values: the settings as JSON holds them; fields that came after they were written have their defaults.
    """
    values = effective(kind, json.loads(json.dumps(known_defaults(kind))) | values)
    rules: Mapping[str, Any] = {**RULES, **{one.name: one.metadata for one in fields(kind) if one.metadata}}
    free = ("positions", "start", "training", "nothing")
    fixed = {name: value for name, value in values.items() if _changed_part(rules.get(name, {}), values) not in free}
    inner = {
        name: rules[name]["fields_of"]
        for name, value in fixed.items()
        if value is not None and "fields_of" in rules.get(name, {})
    }
    return {name: fixed_settings(inner[name], one) if name in inner else one for name, one in fixed.items()}


def read_settings(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    """Make the configuration that a file holds; fields without effect go back to their defaults with a warning.

    Args:
        kind: its class. A field that holds the fields of another configuration is read likewise (see `fixed_settings`).
        values: the fields.
        where: name of the file, for the warning.

    Raises:
        TypeError: if a field is unknown.
        ValueError: if a value is not allowed.
    """
    inner = {
        one.name: one.metadata["fields_of"]
        for one in fields(kind)
        if "fields_of" in one.metadata and values.get(one.name) is not None
    }
    values = {**values, **{name: asdict(read_settings(inner[name], values[name], where)) for name in inner}}
    if values.get("backend") in RENAMED:
        values["backend"] = RENAMED[values["backend"]]
    kept = effective(kind, values)
    config = kind(**kept)
    unread = [name for name in values if name not in kept]
    changed = [name for name in unread if json.dumps(values[name]) != json.dumps(getattr(config, name))]
    if changed:
        warnings.warn(f"{where}: {', '.join(changed)} had no effect and went back to the default", stacklevel=2)
    return config


def _changed_part(rule: Mapping[str, Any], values: Mapping[str, Any]) -> str | None:
    """Part that another value of a field changes beside these values; None for a field that is not known."""
    is_size = any(values.get(other) == value for other, value in rule.get("sized_by", {}).items())
    return "reducers" if is_size else rule.get("changes")
