"""A stand-in for one module that data-validation 1.16 imports and tfx-bsl 1.21 lacks.

On systems with glibc < 2.39 the newest data-validation that installs is 1.16.1. It imports
`tfx_bsl.arrow.sql_util`, which is used for slicing by SQL only and is gone from tfx-bsl
1.21. The finder below answers for that one name, after all others: where the real module
exists, or where nothing asks for it, it does nothing.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

_MODULE = "tfx_bsl.arrow.sql_util"


class _StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and loads the stand-in module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for the one missing module."""
        if fullname != _MODULE:
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module a class whose use explains itself."""

        class RecordBatchSQLSliceQuery:
            """Stands for SQL slicing, which is not available here."""

            def __init__(self, *args: object, **kwargs: object) -> None:
                raise NotImplementedError(
                    "Slicing statistics by SQL needs tensorflow-data-validation >= 1.21 "
                    "(glibc >= 2.39). Remove the SQL slice from the statistics options."
                )

        module.RecordBatchSQLSliceQuery = RecordBatchSQLSliceQuery  # type: ignore[attr-defined]


def install() -> None:
    """Register the stand-in, once, behind all other finders."""
    if not any(isinstance(finder, _StandInFinder) for finder in sys.meta_path):
        sys.meta_path.append(_StandInFinder())
