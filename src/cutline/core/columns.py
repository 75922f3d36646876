"""A frozen struct of arrays: the one container for candidates, estimates and constants."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import numpy as np


class Columns:
    """Base of frozen dataclasses whose fields are arrays of one length, or scalars that apply to all rows."""

    def as_dict(self) -> dict[str, Any]:
        """Return field name -> column, without copying."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    def __len__(self) -> int:
        return max((len(v) for v in self.as_dict().values() if np.ndim(v)), default=1)

    def __getitem__(self, rows: Any) -> Self:
        """Return the rows picked by an index array, mask, slice or number."""
        return type(self)(**{k: v[rows] if np.ndim(v) else v for k, v in self.as_dict().items()})

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some columns replaced."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    def row(self, i: int = 0) -> dict[str, Any]:
        """Return one row as plain Python numbers."""
        picked = {k: v[i] if np.ndim(v) else v for k, v in self.as_dict().items()}
        return {k: v.item() if isinstance(v, np.generic) else v for k, v in picked.items()}

    @classmethod
    def concat(cls, parts: list[Self]) -> Self:
        """Stack tables of the same kind; scalars are repeated."""
        names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
        long = [(p, len(p)) for p in parts]
        return cls(**{n: np.concatenate([np.broadcast_to(getattr(p, n), k) for p, k in long]) for n in names})
