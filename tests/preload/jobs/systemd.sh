# SPDX-License-Identifier: MIT
# needs: systemd-analyze systemd-tmpfiles
# Times understood, units checked and rated, users and files made in a tree of its own.
systemd-analyze calendar --iterations=20 --base-time='2020-01-01 00:00:00 UTC' 'Mon..Fri *-*-1/3 06,18:00/20' | grep -v 'From now'
systemd-analyze timespan 1y2months3d4h
systemd-escape --path '/a b/c-d/é' && systemd-escape --unescape 'a\x20b-c'
cat > job.service <<'EOF'
[Unit]
Description=A job
[Service]
ExecStart=/bin/true
PrivateTmp=yes
ProtectSystem=strict
Wrong=1
EOF
systemd-analyze verify --man=no ./job.service 2>&1 | sed 's|.*/||' | grep -E 'Wrong' || true
systemd-analyze security --offline=true ./job.service 2>/dev/null | sed 's/[^ -~]//g' | sha256sum
mkdir -p tree/etc tree/usr/lib
for i in {1..300}; do echo "d /dir$i/sub 0755 - - -"; echo "f /dir$i/file 0644 - - - text$i"; done > files.conf
systemd-tmpfiles --create --root="$PWD/tree" "$PWD/files.conf" 2>&1 | head -n 3
find tree -type f | sort | xargs cat | sha256sum
for i in {1..100}; do echo "u user$i $((2000 + i)) \"User $i\""; done > users.conf
systemd-sysusers --root="$PWD/tree" "$PWD/users.conf" > log 2>&1 || true
grep -c '^user' tree/etc/passwd
if command -v systemd-hwdb > /dev/null; then
	mkdir -p tree/etc/udev/hwdb.d
	for i in {1..3000}; do printf 'device:v%04Xp%04X*\n ID_NAME=Name %d\n\n' $((i % 77)) "$i" "$i"; done > tree/etc/udev/hwdb.d/10-job.hwdb
	systemd-hwdb update --root="$PWD/tree"
	sha256sum < tree/etc/udev/hwdb.bin
fi
