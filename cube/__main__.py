"""`python -m cube` is the `cube` command."""

import sys

from cube.cli import main

sys.exit(main())
