# SPDX-License-Identifier: MIT
"""Real programs do real jobs under the preload: output and exit status equal those without it.

Each file of jobs/ is a bash script that can be run by hand in an empty directory.  Its second
line names the programs it needs; exit status 77 means that this machine does not let it run.
"""
from __future__ import annotations

import functools
import json
import os
import shutil
from pathlib import Path

import pytest

import programs

JOBS = {job.stem: job for job in sorted((Path(__file__).parent / "jobs").glob("*.sh"))}

# How the library is set while a job runs.  "eager" gives back every free page at once, which is
# where forgotten live blocks would show, and has each process write its report.
WAYS = {
    "default": {},
    "eager": {"PYARENA_KEEP_FREE": "0", "PYARENA_STATS": ":{reports}/%p.json"},
    "hardened": {"PYARENA_HARDEN": "1"},
}
# Jobs that run in these ways too: what has large heaps, and what handles what others send, and what it runs;
# EAGER_JOBS="awk git …" and HARDENED_JOBS name others.
JOBS_OF = {
    "eager": os.environ.get("EAGER_JOBS", "bash chromium g++ git java node perl php postgresql redis ruby sqlite").split(),
    "hardened": os.environ.get("HARDENED_JOBS", "apache bash g++ nginx node perl php postgresql").split(),
}

assert all(set(jobs) <= set(JOBS) for jobs in JOBS_OF.values()), f"no such job among {JOBS_OF}"


def work(job: str, place: Path, *, preload: bool, variables: dict[str, str]) -> programs.Result:
    """Run a job in place/work, an empty directory whose name is the same each time."""
    directory = place / "work"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return programs.run(["bash", "-eu", "-o", "pipefail", JOBS[job]], cwd=directory, home=directory,
                        preload=preload, variables=variables, timeout=900)


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """The result of a job without the library, run once for all ways."""
    place = tmp_path_factory.mktemp("jobs")

    @functools.lru_cache(maxsize=None)
    def once(job: str) -> tuple[Path, programs.Result]:
        result = work(job, place, preload=False, variables={})
        return place, result

    return once


@pytest.mark.parametrize("job, way", [(job, way) for job in JOBS for way in WAYS
                                      if job in JOBS_OF.get(way, JOBS)])
def test_program(job: str, way: str, without, tmp_path: Path) -> None:
    needs = JOBS[job].read_text().splitlines()[1]
    assert needs.startswith("# needs: "), "the second line names the programs that the job needs"
    programs.need(*needs.removeprefix("# needs: ").split())
    place, expected = without(job)
    if expected.status == 77:
        pytest.skip(f"not possible on this machine: {expected.err.strip()[-300:]}")
    assert expected.status == 0, f"the job itself fails, without the library:\n{expected}"
    variables = {name: value.format(reports=tmp_path) for name, value in WAYS[way].items()}
    result = work(job, place, preload=True, variables=variables)
    assert result.status == expected.status, result
    assert result.out == expected.out, result
    assert result.err == expected.err, result
    if "PYARENA_STATS" in variables:
        texts = [report.read_text() for report in tmp_path.glob("*.json")]
        # Who was killed, or outlives the job by a moment, has not come to the end of its report.
        reports = [json.loads(text) for text in texts if text.endswith("}}\n")]
        assert reports, "no process of the job wrote a report"
        assert any(report["stats"]["arenas_made"] for report in reports), \
            "the library served in no process"
