// SPDX-License-Identifier: MIT
// Memory over time: point at it to read values, drag to zoom in, double-click to zoom out, click a name
// to hide its curve. The picture is there without this script; it only draws the curves anew.
"use strict";

(function () {
    const data = JSON.parse(document.getElementById("samples").textContent);
    const svg = document.getElementById("plot");
    const tip = document.getElementById("tip");
    const frame = data.frame; // of the drawing area, in the picture's own units
    const full = [0, data.seconds];
    const hidden = new Set();
    let range = full.slice();
    let from = null; // where a drag began, in seconds

    const make = (name, attributes, text) => {
        const element = document.createElementNS("http://www.w3.org/2000/svg", name);
        for (const key in attributes) element.setAttribute(key, attributes[key]);
        if (text !== undefined) element.textContent = text;
        return element;
    };
    const toX = second => frame.left + (second - range[0]) / (range[1] - range[0]) * frame.width;
    const toY = (size, top) => frame.top + frame.height * (1 - size / top);
    const megabytes = size => (size / 1048576).toFixed(1) + " MB";
    const seconds = value => value.toFixed(range[1] - range[0] < 2 ? 3 : 2) + " s";

    // Steps of 1, 2 or 5 times a power of ten, about so many.
    function steps(low, high, count) {
        const rough = (high - low) / count;
        const power = Math.pow(10, Math.floor(Math.log10(rough)));
        const step = [1, 2, 5, 10].map(n => n * power).find(n => n >= rough);
        const found = [];
        for (let n = Math.ceil(low / step) * step; n <= high + step / 1000; n += step) found.push(n);
        return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
    }

    function visible(points) {
        return points.filter((point, i) => {
            const next = points[i + 1], last = points[i - 1];
            return (next || point)[0] >= range[0] && (last || point)[0] <= range[1];
        });
    }

    function draw() {
        const shown = data.curves.filter(curve => !hidden.has(curve.name))
            .map(curve => ({ ...curve, points: visible(curve.points) }));
        const top = Math.max(1048576, ...shown.flatMap(curve => curve.points.map(point => point[1]))) * 1.05;
        const grid = svg.querySelector(".axes"), curves = svg.querySelector(".curves");
        grid.replaceChildren();
        curves.replaceChildren();
        const rows = steps(0, top / 1048576, 5);
        for (const row of rows.found) {
            const y = toY(row * 1048576, top);
            grid.append(make("line", { class: "grid", x1: frame.left, x2: frame.left + frame.width, y1: y, y2: y }),
                make("text", { x: frame.left - 8, y: y + 4, "text-anchor": "end" }, row.toFixed(rows.digits)));
        }
        const columns = steps(range[0], range[1], 8);
        for (const column of columns.found) {
            grid.append(make("text", { x: toX(column), y: frame.top + frame.height + 18, "text-anchor": "middle" },
                column.toFixed(columns.digits)));
        }
        for (const curve of shown) {
            const path = curve.points.map((point, i) =>
                (i ? "L" : "M") + toX(point[0]).toFixed(1) + " " + toY(point[1], top).toFixed(1)).join("");
            curves.append(make("path", { class: "curve" + (curve.ours ? " ours" : ""), stroke: curve.colour, d: path }));
        }
    }

    // The seconds that a pointer is at.
    function at(event) {
        const box = svg.getBoundingClientRect();
        const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
        const part = Math.min(1, Math.max(0, (x - frame.left) / frame.width));
        return range[0] + part * (range[1] - range[0]);
    }

    function nearest(points, second) {
        let low = 0, high = points.length - 1;
        while (low < high) {
            const middle = (low + high) >> 1;
            if (points[middle][0] < second) low = middle + 1; else high = middle;
        }
        return low > 0 && second - points[low - 1][0] < points[low][0] - second ? points[low - 1] : points[low];
    }

    function point(event) {
        const second = at(event), marks = svg.querySelector(".marks");
        const x = toX(second);
        marks.replaceChildren(make("line",
            { class: "cursor", x1: x, x2: x, y1: frame.top, y2: frame.top + frame.height }));
        if (from !== null) {
            const begin = toX(from);
            marks.append(make("rect", { class: "chosen", x: Math.min(begin, x), width: Math.abs(x - begin),
                y: frame.top, height: frame.height }));
        }
        tip.replaceChildren(seconds(second));
        for (const curve of data.curves) {
            const last = curve.points[curve.points.length - 1];
            if (hidden.has(curve.name) || second > last[0] + 0.01 * data.seconds) continue;
            const line = document.createElement("div"), swatch = document.createElement("span");
            swatch.className = "swatch";
            swatch.style.background = curve.colour;
            line.append(swatch, curve.name + " " + megabytes(nearest(curve.points, second)[1]));
            tip.append(line);
        }
        const right = x > frame.left + frame.width / 2;
        tip.style.left = right ? "5rem" : "auto";
        tip.style.right = right ? "auto" : "1rem";
        tip.hidden = false;
    }

    function zoom(begin, end) {
        range = end - begin > 0.002 * data.seconds ? [begin, end] : full.slice();
        document.getElementById("whole").hidden = range[0] === full[0] && range[1] === full[1];
        draw();
    }

    svg.classList.add("zoomable");
    svg.addEventListener("pointerdown", event => { from = at(event); svg.setPointerCapture(event.pointerId); });
    svg.addEventListener("pointermove", point);
    svg.addEventListener("pointerup", event => {
        const begin = from, end = at(event);
        from = null;
        if (begin !== null && Math.abs(end - begin) > 0.01 * (range[1] - range[0]))
            zoom(Math.min(begin, end), Math.max(begin, end));
        point(event);
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; svg.querySelector(".marks").replaceChildren(); });
    svg.addEventListener("dblclick", () => zoom(full[0], full[1]));
    document.getElementById("whole").addEventListener("click", () => zoom(full[0], full[1]));
    for (const button of document.querySelectorAll(".legend button")) {
        button.addEventListener("click", () => {
            const name = button.dataset.name;
            if (!hidden.delete(name)) hidden.add(name);
            button.setAttribute("aria-pressed", String(!hidden.has(name)));
            draw();
        });
    }
    draw();
})();
