# SPDX-License-Identifier: MIT
# needs: perl
# Hashes, closures, regular expressions, sprintf, sort, fork, and threads where perl has them.
perl -e '
	use strict; use warnings;
	my (%words, @list);
	for my $i (0 .. 100_000) { $words{"key$i"} = [$i, "x" x ($i % 100)]; }
	delete $words{"key$_"} for grep { $_ % 3 } 0 .. 100_000;
	my $sum = 0;
	$sum += $_->[0] + length $_->[1] for values %words;
	print "$sum ", scalar(keys %words), "\n";
	my $text = join ",", map { sprintf "%05d", $_ * 7 % 1000 } 0 .. 50_000;
	my $found = () = $text =~ /(\d)\1(?!,)/g;
	(my $other = $text) =~ s/0(\d)/<$1>/g;
	print "$found ", length $other, "\n";
	print join(" ", (sort { $a <=> $b } map { $_ * 7919 % 10007 } 1 .. 20_000)[0, 1, 9_999, 19_999]), "\n";
	my @closures = map { my $n = $_; sub { $n * $_[0] } } 1 .. 1000;
	$sum = 0; $sum += $_->(3) for @closures; print "$sum\n";
	$text = ""; $text .= chr(65 + $_ % 26) x 50 for 1 .. 40_000; print length $text, "\n";
	$| = 1;
	for my $n (1 .. 5) {
		my $child = fork;
		if (!$child) { my %h = map { $_ => $n } 1 .. 5000; exit(keys(%h) == 5000 ? $n : 99); }
		waitpid $child, 0; print "child ", $? >> 8, "\n";
	}
'
perl -MConfig -e 'exit !$Config{useithreads}' && perl -e '
	use threads;
	my @threads = map { my $n = $_; threads->create(sub { my %h; $h{$_} = "v$_" for 1 .. 20_000; keys(%h) + $n }) } 1 .. 4;
	print join(" ", map { $_->join } @threads), "\n";
'
