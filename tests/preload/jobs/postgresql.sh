# SPDX-License-Identifier: MIT
# needs: pg_lsclusters unshare
# A cluster made, loaded by pgbench, queried, indexed, dumped, vacuumed and stopped.  The server refuses
# to be root: there it runs as another user, in a user namespace in which all files stay its own.
bin=$(find /usr/lib/postgresql/*/bin -name initdb -printf '%h\n' | sort -V | tail -n 1)
[ -n "$bin" ] || exit 77
if [ "$(id -u)" = 0 ]; then
	user=$(id -u daemon)
	unshare --user --map-user="$user" --map-group="$user" true || exit 77
	exec unshare --user --map-user="$user" --map-group="$user" bash -eu -o pipefail "$0"
fi
PATH=$bin:$PATH
export PGHOST=$PWD PGUSER=job PGDATABASE=postgres
initdb -D data -U job -A trust --no-sync --no-locale -E UTF8 > initdb.log
cat >> data/postgresql.conf <<EOF
listen_addresses = ''
unix_socket_directories = '$PWD'
fsync = off
shared_buffers = 16MB
max_parallel_workers_per_gather = 2
min_parallel_table_scan_size = 0
parallel_setup_cost = 0
EOF
export PGCTLTIMEOUT=600
pg_ctl -D data -l server.log -w -s start
trap 'pg_ctl -D data -m immediate -s stop || true' EXIT
pgbench -i -q -s 1 2> /dev/null
pgbench -c 4 -j 2 -t 100 -n 2> /dev/null | grep -E '^number of'
psql -At <<'EOF'
select sum(abalance) = (select sum(delta) from pgbench_history), count(*) from pgbench_accounts;
create table t as select i, md5(i::text) as name, array[i, i + 1] as list, jsonb_build_object('n', i) as doc from generate_series(1, 20000) i;
create index on t(name); create index on t using gin(doc);
select count(*), sum((doc->>'n')::int), max(name) from t where name like 'a%';
select sum(length(a.name)) from t a join t b on a.i = b.list[2] where b.i % 7 = 0;
select regexp_replace(string_agg(name, ',' order by i), '(.)\1', '<\1>', 'g') ~ '<', count(*) from t;
with recursive n(i, s) as (select 1, 1::numeric union all select i + 1, s * (i + 1) from n where i < 300) select length(max(s)::text) from n;
do $$ begin for i in 1..2000 loop execute format('select %s', i); end loop; end $$;
delete from t where i % 3 = 0; vacuum full t; select count(*) from t;
select 1 / 0;
EOF
pg_dump -t t | grep -vE '^(--|.(un)?restrict)' | sha256sum
pg_ctl -D data -m fast -s stop
trap - EXIT
grep -E 'PANIC|was terminated|corrupt' server.log || echo clean
