"""``python -m diffident.cli`` is ``diffident``."""

from . import main

main()
