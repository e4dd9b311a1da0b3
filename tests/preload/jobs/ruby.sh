# SPDX-License-Identifier: MIT
# needs: ruby
# Hashes, strings, symbols, threads, fibers, a compacted heap, JSON, a forked child, an exception.
cat > job.rb <<'EOF'
require "json"
require "digest"
words = (0...60_000).to_h { |i| ["key#{i}", [i, "x" * (i % 50)]] }
words.delete_if { |_, pair| pair[0] % 3 > 0 }
GC.start
puts words.sum { |_, pair| pair[0] + pair[1].size }, words.size
text = (0...30_000).map { |i| format("%05d", i * 7919 % 30_011) }.sort.join(",")
puts text.gsub(/(\d)\1/, '<\1>').size, Digest::SHA256.hexdigest(text)
puts JSON.parse(JSON.generate(words.to_a.first(5000))).size
puts 4.times.map { |n| Thread.new { (1..20_000).map { |i| [i, "v#{i}"] }.to_h.size + n } }.map(&:value).join(" ")
fiber = Fiber.new { 1000.times { |i| Fiber.yield "f" * i } }
puts 999.times.sum { fiber.resume.size }
GC.compact if GC.respond_to?(:compact)
puts 50_000.times.map { |i| :"symbol#{i % 5000}" }.uniq.size
$stdout.flush
child = fork { exit(Array.new(20_000) { |i| i.to_s }.size == 20_000 ? 3 : 9) }
Process.wait(child)
puts $?.exitstatus
puts 3**5000 % 1_000_007
EOF
ruby job.rb
ruby -e 'raise "wrong"' || echo "status $?"
