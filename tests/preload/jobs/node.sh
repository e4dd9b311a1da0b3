# SPDX-License-Identifier: MIT
# needs: node
# Many objects, maps, strings, buffers, compression, a worker thread and a child process.
cat > job.js <<'END'
const crypto = require('crypto'), zlib = require('zlib'), { Worker } = require('worker_threads');
const { execFileSync } = require('child_process');
let list = [];
for (let i = 0; i < 200000; i++) list.push({ id: i, name: 'n' + i % 1000, tags: [i % 7, i % 11] });
const groups = new Map();
for (const item of list) groups.set(item.name, (groups.get(item.name) || 0) + item.id);
console.log(groups.size, groups.get('n77'));
const text = JSON.stringify(list.slice(0, 50000));
console.log(text.length, JSON.parse(text)[49999].name, crypto.createHash('sha256').update(text).digest('hex'));
const packed = zlib.gzipSync(text), again = zlib.gunzipSync(packed).toString();
console.log(again === text);
list = list.filter(item => item.id % 3 === 0);
console.log(list.length);
const buffers = [];
for (let i = 0; i < 2000; i++) buffers.push(Buffer.alloc(i * 17 % 40000, i & 255));
console.log(crypto.createHash('md5').update(Buffer.concat(buffers)).digest('hex'));
console.log(execFileSync(process.execPath, ['-p', '6 * 7']).toString().trim());
const code = `const { parentPort } = require('worker_threads');
const a = []; for (let i = 0; i < 100000; i++) a.push({ i, s: 'x' + i });
parentPort.postMessage(a.reduce((n, o) => n + o.s.length, 0));`;
let left = 2;
for (let i = 0; i < 2; i++)
	new Worker(code, { eval: true }).on('message', n => { console.log('worker', n); });
zlib.deflate(text, (error, data) => { if (error) throw error; zlib.inflate(data, (e, t) => { if (e || t.toString() !== text) throw e; }); });
process.on('exit', () => console.log('end'));
END
node job.js
