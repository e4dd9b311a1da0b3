# SPDX-License-Identifier: MIT
# needs: dash
# Loops, functions, here documents, pipes, traps, subshells and a wrong line, in Debian's sh.
cat > job <<'EOF'
fib() { [ "$1" -lt 2 ] && echo "$1" || echo $(($(fib $(($1 - 1))) + $(fib $(($1 - 2))))); }
fib 10
i=0 text=
while [ $i -lt 3000 ]; do
	eval "v$i=value$i"
	text="$text $i"
	i=$((i + 1))
done
echo ${#text} $v77 $v2999
set -- $text
echo $# "${text##* }"
for word in "$@"; do case $word in *7?7) printf '%s ' "$word" ;; esac; done
echo
cat <<INNER | (read first rest; echo "$first and ${#rest}"; wc -c)
$text
$(seq 1 1000)
INNER
trap 'echo end' EXIT
(trap 'echo got it' USR1; kill -USR1 $$ 2>/dev/null; exit 3) || echo "status $?"
for n in 1 2 3 4; do (eval "a$n=$n"; echo $((n * n)) > part$n) & done
wait
cat part1 part2 part3 part4
EOF
sed -i 's/kill -USR1 \$\$/kill -USR1 $(sh -c "echo \\$PPID")/' job
dash job
echo 'if then' > wrong
dash wrong || echo "status $?"
dash -c 'echo *' | wc -w
