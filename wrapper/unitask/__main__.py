"""`python -m unitask` is `unitask`."""

import sys

from .cli import main

sys.exit(main())
