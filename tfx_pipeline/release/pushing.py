"""What the pushers share: a number that may be taken, the copy in a bucket, what is recorded."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any


def push(
    release: Any,
    publish: Callable[[int], None],
    serving_root: str,
    version: int,
    publish_to: str,
    file_system_options: str,
) -> None:
    """Publish under a number, copy to a bucket, and note both in the pusher's output.

    Args:
        release: the output artifact.
        publish: publishes into the serving root under a number.
        serving_root: folder of the releases.
        version: decided at submission; 0 where the submitter could not see the serving root: then
            the next one.
        publish_to: URI that the release is copied to, too; "" for none.
        file_system_options: JSON list of Beam's options for it, such as the endpoint.
    """
    from serving.errors import VersionTakenError
    from serving.release import next_version
    from tfx_pipeline.storage import releases
    from tfx_pipeline.storage.options import use_file_system_options

    version = version or next_version(serving_root)
    try:
        publish(version)
    except VersionTakenError:
        # An equal submission was released before, and its cached steps are gone: making them
        # again gave other content, and a number never changes its content.
        version = next_version(serving_root)
        publish(version)
    if publish_to:
        use_file_system_options(json.loads(file_system_options))
        releases.publish(Path(serving_root), publish_to)
        release.set_string_custom_property("published_to", publish_to)
    release.set_int_custom_property("released", 1)
    release.set_int_custom_property("version", version)
    logging.info("Released version %d to %s", version, serving_root)


def refuse(release: Any, reasons: str) -> None:
    """Note in the pusher's output that nothing was released, and why."""
    release.set_int_custom_property("released", 0)
    release.set_string_custom_property("reasons", reasons)
    logging.warning("Not released: %s", reasons)
