"""A method's settings, as people type them."""

import dataclasses
import json
from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

import learners
from appliance.refusal import Refusal

TRAINING = "training"
"""The part of a learner's settings that says how it is trained, or the last of its stages."""


class WrongSetting(Refusal):
    """No such method, preset or field, or a value it cannot have. The message says what would be right."""


def learner(method: str, preset: str, settings: Mapping[str, str]) -> Any:
    """Make a method's learner from a preset, with some fields changed to what a person typed.

    Fields of its training loop are named like its own: ``lr`` and ``steps`` need no prefix. A part's field may be
    named with the part, ``head.width``, and has to be where several parts have one of that name. So are those of
    another program, ``config.dim_model``. A part that may be left out is switched on by its name alone, ``rscl``, or by
    any of its fields, ``rscl.beta``.

    Raises:
        WrongSetting: there is no such method, preset or field, or the field cannot have that value.
    """
    try:
        made = learners.method(method).preset(preset)
    except ValueError as error:
        raise WrongSetting(str(error)) from error
    return changed(made, settings, method)


def changed[T](value: T, settings: Mapping[str, str], where: str) -> T:
    """Return a copy of a dataclass with some fields, its own or those of a part of it, set from text.

    Raises:
        WrongSetting: there is no such field, or it cannot have that value.
    """
    owners = _owners(value)
    own = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}  # type: ignore[arg-type]  # T is a dataclass
    optional = _optional(type(value))
    parts = {name for name, each in own.items() if dataclasses.is_dataclass(each) or isinstance(each, dict)}
    parts |= optional.keys()
    if unknown := sorted(name for name in settings if name not in owners and name.partition(".")[0] not in parts):
        raise WrongSetting(f"{where} has no {', '.join(unknown)}; it takes: {', '.join(sorted(owners))}")
    fields: dict[str, Any] = dict(own)
    inside: dict[str, dict[str, str]] = {}
    for name, text in settings.items():
        part, dot, rest = name.partition(".")
        if dot:
            inside.setdefault(part, {})[rest] = text
            continue
        if name in optional or name not in owners:
            switch = _read(text)
            if switch is True or isinstance(switch, dict):
                typed = {} if switch is True else {each: json.dumps(value) for each, value in switch.items()}
                inside[name] = typed | inside.get(name, {})
            else:
                fields[name] = None if switch is False else switch
            continue
        owner = owners[name]
        if len(owner) > 1:
            raise WrongSetting(
                f"{where} has {name} in several parts; say which: {', '.join(f'{o}.{name}' for o in owner)}"
            )
        if owner:
            inside.setdefault(owner[0], {})[name] = text
        else:
            fields[name] = _read(text)
    for part, given in inside.items():
        if part not in parts:
            raise WrongSetting(f"{where}.{part} has no parts")
        if fields[part] is None:
            fields[part] = optional[part]()
        if isinstance(fields[part], dict):
            # Somebody else's settings, by their names; whoever uses them knows which there are.
            fields[part] = fields[part] | {name: _read(text) for name, text in given.items()}
        else:
            fields[part] = changed(fields[part], given, f"{where}.{part}")
    try:
        return TypeAdapter(type(value)).validate_python(fields)
    except ValidationError as error:
        wrong = (f"{e['loc'][-1]} = {e['input']!r}: {e['msg']}" if e["loc"] else e["msg"] for e in error.errors())
        raise WrongSetting(f"{where}: {'; '.join(wrong)}") from error


def _optional(kind: Any) -> dict[str, Any]:
    """The parts of a dataclass that may be left out, and what makes each as it is by itself."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        made = [each for each in get_args(hint) if dataclasses.is_dataclass(each)]
        if len(made) == 1 and NoneType in get_args(hint):
            found[name] = made[0]
    return found


def _owners(value: Any) -> dict[str, tuple[str, ...]]:
    """For every field a person may set, the parts it belongs to; none for the dataclass's own.

    What the training loop has is meant before what other parts have.
    """
    owners: dict[str, tuple[str, ...]] = {}
    own = [field for field in dataclasses.fields(value) if field.init]
    for field in own:
        part = getattr(value, field.name)
        if dataclasses.is_dataclass(part):
            for inner in dataclasses.fields(part):
                if inner.init and owners.get(inner.name) != (TRAINING,):
                    before = () if field.name == TRAINING else owners.get(inner.name, ())
                    owners[inner.name] = (*before, field.name)
    return owners | {f.name: () for f in own if not dataclasses.is_dataclass(getattr(value, f.name))}


def _read(text: str) -> Any:
    """A number, a list, true or null as JSON has it; anything else is the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
