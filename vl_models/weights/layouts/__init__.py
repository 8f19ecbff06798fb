"""Layouts of checkpoints, one file each; `find_layout` guesses which one a file has."""

from __future__ import annotations

import re
from collections.abc import Collection

from vl_models.errors import UserError
from vl_models.weights.layouts.chinese_clip import CHINESE_CLIP
from vl_models.weights.layouts.huggingface_beit import HUGGINGFACE_BEIT
from vl_models.weights.layouts.huggingface_clip import HUGGINGFACE_CLIP
from vl_models.weights.layouts.huggingface_flava import HUGGINGFACE_FLAVA
from vl_models.weights.layouts.huggingface_vilt import HUGGINGFACE_VILT
from vl_models.weights.layouts.open_clip import OPEN_CLIP
from vl_models.weights.layouts.open_clip_coca import OPEN_CLIP_COCA
from vl_models.weights.layouts.openai_clip import OPENAI_CLIP
from vl_models.weights.layouts.torchvision_resnet import TORCHVISION_RESNET
from vl_models.weights.rules import WeightLayout

# In the order of the guess: the later ones' signs also occur in files of the earlier ones.
LAYOUTS: dict[str, WeightLayout] = {
    layout.name: layout
    for layout in (
        HUGGINGFACE_FLAVA,
        HUGGINGFACE_VILT,
        HUGGINGFACE_BEIT,
        OPEN_CLIP_COCA,
        CHINESE_CLIP,
        HUGGINGFACE_CLIP,
        OPENAI_CLIP,
        OPEN_CLIP,
        TORCHVISION_RESNET,
    )
}


def find_layout(name: str, tensors: Collection[str]) -> WeightLayout:
    """Return the layout of that name, or with "auto" the one that the tensors' names show.

    Raises:
        UserError: there is no such layout, or the names show none.
    """
    if name != "auto":
        if name not in LAYOUTS:
            raise UserError(
                f"--layout must be auto or one of {', '.join(sorted(LAYOUTS))}. Received: {name}."
            )
        return LAYOUTS[name]
    for layout in LAYOUTS.values():
        sign = re.compile(layout.sign)
        if any(sign.match(tensor) for tensor in tensors):
            return layout
    some = ", ".join(sorted(tensors)[:5])
    raise UserError(
        f"The tensors have none of the known layouts ({', '.join(sorted(LAYOUTS))}); the first "
        f"of {len(tensors)} names: {some or 'none'}."
    )
