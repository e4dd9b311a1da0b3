# SPDX-License-Identifier: MIT
# needs: awk
# 200,000 entries in associative arrays, strings that grow, a pipe.
awk 'BEGIN {
	for (i = 0; i < 200000; i++) { word[i % 997] = word[i % 997] i % 7; count[i] = i * 3 }
	for (i = 0; i < 200000; i += 2) delete count[i]
	total = 0
	for (i in count) total += count[i]
	print total, length(word[5]), word[996]
	while (("seq 1 1000" | getline line) > 0) sum += line
	print sum
	text = "a"
	for (i = 0; i < 18; i++) text = text text
	print length(text), gsub(/a/, "bc", text), length(text)
	n = split("the quick brown fox", part, " ")
	printf "%d %s %-8s| %5.2f\n", n, part[2], toupper(part[4]), 3.14159
}'
