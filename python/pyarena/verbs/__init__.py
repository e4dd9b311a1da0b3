# SPDX-License-Identifier: MIT
"""The verbs of the command pyarena, one a module; pyarena.command tells what each must have."""
