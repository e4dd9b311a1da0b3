# SPDX-License-Identifier: MIT
# needs: lua5.4
# Tables, strings, closures, coroutines, patterns, the collector in both modes, an error.
cat > job.lua <<'EOF'
local words = {}
for i = 1, 100000 do words["key" .. i] = { i, ("x"):rep(i % 50) } end
for i = 1, 100000 do if i % 3 > 0 then words["key" .. i] = nil end end
collectgarbage()
local sum, count = 0, 0
for _, pair in pairs(words) do sum, count = sum + pair[1] + #pair[2], count + 1 end
print(sum, count)
collectgarbage("generational")
local list = {}
for i = 1, 50000 do list[i] = string.format("%05d", i * 7919 % 50021) end
table.sort(list)
print(list[1], list[25000], list[50000])
print((table.concat(list, ","):gsub("(%d)%1", "<%1>")):len())
local function range(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end) end
sum = 0
for i = 1, 500 do for value in range(20) do sum = sum + value * i end end
print(sum)
print(select(2, pcall(string.rep, "x", 1 << 40)))
print(pcall(error, { code = 7 }))
EOF
lua5.4 job.lua | sed 's/0x[0-9a-f]*/ADDRESS/'
lua5.4 -e 'error("wrong")' || echo "status $?"
