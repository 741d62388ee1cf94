"""`python -m cube.compose docs/job-spec.md`: renew the support matrix in a page."""

from __future__ import annotations

import sys
from pathlib import Path

from cube.compose.schema import with_matrix


def main(arguments: list[str]) -> None:
    """Rewrite each page that is named."""
    for name in arguments:
        page = Path(name)
        page.write_text(with_matrix(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
