# SPDX-License-Identifier: MIT
# needs: bash
# Arrays, maps, recursion, command substitutions, here documents and many forks.
declare -A squares
for ((i = 0; i < 20000; i++)); do
	squares[$i]=$((i * i))
done
sum=0
for key in "${!squares[@]}"; do
	sum=$((sum + squares[$key]))
done
echo "$sum ${#squares[@]}"

fibonacci() {
	if (($1 < 2)); then echo "$1"; else echo $(($(fibonacci $(($1 - 1))) + $(fibonacci $(($1 - 2))))); fi
}
fibonacci 8

text=
for word in {a..z}{a..z}; do
	text+="$word "
done
words=($text)
echo "${#text} ${#words[@]} ${text: -30}"
printf -v long '%*s' 3000000 x
short=${long: -3000}
echo "${short// /-}" | tail -c 5
echo "${#long} ${long: -5}"
while read -r first second; do echo "$second $first"; done <<END | sort
one two
three four
END
(trap 'echo trapped' EXIT; exit 3) || echo "status $?"
for i in 1 2 3 4; do
	(for ((n = 0; n < 2000; n++)); do line[n]="$i-$n"; done; echo "${line[1999]}") &
done | sort
wait
