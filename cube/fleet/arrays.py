"""Names for the array types that fleet, placement and policies exchange. Owns no data."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.intp]  # indexes of rows
Ints: TypeAlias = NDArray[np.int64]  # exact quantities
Mask: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]  # scores
