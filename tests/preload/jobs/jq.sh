# SPDX-License-Identifier: MIT
# needs: jq bc
# JSON made, read and grouped; a number of 3,000 digits.
jq -nc '[range(30000) | {id: ., name: "n\(. * 7919 % 997)", list: [., . + 1]}]' > data.json
sha256sum < data.json
jq -c 'group_by(.name) | map({name: .[0].name, n: length, sum: (map(.id) | add)}) | sort_by(.sum) | .[-3:]' data.json
jq -r '[.[] | select(.id % 7 == 0) | .list[1]] | add' data.json
jq -r '.[] | "\(.id),\(.name)"' data.json | sha256sum
jq . <<< '{"open": ' || echo "status $?"
echo '2^10000' | BC_LINE_LENGTH=0 bc | sha256sum
echo 'scale = 500; 4 * a(1)' | bc -l | sha256sum
