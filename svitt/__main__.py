"""``python -m svitt``: the same as the ``svitt`` command."""

from __future__ import annotations

import sys

from svitt.cli import main

sys.exit(main())
