# SPDX-License-Identifier: MIT
# needs: chromium
# A browser of several processes without a window: a page is computed by its script and a worker, laid out,
# and what is seen of it drawn.  Its messages on the buses that are not here are left out.
cat > page.html <<'EOF'
<!doctype html><title>job</title><body><script>
const list = [], words = new Map();
for (let i = 0; i < 60000; i++) list.push({ id: i, name: 'n' + i % 1000 });
for (const item of list) words.set(item.name, (words.get(item.name) || 0) + item.id);
const table = document.createElement('table');
for (let i = 0; i < 2000; i++) {
	const row = table.insertRow();
	for (let j = 0; j < 5; j++) row.insertCell().textContent = i * j % 97;
}
document.body.append(table);
for (let i = 0; i < 2000; i += 2) table.deleteRow(table.rows.length - 1);
const canvas = document.createElement('canvas'), pen = canvas.getContext('2d');
canvas.width = canvas.height = 300;
for (let i = 0; i < 300; i++) { pen.fillStyle = `rgb(${i % 256}, ${i * 7 % 256}, 9)`; pen.fillRect(i * 13 % 280, i * 17 % 280, 20, 20); }
const pixels = pen.getImageData(0, 0, 300, 300).data;
let sum = 0;
for (const value of pixels) sum = (sum * 31 + value) % 1000003;
const text = JSON.stringify(list), found = text.match(/"n7\d7"/g).length;
document.body.innerHTML = `${words.size} ${words.get('n77')} ${table.rows.length} ${sum} ${text.length} ${found} `;
const worker = new Worker(URL.createObjectURL(new Blob(["const a = []; for (let i = 0; i < 100000; i++) a.push('x' + i); postMessage(a.join('').length);"])));
worker.onmessage = message => { document.body.append('worker ' + message.data); };
</script></body>
EOF
browse() {
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$PWD/profile" \
		--virtual-time-budget=5000 "$@" "file://$PWD/page.html" 2>> log || echo "status $?"
}
browse --dump-dom
browse --window-size=400,200 --screenshot="$PWD/page.png"
sha256sum page.png
