# SPDX-License-Identifier: MIT
"""pyarena compare: its figures are those of the processes, its files are sound, its page works in a browser."""
from __future__ import annotations

import csv
import json
import re
import signal
import socket
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

import programs
import tools

from pyarena.allocators import Allocator
from pyarena.comparison import Comparison
from pyarena.curves import Curve
from pyarena.trial import Trial
from pyarena.verbs.compare import Course

PYTHON = programs.default_python().path
MB = 2**20

# 60 MB, all freed but every hundredth.
JOB = "import time\nx = [bytes(1000) for _ in range(60000)]\nkept = x[::100]\ndel x\ntime.sleep(0.1)\n"
QUICK = ("--idle", "0.2", "--with", "glibc")


def compare(*words: object, status: int = 0, cwd: Path | None = None) -> programs.Result:
    return tools.pyarena("compare", *words, library=True, status=status, cwd=cwd)


def test_figures_are_those_of_the_command(tmp_path: Path) -> None:
    files = [tmp_path / f"result.{kind}" for kind in ("json", "csv", "html")]
    result = compare(*QUICK, "--runs", 2, "--json", files[0], "--csv", files[1], "--html", files[2],
                     "--", PYTHON, "-c", JOB)
    whole = json.loads(files[0].read_text())
    assert list(whole["medians"]) == ["stock", "glibc", "pyarena"]
    assert whole["command"] == [PYTHON, "-c", JOB]
    for name, figures in whole["medians"].items():
        assert 60 * MB < figures["peak"] < 110 * MB, (name, figures)
        assert 0.1 < figures["time"] < 30 and figures["cpu"] > 0.01 and figures["faults"] > 10000
        assert figures["settled"] <= figures["after"] + MB <= figures["peak"] + 2 * MB
    assert whole["medians"]["stock"]["settled"] > 60 * MB
    assert whole["medians"]["pyarena"]["settled"] < 25 * MB
    assert whole["allocators"]["pyarena"] == {"LD_PRELOAD": str(programs.library())}
    assert re.match(r"20\d\d-\d\d-\d\d ", whole["made"]) and re.match(r"\d.* GiB$", whole["machine"]["memory"])
    assert whole["machine"]["libpyarena"] == "0.1.0" and "Python 3." in whole["machine"]["program"]
    assert max(size for _, size in whole["samples"]["stock"]) > 60 * MB
    with files[1].open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["allocator"], line["round"]) for line in lines] == \
        [(name, number) for name in ("stock", "glibc", "pyarena") for number in ("1", "2")]
    assert {line["status"] for line in lines} == {"0"}
    assert whole["verdict"] in " ".join(result.out.split()) and "settles at 0." in whole["verdict"]
    # Interleaved, and in another order in the second round.
    order = re.findall(r"^\[\d/6\] (\w+) \.\.\.$", result.err, re.MULTILINE)
    assert order == ["stock", "glibc", "pyarena", "glibc", "pyarena", "stock"]
    assert "s left" in result.err


def test_memory_of_children_is_told(tmp_path: Path) -> None:
    code = "import os, time\nblock = b'x' * (20 << 20)\nif os.fork() == 0:\n" \
           "    own = b'y' * (30 << 20)\n    time.sleep(2)\n    os._exit(0)\nos.wait()\n"
    compare(*QUICK, "--runs", 1, "--json", tmp_path / "r.json", "--", PYTHON, "-c", code)
    medians = json.loads((tmp_path / "r.json").read_text())["medians"]
    for name, figures in medians.items():
        assert 29 * MB < figures["private"] < 40 * MB, (name, figures)


def test_a_command_that_is_no_python_has_no_after(tmp_path: Path) -> None:
    compare(*QUICK, "--runs", 1, "--json", tmp_path / "r.json", "--", "sleep", "0.2")
    figures = json.loads((tmp_path / "r.json").read_text())["medians"]["pyarena"]
    assert "peak" in figures and "settled" not in figures


SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    kept = []
    def do_GET(self):
        if self.path == "/load":
            peak = [bytes(1000) for _ in range(60000)]
            self.kept.append(peak[::100])
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_server_is_started_loaded_and_stopped(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    load = f"{PYTHON} -c 'import urllib.request as r; [r.urlopen(\"{url}/load\").read() for _ in range(3)]'"
    compare("--runs", 1, "--with", "glibc", "--idle", 3, "--ready-url", url, "--load", load,
            "--json", tmp_path / "r.json", "--", PYTHON, "-c", SERVER, url.rpartition(":")[2])
    medians = json.loads((tmp_path / "r.json").read_text())["medians"]
    for name, figures in medians.items():
        assert figures["peak"] > 60 * MB, (name, figures)
        assert 0.02 < figures["time"] < 30
    assert medians["pyarena"]["settled"] < 45 * MB < 60 * MB < medians["stock"]["settled"]


def test_a_server_that_ends_or_a_load_that_fails_is_told() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    words = ("--runs", 1, "--with", "glibc", "--idle", 0, "--ready-url", url, "--load")
    result = compare(*words, "true", "--", PYTHON, "-c", "print('no', 'port'); raise SystemExit(3)", status=2)
    assert "ended with 3 too early:\nno port" in result.err
    result = compare(*words, "echo overrun; exit 9", "--", PYTHON, "-c", SERVER, url.rpartition(":")[2], status=2)
    assert "ended with 9:\noverrun" in result.err


def test_a_server_that_fails_under_one_allocator_does_not_spoil_the_rest(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    code = "import os, sys\nif 'pyarena' in os.environ.get('LD_PRELOAD', ''): sys.exit('not with this')\n" + SERVER
    result = compare("--runs", 1, "--with", "glibc", "--idle", 0, "--ready-url", url, "--load", "true", "--json", tmp_path / "r.json",
                     "--html", tmp_path / "r.html", "--", PYTHON, "-c", code, url.rpartition(":")[2], status=1)
    assert "under pyarena: " in result.err and "not with this" in result.err and "No verdict" in result.out
    runs = json.loads((tmp_path / "r.json").read_text())["runs"]
    assert [runs[name][0]["status"] for name in ("stock", "glibc", "pyarena")] == [0, 0, 1]


def test_interrupted_it_tells_what_it_has() -> None:
    words = [PYTHON, "-B", tools.COMMAND, "compare", "--lib", programs.library(), "--runs", "9", *QUICK, "--", "sleep", "0.3"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=programs.environment(preload=False)) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("[5/27]"):
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=300)
    assert process.returncode == 130 and "interrupted: the figures are those of" in err and "Traceback" not in err
    assert "\npyarena " in out and "Under libpyarena it" in out


def test_a_failing_command_is_told_and_does_not_count() -> None:
    code = "import os, sys; print('because'); sys.exit(3 if 'LD_PRELOAD' in os.environ else 0)"
    result = compare(*QUICK, "--runs", 1, "--", PYTHON, "-c", code, status=1)
    assert "under pyarena: " in result.err and "ended with 3:\nbecause" in result.err
    assert "No verdict" in result.out


@pytest.mark.parametrize("words, reason", [
    (["--", "nosuchprogram"], "nosuchprogram is not found in PATH"),
    (["--load", "true", "--", "true"], "--ready-url and --load go together"),
    (["--with", "nosuch", "--", "true"], "no allocator nosuch; known: stock, glibc"),
    (["--with", "mine=/nonexistent.so", "--", "true"], "there is no file /nonexistent.so"),
    (["--html", "/nonexistent/page.html", "--", "true"], "there is no such directory"),
    (["--runs", "0", "--", "true"], "'0' is not a number from 1 on"),
    (["--idle", "long", "--", "true"], "'long' is not a number of seconds"),
    ([], "no command is given"),
])
def test_refusals_say_why(words: list[str], reason: str) -> None:
    assert reason in compare(*words, status=2).err


# ---- The verdict ------------------------------------------------------------------------------------


def test_verdict_is_not_hidden_by_the_noise_of_a_third() -> None:
    text = made(stock=[(1.0, 50), (1.02, 50)], other=[(1.0, 50), (3.0, 50)], pyarena=[(1.3, 50), (1.31, 50)]).verdict()
    assert "It takes 1.29 of stock's time, more than chance explains" in text
    assert "Faster than it: stock (1.00)" in text


def test_verdict_tells_what_it_costs_beside_time() -> None:
    costly = made(stock=[(1.0, 50), (1.0, 50)], pyarena=[(1.0, 50), (1.0, 50)])
    for name, cpu, faults in (("stock", 0.5, 1000), ("pyarena", 0.6, 2500)):
        for trial in costly.trials[name]:
            trial.figures.update(cpu=cpu, faults=faults)
    assert "It takes 1.20 of stock's processor time and 2.50 of stock's page faults." in costly.verdict()
    for trial in costly.trials["pyarena"]:
        trial.figures.update(cpu=0.51, faults=1020)
    assert "processor time" not in costly.verdict() and "page faults" not in costly.verdict()


# ---- The table and the progress ---------------------------------------------------------------------


def test_the_table_fits_a_terminal_by_columns_or_rows() -> None:
    names = ("stock", "glibc", "jemalloc", "mimalloc", "tcmalloc", "pyarena")
    whole = made(**{name: [(1.0, 50), (1.1, 60)] for name in names})
    wide, narrow = whole.text(80), whole.text(68)
    assert re.search(r"^pyarena +1.050 ±5 % +1.00 +100.0 +55.0 ±9 % +1.00 +ok$", wide, re.MULTILINE), wide
    assert re.search(rf"^ +{' +'.join(names)}$", narrow, re.MULTILINE), narrow
    assert re.search(r"^settled, MB( +55.0){6}\n( +±9 %){6}\n  × stock( +1.00){6}\nended( +ok){6}$", narrow, re.MULTILINE), narrow
    assert max(map(len, narrow.splitlines())) <= 68
    assert whole.verdict() == " ".join(narrow.partition("\n\n")[2].split("\n"))


def test_progress_tells_what_is_left() -> None:
    now = 100.0
    course = Course(4, lambda: now)
    course.begin("stock")
    assert course.left() == "" and set(course.bar()) <= set("░-")
    now = 110.0
    course.end(Trial({}, Curve("stock", [], []), 0))
    assert course.left() == ", about 30 s left"
    course.begin("other")
    now = 115.0
    assert course.left() == ", about 25 s left"
    assert course.bar()[6] in "█#" and course.bar()[7] in "░-", course.bar()  # 1.5 of 4 runs
    now = 150.0  # this one takes longer than the first did
    assert course.left() == ", about 20 s left"
    for now in (400.0, 700.0):
        course.end(Trial({}, Curve("other", [], []), 0))
    assert course.left() == ", about 3 min left"
    course.end(Trial({}, Curve("other", [], []), 0))
    assert course.left() == ""


def test_a_terminal_sees_a_bar_and_a_table_that_fits(tmp_path: Path) -> None:
    words = [PYTHON, "-B", str(tools.COMMAND), "compare", "--lib", str(programs.library()), *QUICK, "--runs", "2", "--",
             "sleep", "0.4"]
    screen = tools.on_terminal(words, 70)
    assert re.search(r"[█#]+[░-]+ \[4/6\] \w+: \d", screen) and re.search(r"about \d+ s left", screen), screen
    table = screen.rpartition("[6/6]")[2]
    assert max(len(line.rstrip()) for line in table.splitlines()[1:]) <= 70 and "Under libpyarena it" in table, table


def made(**runs: list[tuple[float, float]]) -> Comparison:
    """A comparison with these times and settled MB."""
    made = Comparison(["x"], [Allocator(name) for name in runs], 2.0, {})
    for name, pairs in runs.items():
        for seconds, settled in pairs:
            figures = {"time": seconds, "settled": settled * MB, "peak": 100.0 * MB}
            made.add(name, Trial(figures, Curve(name, [0.0, seconds], [0, 100 * MB]), 0))
    return made


def test_verdict_does_not_flatter() -> None:
    slower = made(stock=[(1.0, 50), (1.02, 50)], other=[(0.8, 20), (0.81, 20)], pyarena=[(1.2, 30), (1.2, 30)])
    text = slower.verdict()
    assert "peaks at the same memory (100.0 MB) and settles at 0.60 of stock's memory" in text
    assert "It takes 1.19 of stock's time, more than chance explains" in text
    assert "Leaner than it: other (0.40), in memory when settled against stock." in text
    assert "Faster than it: other (0.80), stock (1.00), in time against stock." in text
    assert "None of the others" not in text


def test_verdict_knows_noise() -> None:
    noisy = made(stock=[(1.0, 50), (1.4, 50)], other=[(1.1, 50), (1.3, 50)], pyarena=[(1.3, 30), (1.35, 30)])
    assert "which is no difference: runs under one allocator differ by up to 33 %" in noisy.verdict()
    assert "None of the others is leaner, or faster by more than chance." in noisy.verdict()
    once = made(stock=[(1.0, 50)], pyarena=[(1.05, 50)])
    assert "no difference: each ran once, so a tenth may be chance" in once.verdict()
    assert "settles at the same memory (50.0 MB)" in once.verdict()
    far = made(stock=[(1.0, 50)], pyarena=[(1.5, 50)]).verdict()
    assert "It took 1.50 of stock's time; each ran once, so --runs 5 would tell" in far and "more than chance" not in far


# ---- The page ---------------------------------------------------------------------------------------


def page_of(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    compare(*QUICK, "--runs", 1, "--html", path, "--", PYTHON, "-c", JOB + "# <script>alert(1)</script> &amp; é")
    return path


class Structure(HTMLParser):
    """Checks that elements are closed in order, and collects what is fetched and drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.curves = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        if tag not in ("meta", "line", "path", "br"):
            self.open.append(tag)
        self.fetched += [value or "" for name, value in attributes if name in ("src", "href")]
        self.curves += tag == "path" and "curve" in (named.get("class") or "") and len(named["d"] or "") > 20

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag


def test_page_is_whole_without_its_script(tmp_path: Path) -> None:
    text = page_of(tmp_path).read_text()
    structure = Structure()
    structure.feed(text)
    assert structure.open == [] and structure.fetched == []
    assert structure.curves == 3
    assert "alert(1)" in text and "<script>alert" not in text
    assert "http" not in re.sub(r"http://www.w3.org/2000/svg|http-equiv", "", text)


# Does with the page what a reader does, and writes down what came of it.
USE = """
<script>
const told = [];
window.onerror = text => told.push("error: " + text);
const plot = document.getElementById("plot"), tip = document.getElementById("tip");
plot.setPointerCapture = () => {};  // there is no real pointer to be captured
const box = plot.getBoundingClientRect();
const send = (kind, part) => plot.dispatchEvent(new PointerEvent(kind,
    { clientX: box.left + box.width * part, clientY: box.top + 50, bubbles: true }));
const curves = () => plot.querySelectorAll(".curve").length;
const labels = () => Array.from(plot.querySelectorAll(".axes text")).map(one => one.textContent).join(" ");
const before = labels();
told.push("curves " + curves());
send("pointermove", 0.3); told.push("tip " + (tip.hidden ? "hidden" : tip.textContent));
send("pointerdown", 0.2); send("pointermove", 0.4); send("pointerup", 0.4);
told.push("zoomed " + (labels() !== before));
plot.dispatchEvent(new MouseEvent("dblclick")); told.push("whole again " + (labels() === before));
document.querySelector('.legend button[data-name="glibc"]').click(); told.push("then curves " + curves());
send("pointerleave", 0.5); told.push("tip hidden " + tip.hidden);
const text = document.querySelector(".verdict"), style = getComputedStyle(text);
told.push("verdict " + parseFloat(style.fontSize) + " " + (text.getBoundingClientRect().height > 10));
told.push("plot " + Math.round(box.width) + "x" + Math.round(box.height));
told.push("overflow " + (document.documentElement.scrollWidth > innerWidth));
const out = document.createElement("pre"); out.id = "told"; out.textContent = told.join("\\n");
document.body.append(out);
</script></body>
"""


@pytest.mark.parametrize("width", [1200, 500])
def test_page_works_in_a_browser(tmp_path: Path, width: int) -> None:
    program = tools.browser()
    path = page_of(tmp_path)
    path.write_text(path.read_text().replace("</body>", USE))
    done = subprocess.run([program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
                           f"--window-size={width},900", "--enable-logging=stderr", "--dump-dom", path.as_uri()],
                          capture_output=True, text=True, timeout=300)
    assert "CONSOLE" not in done.stderr, done.stderr
    told = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    assert told, done.stdout[-2000:] + done.stderr[-2000:]
    lines = dict.fromkeys(told[1].split("\n"))
    for line in ("curves 3", "zoomed true", "whole again true", "then curves 2", "tip hidden true", "overflow false"):
        assert line in lines, told[1]
    assert re.search(r"^tip \d\.\d+ s.*stock \d+\.\d MB.*pyarena \d+\.\d MB", told[1], re.MULTILINE), told[1]
    assert re.search(r"^verdict 1[4-9](\.\d+)? true$", told[1], re.MULTILINE), told[1]
    plot = re.search(r"^plot (\d+)x(\d+)$", told[1], re.MULTILINE)
    assert plot and int(plot[1]) > 0.7 * width - 100 and int(plot[2]) > 100, told[1]
