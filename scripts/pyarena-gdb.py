# SPDX-License-Identifier: MIT
"""For gdb: the command pyarena, and printers for pools, arenas and heaps.

gdb loads this with the library where it is installed in a place that gdb trusts; elsewhere "source" does,
as in "source scripts/pyarena-gdb.py".  "help pyarena" tells more.
"""

import os
import sys

# Where the package is, from this file on; make writes the installed place here.
PACKAGE = "../python"

sys.path.insert(0, os.path.normpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), PACKAGE)))

from pyarena.debugger import register  # noqa: E402  (the path comes first)

register()
