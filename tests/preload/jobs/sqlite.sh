# SPDX-License-Identifier: MIT
# needs: sqlite3
# 50,000 rows loaded, indexed, joined, grouped, deleted and vacuumed; on disk and in memory.
cat > job.sql <<'END'
create table item(id integer primary key, name text, weight real, kind int);
insert into item
with recursive n(i) as (select 1 union all select i + 1 from n where i < 50000)
select i, 'name' || (i * 7919 % 50021), i / 7.0, i % 13 from n;
create index by_name on item(name);
create index by_kind on item(kind, weight);
select kind, count(*), round(sum(weight), 3), max(name) from item group by kind order by kind;
select count(*) from item a join item b on b.name = 'name' || (a.id % 50021);
select name from item where name like '%999%' order by name limit 5;
select length(group_concat(name, ', ')) from item;
begin; delete from item where id % 3; rollback;
delete from item where id % 3;
select count(*), sum(id) from item;
vacuum;
pragma integrity_check;
select json_extract('{"a": [1, 2, {"b": 3}]}', '$.a[2].b');
END
sqlite3 data.db < job.sql
sqlite3 :memory: < job.sql | sha256sum
sqlite3 data.db .dump | sha256sum
seq 1 20000 | sed 's/.*/&,text&/' > rows.csv
sqlite3 data.db 'create table row(a int, b text)' '.mode csv' '.import rows.csv row' 'select sum(a), max(length(b)) from row'
sqlite3 data.db 'select wrong from nothing' || echo "status $?"
