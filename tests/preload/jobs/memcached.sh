# SPDX-License-Identifier: MIT
# needs: memcached perl
# A server of four threads on a socket of its own: 40,000 items set, got, appended to, evicted, flushed.
memcached -u "$(id -un)" -s memcached.sock -m 8 -t 4 -c 64 > server.log 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
for try in {1..1200}; do [ -S memcached.sock ] && break; sleep 0.05; done
cat > client.pl <<'EOF'
use strict; use IO::Socket::UNIX;
sub connection { # the file is there a moment before the server listens
	for (1 .. 1200) { my $to = IO::Socket::UNIX->new(Peer => "memcached.sock"); return $to if $to; select undef, undef, undef, 0.05 }
	die "no server: $!";
}
sub ask { my ($to, $text) = @_; print $to $text; my $line = <$to>; $line =~ s/\r\n//; $line }
my @children;
for my $n (0 .. 3) {
	my $child = fork;
	if ($child) { push @children, $child; next }
	my $to = connection(); my $good = 0;
	for my $i (0 .. 4999) {
		my $value = "v" x ($i % 900);
		$good++ if ask($to, "set key$n.$i 0 0 " . length($value) . "\r\n$value\r\n") eq "STORED";
		if ($i % 5 == 0) { print $to "get key$n.$i\r\n"; my $head = <$to>; my $data = <$to>; <$to>; $good++ if $data eq "$value\r\n" }
	}
	exit($good == 6000 ? 0 : 1);
}
for (@children) { waitpid $_, 0; print "client ended with ", $? >> 8, "\n" }
my $to = connection();
print ask($to, "set counter 0 0 2\r\n41\r\n"), " ", ask($to, "incr counter 1\r\n"), "\n";
my $long = "x" x 500_000;
for my $i (1 .. 40) { ask($to, "set large$i 0 0 500000\r\n$long\r\n") }
print ask($to, "append counter 0 0 3\r\nend\r\n"), "\n";
print ask($to, "set large 0 0 2000000\r\n" . "x" x 2_000_000 . "\r\n"), "\n";
$to = connection();
print ask($to, "flush_all\r\n"), " ", ask($to, "get counter\r\n"), "\n";
print $to "stats\r\n";
while (<$to>) { last if /^END/; print if /STAT (threads|limit_maxbytes|cmd_flush)/ }
EOF
perl client.pl | tr -d '\r'
kill "$server"
wait "$server" || true
