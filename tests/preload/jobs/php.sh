# SPDX-License-Identifier: MIT
# needs: php
# Arrays, strings, regular expressions, objects in cycles, JSON, generators, and a memory limit; with
# PHP's own allocator and, as its developers look for faults, without.
cat > job.php <<'EOF'
<?php
$words = [];
for ($i = 0; $i < 60000; $i++) $words["key$i"] = [$i, str_repeat("x", $i % 50)];
foreach ($words as $key => $pair) if ($pair[0] % 3) unset($words[$key]);
echo array_sum(array_map(fn($pair) => $pair[0] + strlen($pair[1]), $words)), " ", count($words), "\n";
$list = array_map(fn($i) => sprintf("%05d", $i * 7919 % 30011), range(0, 29999));
sort($list);
$text = implode(",", $list);
echo strlen(preg_replace('/(\d)\1/', '<$1>', $text)), " ", hash("sha256", $text), "\n";
class Node { public $other; public $data; }
for ($i = 0; $i < 30000; $i++) { $a = new Node; $b = new Node; $a->other = $b; $b->other = $a; $a->data = str_repeat("y", 100); }
echo gc_collect_cycles() >= 0 ? "collected\n" : "";
echo count(json_decode(json_encode(array_slice($words, 0, 5000)), true)), "\n";
function numbers($n) { for ($i = 0; $i < $n; $i++) yield $i => $i * $i; }
$sum = 0;
foreach (numbers(50000) as $i => $square) $sum += $square % 7;
echo $sum, " ", serialize(unserialize(serialize([1, "two", 3.5]))), "\n";
EOF
php -n job.php
USE_ZEND_ALLOC=0 php -n job.php
php -n -d memory_limit=4M -r 'str_repeat("x", 1 << 24);' || echo "status $?"
