# SPDX-License-Identifier: MIT
# needs: ld gcc
# 60 objects linked, archived, listed, taken apart and stripped; symbols in mangled names.
for i in {1..60}; do
	echo "int g${i}[100]; int f$i(int x) { static int n; return g${i}[x % 100] + n++ + x * $i; }"
	[ "$i" = 60 ] || echo "int f$((i + 1))(int); int h$i(int x) { return f$((i + 1))(x); }"
done > all.txt
grep -E 'int f[0-9]+\(int x\)' all.txt | while read -r line; do
	n=${line#int g}; n=${n%%\[*}
	echo "$line" > "part$n.c"
done
gcc -O1 -g -fPIC -c part*.c
ld -r -o all.o part*.o
ld --gc-sections -shared -o all.so all.o -soname all
ld -shared --hash-style=gnu -O2 -Map=map part*.o -o other.so
grep -c part map
ar rcs all.a part*.o
ar t all.a | sort | sha256sum
nm all.o | sort | sha256sum
objdump -dr all.o | sha256sum
objdump -WL -Wi all.so | grep -vE 'DW_AT_(comp_dir|producer)' | wc -l
readelf -aW other.so | grep -c FUNC
objcopy --only-keep-debug all.so debug
strip -o stripped all.so
size stripped | tail -n 1 | awk '{ print $1, $2, $3 }'
echo _ZNSt6vectorIiSaIiEE9push_backERKi | c++filt
ld -o program part1.o -e nowhere --no-undefined || echo "status $?"
ld missing.o || echo "status $?"
