from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.utils.messages import one_line
from torch_sake.utils.plain_checks import require

# What else is known of a frame under one of these names says what it is:
NAMES = ('config_type', 'name', 'title')
ABSENT = '-'
MAX_GROUPS = 1000


@dataclass
class FrameTexts:
    r"""What people call the frames of an evaluation.

    Args:
        numbers (list of int): The number of each frame in its source.
        names (dict): What is known of each frame, as text by its name, such as
            :obj:`'config_type'`; of several sources, first of all the
            :obj:`'source'`. (default: nothing)
        group_by (str, optional): The name in :obj:`names` by which frames are
            in groups. (default: :obj:`None`)
    """
    numbers: Sequence[int]
    names: dict[str, list[str]] = field(default_factory=dict)
    group_by: str | None = None

    @property
    def groups(self) -> list[str] | None:
        r"""The group of each frame."""
        return None if self.group_by is None else self.names[self.group_by]


def frame_texts(frames: AnyFrames,
                group_by: str | None = None) -> FrameTexts:
    r"""Returns what people call the frames.

    Args:
        frames (Frames or FramesOnDisk): The frames.
        group_by (str, optional): An entry of their info by which they are in
            groups; those without it are a group. (default: :obj:`None`)

    Raises:
        ValueError: If no frame has the entry, or the groups are too many.
    """
    infos: list[dict[str, Any]] = [{}]
    if frames.has_infos:
        infos = [frames.info(index) for index in range(len(frames))]
    known = {name for info in infos for name in info}
    require(group_by is None or group_by in known,
            f"'group_by' must be an entry that a frame has, one of "
            f"{sorted(known)} (got {group_by!r})")
    chosen = [name for name in NAMES if name in known][:1]
    if group_by is not None and group_by not in chosen:
        chosen.append(group_by)
    origins = [frames.origin(index) for index in range(len(frames))]
    sources, numbers = zip(*origins)
    names = {} if len(set(sources)) == 1 else {'source': list(sources)}
    names.update({name: [one_line(str(info.get(name, ABSENT)))
                         for info in infos] for name in chosen})
    texts = FrameTexts(list(numbers), names, group_by)
    number = len(set(texts.groups or []))
    require(number <= MAX_GROUPS,
            f"'group_by' must have at most {MAX_GROUPS} different values "
            f"(got {group_by!r} with {number})")
    return texts
