# SPDX-License-Identifier: MIT
# needs: tar gzip xz
# A tree packed and unpacked by tar, gzip and xz (two threads), and compared.
mkdir tree
for i in {1..30}; do seq "$i" $((i * 3000)) > tree/$i; done
head -c 3000000 /dev/zero > tree/zero
tar --sort=name --mtime=2020-01-01 --owner=0 --group=0 --numeric-owner -cf tree.tar tree
sha256sum tree.tar
gzip -9 -n -k tree.tar
sha256sum tree.tar.gz
xz -3 -T2 -k tree.tar
xz -3 -T1 -c tree.tar | xz -dc | cmp - tree.tar
xz -dc tree.tar.xz | cmp - tree.tar
gzip -dc tree.tar.gz | cmp - tree.tar
mkdir again
tar -C again -xJf tree.tar.xz
diff -r tree again/tree
tar -tzvf tree.tar.gz --full-time | sha256sum
head -c 1000 tree.tar.xz > cut.xz
xz -dc cut.xz > nothing 2> error || echo "status $?"
