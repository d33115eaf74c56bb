"""What GR00T wants to know of a v2.1 dataset: which numbers of state and action belong together, and what is a picture.

GR00T reads it from ``meta/modality.json``: state, action, video and annotation, each part under a name of its own.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from storage.lerobot.layout import is_depth

MODALITY = "meta/modality.json"

VECTORS = {"state": "observation.state", "action": "action"}
"""Where GR00T looks for these, whatever they are called in a dataset."""

CAMERA = "observation.images."

TASK = {"human.task_description": {"original_key": "task_index"}}
"""What is to be done, in words: the task of each step."""


def modality(features: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The file's content; None when GR00T could not learn from these features: no state, action or film in colour."""
    films = [name for name, about in features.items() if about["dtype"] == "video" and not is_depth(about)]
    parts = {kind: _parts(features[name]) for kind, name in VECTORS.items() if name in features}
    if not films or any(not parts.get(kind) for kind in VECTORS):
        return None
    video = {name.removeprefix(CAMERA): {"original_key": name} for name in films}
    return parts | {"video": video, "annotation": TASK}


def _parts(about: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Numbers that follow each other and are named alike but for a number, as ``joint_1`` and ``joint_2``, are a part.

    Numbers without names of their own are one part. What is no vector has none.
    """
    if len(about["shape"]) != 1:
        return {}
    (size,), names = about["shape"], about.get("names")
    if not isinstance(names, Sequence) or len(names) != size or not all(isinstance(name, str) for name in names):
        return {"all": {"start": 0, "end": size}}
    found: dict[str, dict[str, int]] = {}
    begin = 0
    for part, numbers in groupby(names, lambda name: re.sub(r"[_.]?\d+$", "", name) or name):
        end = begin + len(list(numbers))
        if part in found:
            return {"all": {"start": 0, "end": size}}
        found[part] = {"start": begin, "end": end}
        begin = end
    return found
