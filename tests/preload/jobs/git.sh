# SPDX-License-Identifier: MIT
# needs: git
# A repository of 31 commits with branches and a merge, packed by two threads, cloned and checked.
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=$PWD/config
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.invalid GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.invalid
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
git config --global init.defaultBranch main
git config --global pack.threads 2
git config --global gc.auto 0
git init -q repository
cd repository
for i in {1..20}; do
	seq "$i" $((i * 200)) > "file$((i % 5))"
	seq 1 "$i" > "new$i"
	git add -A
	git commit -q -m "Change $i"
done
git checkout -q -b side HEAD~5
for i in {1..10}; do
	seq 1 "$i" > "side$i"
	git add -A
	git commit -q -m "Side $i"
done
git checkout -q main
git merge -q --no-edit side
git log --stat --graph --format='%H %s' | sha256sum
git log -p --all | sha256sum
git blame -s file1 | tail -n 3
git gc -q --aggressive --prune=now
git count-objects -v | grep -E 'count|in-pack|packs|garbage'
git cat-file --batch-all-objects --batch-check | sort | sha256sum
git grep -c 199
cd ..
git clone -q repository clone
git -C clone fsck --full --strict
git -C clone diff HEAD~3 --stat
git -C clone archive HEAD | tar -t | sort | sha256sum
