# SPDX-License-Identifier: MIT
# needs: apt-get dpkg-deb
# A repository of 3,000 packages read, searched and resolved, in directories of its own; one package built.
mkdir -p repository state/lists/partial cache/archives/partial etc/apt.conf.d etc/preferences.d
touch status
awk 'BEGIN {
	for (i = 1; i <= 3000; i++) {
		printf "Package: p%d\nVersion: %d.%d\nArchitecture: all\nMaintainer: A <a@example.invalid>\n", i, i % 7, i
		if (i > 1) printf "Depends: p%d%s\n", int(i / 2), i % 3 ? "" : ", p" int(i / 3) " (>= 0." int(i / 3) ")"
		if (i % 50 == 0) printf "Conflicts: p%d\n", i - 1
		printf "Filename: p%d.deb\nSize: 1000\nSHA256: %064d\nDescription: package %d of words%d\n\n", i, i, i, i % 13
	}
}' > repository/Packages
echo "deb [trusted=yes] copy:$PWD/repository ./" > etc/sources.list
cat > apt.conf <<EOF
Dir "$PWD"; Dir::State "state"; Dir::State::status "$PWD/status"; Dir::Cache "cache"; Dir::Etc "$PWD/etc";
Dir::Etc::sourcelist "$PWD/etc/sources.list"; Dir::Etc::sourceparts "/nonexistent"; Dir::Etc::trusted "/nonexistent"; Dir::Log "$PWD";
APT::Sandbox::User ""; APT::Architecture "amd64"; APT::Architectures { "amd64"; }; Debug::NoLocking "true"; Dir::Bin::dpkg "/bin/true";
EOF
export APT_CONFIG=$PWD/apt.conf
apt-get -qq update 2>&1 | grep -v '^W:' || true
apt-cache stats | grep -E '^Total (package names|dependencies)'  | sed 's/(.*//'
apt-cache search words7 | sort | sha256sum
apt-cache depends --recurse p2999 | sha256sum
apt-cache show p77 p1234 | sha256sum
apt-get -s -qq install p3000 p2047 | sort | sha256sum
apt-get -s -qq install p3000 p2999 || echo "status $?"
mkdir -p package/DEBIAN package/usr/share
printf 'Package: job\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.invalid>\nDescription: a job\n' > package/DEBIAN/control
seq 1 100000 > package/usr/share/numbers
SOURCE_DATE_EPOCH=0 dpkg-deb --root-owner-group -Zxz -b package job.deb
dpkg-deb -I job.deb | tail -n 5
dpkg-deb -c job.deb | awk '{ print $1, $2, $3, $6 }'
dpkg-deb --fsys-tarfile job.deb | tar -xO ./usr/share/numbers | sha256sum
