# SPDX-License-Identifier: MIT
"""pyarena run --report: the command runs as it would, and its memory is on a page in the end."""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

import programs
import tools

PYTHON = programs.default_python().path
MB = 2**20
# Up to some 60 MB, down to a tenth, up to some 30 MB.
SWING = """
import time
some = [bytes(1000) for _ in range(50000)]
time.sleep(0.7)
del some
time.sleep(0.7)
some = [bytes(1000) for _ in range(20000)]
time.sleep(0.7)
"""


def report(path: Path, *words: object, status: int = 0, **more: object) -> programs.Result:
    return tools.pyarena("run", "--report", path, "--", *words, library=True, status=status, **more)


def samples(path: Path) -> dict[str, list[tuple[float, int]]]:
    """The curves that a page has, by name."""
    found = re.search(r'<script type="application/json" id="samples">(.*?)</script>', path.read_text())
    assert found
    return {curve["name"]: curve["points"] for curve in json.loads(found[1])["curves"]}


def test_memory_over_time_is_that_of_the_run(tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    report(page, PYTHON, "-c", SWING)
    curves = samples(page)
    resident = curves["resident"]

    end = resident[-1][0]
    assert 0.6 < end < 10
    sizes = [size / MB for _, size in resident]
    peak = sizes.index(max(sizes))
    low = next(index for index in range(peak, len(sizes)) if sizes[index] < 20)
    assert sizes[peak] > 50 > max(sizes[low:]) > 25
    assert end - resident[low][0] > 0.2
    assert 0 <= min(free for _, free in curves["free and resident"]) <= 4 * MB
    text = page.read_text()
    assert "ended well" in text and "0.1.0" in text and re.search(r"<dt>peak</dt><dd>[567]\d\.\d MiB", text)
    assert re.search(r"<dt>given back</dt><dd>[4-9]\d\.\d MiB", text)
    assert not re.search(r'src="|href="|@import', text)


def test_descendants_count(tmp_path: Path) -> None:
    page = tmp_path / "tree.html"
    report(page, "sh", "-c", f"{PYTHON} -c '{SWING}'; true")
    assert max(size for _, size in samples(page)["resident"]) > 50 * MB


def test_input_output_and_status_are_the_commands_own(tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    result = report(page, PYTHON, "-c", "import sys; print(sys.argv[1:]); sys.exit(7)", "--report", status=7)
    assert (result.out, result.err) == ("['--report']\n", "")
    assert "ended with 7" in page.read_text()
    report(page, PYTHON, "-c", "import os; os.kill(os.getpid(), 9)", status=-signal.SIGKILL)
    assert "was killed by SIGKILL" in page.read_text()


def test_a_command_of_an_instant(tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    report(page, "true")
    assert "ended well" in page.read_text()


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_signals_are_handed_on(tmp_path: Path, which: signal.Signals) -> None:
    page = tmp_path / "run.html"
    code = "import signal, sys, time\nfor number in (1, 10, 15): signal.signal(number, lambda n, _: sys.exit(n + 40))\n" \
           "print('ready', flush=True)\nfor _ in range(600): time.sleep(0.1)"
    with subprocess.Popen([PYTHON, "-B", tools.COMMAND, "run", "--lib", programs.library(), "--report", page, "--", PYTHON,
                           "-c", code], env=programs.environment(preload=False), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(which)
        assert process.wait(30) == which + 40
    assert f"ended with {which + 40}" in page.read_text()


def test_what_the_terminal_sends_ends_the_command_only(tmp_path: Path) -> None:
    """An interrupt goes to all in the foreground; the page is written when the command has ended by it."""
    page = tmp_path / "run.html"
    with subprocess.Popen([PYTHON, "-B", tools.COMMAND, "run", "--lib", programs.library(), "--report", page, "--", PYTHON,
                           "-c", "print('ready', flush=True)\nimport time; time.sleep(60)"], start_new_session=True,
                          env=programs.environment(preload=False), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == -signal.SIGINT
    assert "was killed by SIGINT" in page.read_text()


def test_long_runs_keep_few_samples() -> None:
    from pyarena import recorded

    recorder = recorded._Recorder(os.getpid())
    recorder._retry = float("inf")
    for second in range(20 * recorded._MOST_SAMPLES):
        recorder.sampler.seconds.append(second)
        recorder.sampler.sizes.append(10 * MB if second == 77 else MB)
        if len(recorder.sampler.sizes) > recorded._MOST_SAMPLES:
            recorder._thin()
    assert len(recorder.sampler.seconds) == len(recorder.sampler.sizes) <= recorded._MOST_SAMPLES
    assert 10 * MB in recorder.sampler.sizes, "a peak is not lost"
    assert recorder.sampler.interval > 0.1


def test_page_works_in_a_browser(tmp_path: Path) -> None:
    program, page = tools.browser(), tmp_path / "run.html"
    report(page, PYTHON, "-c", SWING)
    script = "<script>document.querySelector('.legend button').click(); document.body.append('left ' + " \
             "document.querySelectorAll('#plot .curve').length + ' of ' + document.querySelectorAll('.legend li').length);</script>"
    page.write_text(page.read_text().replace("</body>", script + "</body>"))
    done = subprocess.run([program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
                           "--enable-logging=stderr", "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=300)
    assert "CONSOLE" not in done.stderr, done.stderr
    assert "left 1 of 2" in done.stdout, done.stdout[-2000:]


def test_refusals_say_why(tmp_path: Path) -> None:
    result = report(tmp_path / "none" / "run.html", "true", status=2)
    assert "cannot be written: there is no such directory" in result.err and result.err.count("\n") == 1
