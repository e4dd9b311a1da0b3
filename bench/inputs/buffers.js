// SPDX-License-Identifier: MIT
//
// A service in JavaScript: buffers that live and die outside the collector's heap, JSON, compression.
// Argument: how many requests.
"use strict";

const zlib = require("zlib");
const crypto = require("crypto");

const requests = Number(process.argv[2]);
const cache = new Map();
const hash = crypto.createHash("sha256");
let state = 1;

function draw(bound) {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
  return (state >>> 8) % bound;
}

for (let number = 0; number < requests; number++) {
  const rows = Array.from({ length: 5 + draw(60) }, (_, row) => ({ row, name: "n".repeat(draw(40)), value: draw(1e6) }));
  const body = Buffer.from(JSON.stringify({ number, rows }));
  const packed = zlib.deflateSync(body, { level: 1 });
  cache.set(draw(2000), Buffer.concat([Buffer.allocUnsafeSlow(16 + draw(20000)).fill(7), packed]));
  const answer = JSON.parse(zlib.inflateSync(packed));
  hash.update(String(answer.rows.length));
}
console.log(cache.size, hash.digest("hex"));
