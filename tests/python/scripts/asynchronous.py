# SPDX-License-Identifier: MIT
# pythons: few
# asyncio: thousands of tasks, streams over loopback, executors, subprocesses, cancellation.
import asyncio
import json
import sys


async def serve(reader, writer):
    while True:
        line = await reader.readline()
        if not line:
            break
        record = json.loads(line)
        record["reply"] = record["text"][::-1]
        writer.write(json.dumps(record).encode() + b"\n")
        await writer.drain()
    writer.close()


async def ask(port, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    for i in range(20):
        text = "%d-%d-" % (number, i) + "x" * (i * 500)
        writer.write(json.dumps({"text": text}).encode() + b"\n")
        record = json.loads(await reader.readline())
        assert record["reply"] == text[::-1]
    writer.close()


async def small(n):
    await asyncio.sleep(0)
    return [n] * (n % 50)


async def forever(events):
    try:
        while True:
            await asyncio.sleep(0.001)
    finally:
        events.append("cancelled")


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    port = server.sockets[0].getsockname()[1]
    await asyncio.gather(*(ask(port, n) for n in range(20)))
    server.close()
    lists = await asyncio.gather(*(small(n) for n in range(5000)))
    assert sum(map(len, lists)) == 5000 // 50 * sum(range(50))
    loop = asyncio.get_running_loop()
    results = await asyncio.gather(*(
        loop.run_in_executor(None, lambda: len([str(i) for i in range(5000)])) for _ in range(20)))
    assert results == [5000] * 20
    process = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate(b"z" * 500000)
    assert out == b"z" * 500000
    events = []
    tasks = [asyncio.ensure_future(forever(events)) for _ in range(200)]
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert events == ["cancelled"] * 200


asyncio.run(main())
sys.stdout.write("done\n")
