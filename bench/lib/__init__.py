# SPDX-License-Identifier: MIT
"""What bench/run, bench/micro/run and bench/compare share."""
