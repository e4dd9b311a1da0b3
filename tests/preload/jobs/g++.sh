# SPDX-License-Identifier: MIT
# needs: g++
# One C++ file with templates, containers, exceptions and threads, compiled and run.
cat > job.cc <<'END'
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>
struct alignas(64) line { char bytes[64]; };
static long work(int seed)
{
	std::map<std::string, std::vector<int>> map;
	std::unordered_map<int, std::shared_ptr<std::string>> other;
	for (int i = 0; i < 20000; i++) {
		map[std::to_string(i * seed % 1009)].push_back(i);
		other[i] = std::make_shared<std::string>(i % 50, 'x');
	}
	long sum = 0;
	for (auto &[key, list] : map)
		sum += std::accumulate(list.begin(), list.end(), 0L) * static_cast<long>(key.size());
	for (auto &[key, text] : other)
		sum += static_cast<long>(text->size()) * key;
	return sum;
}
int main()
{
	std::vector<long> result(4);
	std::vector<std::thread> threads;
	for (int i = 0; i < 4; i++)
		threads.emplace_back([i, &result] { result[i] = work(i + 1); });
	for (auto &thread : threads)
		thread.join();
	for (long value : result)
		std::cout << value << ' ';
	auto lines = std::make_unique<line[]>(100);
	std::cout << reinterpret_cast<unsigned long>(lines.get()) % 64 << '\n';
	try {
		std::vector<int> huge;
		huge.resize(huge.max_size());
	} catch (const std::bad_alloc &) {
		std::cout << "bad_alloc\n";
	}
	try {
		throw std::runtime_error(std::string(1000, 'e'));
	} catch (const std::exception &error) {
		std::cout << std::string(error.what()).size() << '\n';
	}
}
END
g++ -std=c++17 -O1 -c job.cc -o job.o
sha256sum < job.o
g++ job.o -o job -pthread
./job
