# SPDX-License-Identifier: MIT
"""Tables in pandas: made, joined, grouped, sorted, written as text and read again.  Argument: how many rows."""

import io
import sys

import numpy
import pandas


def main(rows: int) -> None:
    """Do it, and print what came out."""
    draw = numpy.random.default_rng(1)
    sales = pandas.DataFrame(
        {
            "shop": draw.integers(0, 500, rows),
            "article": draw.integers(0, 3000, rows).astype(str),
            "amount": draw.normal(20, 5, rows),
            "day": pandas.to_datetime("2026-01-01") + pandas.to_timedelta(draw.integers(0, 365, rows), "D"),
        }
    )
    shops = pandas.DataFrame({"shop": range(500), "town": [f"town {number % 40}" for number in range(500)]})
    joined = sales.merge(shops, on="shop")
    monthly = joined.groupby(["town", joined["day"].dt.month])["amount"].agg(["sum", "mean", "count"])
    best = joined.groupby("article")["amount"].sum().sort_values(ascending=False).head(10)
    text = io.StringIO()
    joined.sort_values(["day", "shop"]).to_csv(text, index=False)
    text.seek(0)
    again = pandas.read_csv(text, parse_dates=["day"])
    print(len(again), len(monthly), best.index[0], again["town"].str.upper().nunique())


main(int(sys.argv[1]))
