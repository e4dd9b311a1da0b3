# SPDX-License-Identifier: MIT
# needs: nginx perl
# A master with two workers: files, a compressed page, a proxied page, a list, a reload under load.
mkdir -p root logs temp
for i in {1..200}; do seq 1 $((i * 20)) > "root/$i.txt"; done
cat > nginx.conf <<EOF
worker_processes 2;
pid nginx.pid;
error_log logs/error.log warn;
events { worker_connections 128; }
http {
	access_log logs/access.log;
	client_body_temp_path temp; proxy_temp_path temp/p; fastcgi_temp_path temp/f; uwsgi_temp_path temp/u; scgi_temp_path temp/s;
	gzip on; gzip_types text/plain; gzip_min_length 100;
	upstream self { server unix:$PWD/inner.sock; }
	server { listen unix:$PWD/outer.sock; location / { root $PWD/root; autoindex on; autoindex_exact_size on; } location /proxy/ { proxy_pass http://self/; } }
	server { listen unix:$PWD/inner.sock; location / { root $PWD/root; } }
}
EOF
[ "$(id -u)" != 0 ] || sed -i '1i user root;' nginx.conf
PATH=$PATH:/usr/sbin
nginx -p "$PWD" -e logs/error.log -c nginx.conf -g 'daemon off;' &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
for try in {1..1200}; do [ -S inner.sock ] && break; sleep 0.05; done
cat > client.pl <<'EOF'
use strict; use IO::Socket::UNIX; use Digest::SHA;
my ($count, @paths) = @ARGV; my ($bytes, $good) = (0, 0); my $digest = Digest::SHA->new(256);
for my $i (1 .. $count) {
	my $to = IO::Socket::UNIX->new(Peer => "outer.sock") or die "no server: $!";
	my $path = $paths[$i % @paths]; $path =~ s/N/$i % 200 + 1/e;
	my $more = $path =~ s/^gzip:// ? "Accept-Encoding: gzip\r\n" : "";
	print $to "GET $path HTTP/1.1\r\nHost: a\r\n${more}Connection: close\r\n\r\n";
	my ($head, $body) = split /\r\n\r\n/, do { local $/; <$to> }, 2;
	$good++ if $head =~ m{^HTTP/1.1 200}; $digest->add($body); $bytes += length $body;
}
print "$good of $count, $bytes bytes, ", $digest->hexdigest, "\n";
EOF
perl client.pl 600 /N.txt /proxy/N.txt gzip:/N.txt /missing
perl client.pl 300 /N.txt & kill -HUP "$server"; wait $!
perl client.pl 20 /N.txt gzip:/proxy/N.txt
kill -QUIT "$server"
wait "$server"
grep -vE 'open\(\) .* failed' logs/error.log || echo clean
