# SPDX-License-Identifier: MIT
# needs: find
# A tree of 2,000 files walked, searched and edited.
mkdir tree
for i in {1..40}; do
	mkdir tree/$i
	for j in {1..50}; do echo "file $i of $j, $((i * j))" > tree/$i/$j; done
done
find tree -type f | sort | sha256sum
find tree -name '1*' -newermt 2000-01-01 -size -2 -print0 | sort -z | xargs -0 cat | sha256sum
grep -rE 'of (7|9|4[0-9]), [0-9]*3$' tree | sort
find tree -type f -print0 | xargs -0 -P 2 -n 100 sed -i 's/of/out of/'
find tree -type f -exec cat {} + | sort | sha256sum
diff -r tree/1 tree/2 > differences || echo "they differ"
wc -l < differences
