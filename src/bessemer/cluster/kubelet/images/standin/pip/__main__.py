"""``python -m pip``."""

import sys

from pip import main  # type: ignore[import-not-found]  # found where it is put

sys.exit(main())
