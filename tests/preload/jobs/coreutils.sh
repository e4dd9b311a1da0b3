# SPDX-License-Identifier: MIT
# needs: sort sha256sum
# Sorting in two threads, hashing, listing, cutting and joining 100,000 lines.
seq 1 100000 | awk '{ print ($1 * 7919) % 100003, "line", $1 }' > lines
sort -n lines | sha256sum
sort --parallel=2 -S 4M -T . -k3,3nr lines | sha256sum
sort -S 1M -T . -u lines | wc
sha256sum lines
md5sum lines
shuf --random-source=lines lines | sed -n 1,1000p | sort | uniq -c | wc -l
split -l 1000 lines part.
ls | wc -l
mkdir -p a/b/c d
cp part.a? a/b/c
cp part.b? d
touch -d '2020-01-01' a/b/c/* a/b a/b/c a d d/*
ls -lR --time-style=full-iso a d | awk '{ print $1, $5, $6, $9 }' | sha256sum
cat part.* | cmp - lines
cut -d' ' -f1 lines | paste -sd+ | wc -c
sort lines > sorted
comm -12 sorted sorted | tac | sed -n 1,3p
join -j 1 <(sort -k1,1 lines) <(sort -k1,1 lines) | sha256sum
factor 123456789012345678901234567890
env -i printf '%s\n' done
