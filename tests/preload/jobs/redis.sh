# SPDX-License-Identifier: MIT
# needs: redis-server redis-benchmark redis-cli
# A server on a socket of its own under redis-benchmark; a snapshot by a forked child, read again.
socket=$PWD/redis.sock
redis-server --port 0 --unixsocket "$socket" --dir "$PWD" --save '' --enable-debug-command yes --logfile server.log --io-threads 2 &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
cli() { redis-cli -s "$socket" "$@"; }
for try in {1..1200}; do
	[ "$(cli ping 2>/dev/null || true)" = PONG ] && break
	sleep 0.1
done
cli ping
redis-benchmark -s "$socket" -q -c 20 -n 400 -r 1000 -d 100 -t set,get,lpush,lpop,sadd,hset,zadd,lrange_100,mset > benchmark.txt 2>&1 ||
	{ cat benchmark.txt; exit 1; }
grep -ic 'error' benchmark.txt || true
cli eval 'for i = 1, 20000 do redis.call("set", "key" .. i, string.rep("v", i % 700)) end return redis.call("strlen", "key699")' 0
cli eval 'local n = 0; for i = 1, 20000 do n = n + redis.call("strlen", "key" .. i) end return n' 0
cli eval 'for i = 1, 20000, 2 do redis.call("del", "key" .. i) end return 1' 0
cli flushdb async
cli eval 'for i = 1, 10000 do redis.call("rpush", "list", i); redis.call("zadd", "set", i * 7 % 9973, i) end return 1' 0
cli zrangebyscore set 10 12
cli bgsave
for try in {1..1200}; do
	cli info persistence | grep -q 'rdb_bgsave_in_progress:0' && break
	sleep 0.1
done
cli info persistence | grep 'rdb_last_bgsave_status' | tr -d '\r'
redis-check-rdb dump.rdb | grep -E 'keys read|looks' | sed 's/.*info\] //'
cli debug reload
cli llen list
cli shutdown nosave || true
wait "$server"
grep -iE 'crash|assert|bug report' server.log || echo clean
