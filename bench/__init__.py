# SPDX-License-Identifier: MIT
"""Measurement of time and memory: see docs/benchmarks.md."""
