# SPDX-License-Identifier: MIT
# needs: apache2 perl unshare
# The threaded server with two processes: files, compressed pages, lists, a script.
# Root would have to give its files away: there it is another user, in a user namespace.
if [ "$(id -u)" = 0 ]; then
	user=$(id -u daemon)
	unshare --user --map-user="$user" --map-group="$user" true || exit 77
	exec unshare --user --map-user="$user" --map-group="$user" bash -eu -o pipefail "$0"
fi
PATH=$PATH:/usr/sbin
mkdir -p root cgi run
for i in {1..100}; do seq 1 $((i * 20)) > "root/$i.txt"; done
printf '#!/bin/sh\necho Content-Type: text/plain; echo; seq 1 100\n' > cgi/job
chmod +x cgi/job
modules=/usr/lib/apache2/modules
[ -d $modules ] || exit 77
# Below those that the kernel gives to whoever asks for any.
port=$(perl -MIO::Socket::INET -e 'for (1 .. 100) { my $port = 10000 + int rand 20000; IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => $port) or next; print $port; exit } exit 1')
{
	for name in mpm_event alias authz_core authz_host mime dir autoindex deflate filter cgid status; do
		echo "LoadModule ${name}_module $modules/mod_$name.so"
	done
	cat <<EOF
ServerRoot $PWD
ServerName localhost
Listen 127.0.0.1:$port
PidFile run/pid
DefaultRuntimeDir run
ScriptSock cgisock
Mutex file:run
ErrorLog error.log
TypesConfig /etc/mime.types
DocumentRoot $PWD/root
ScriptAlias /cgi/ $PWD/cgi/
StartServers 2
ThreadsPerChild 8
MaxRequestWorkers 16
MinSpareThreads 4
MaxSpareThreads 16
AddOutputFilterByType DEFLATE text/plain
ServerSignature Off
<Directory $PWD>
	Require all granted
	Options +Indexes +ExecCGI
</Directory>
EOF
} > apache.conf
[ -e /etc/mime.types ] || { echo 'text/plain txt' > types; sed -i "s|^TypesConfig.*|TypesConfig $PWD/types|" apache.conf; }
apache2 -d "$PWD" -f apache.conf -DFOREGROUND &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
cat > client.pl <<'EOF'
use strict; use IO::Socket::INET; use Digest::SHA;
alarm 300;
my ($port, $count, @paths) = @ARGV; my ($bytes, $good) = (0, 0); my $digest = Digest::SHA->new(256);
for my $i (1 .. $count) {
	my $to;
	for (1 .. 1200) { last if $to = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $port); select undef, undef, undef, 0.05 }
	die "no server: $!" unless $to;
	my $path = $paths[$i % @paths]; $path =~ s/N/$i % 100 + 1/e;
	my $more = $path =~ s/^gzip:// ? "Accept-Encoding: gzip\r\n" : "";
	print $to "GET $path HTTP/1.0\r\nHost: a\r\n$more\r\n";
	my ($head, $body) = split /\r\n\r\n/, do { local $/; <$to> }, 2;
	$good++ if $head =~ m{^HTTP/1.1 200}; $digest->add($body) unless $path eq "/"; $bytes += length $body;
}
print "$good of $count, ", $bytes > 100000 ? "much" : $bytes, ", ", $digest->hexdigest, "\n";
EOF
perl client.pl "$port" 400 /N.txt gzip:/N.txt / /missing
perl client.pl "$port" 20 /cgi/job
grep -E 'exit signal|seg fault|child pid' error.log || echo clean
kill "$server"
wait "$server" || true
