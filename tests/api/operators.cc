// SPDX-License-Identifier: MIT
//
// C++'s operators new and delete in every form, as a C++ program sees them: alignment, contents,
// bad_alloc, the new handler that frees memory, throws or gives up, and containers on top.
#include "../lib/blocks.h"

#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#ifndef __cpp_sized_deallocation // clang needs a flag to declare these
void operator delete(void *, std::size_t) noexcept;
void operator delete[](void *, std::size_t) noexcept;
void operator delete(void *, std::size_t, std::align_val_t) noexcept;
void operator delete[](void *, std::size_t, std::align_val_t) noexcept;
#endif

namespace
{

volatile std::size_t too_much = static_cast<std::size_t>(PTRDIFF_MAX) - 100000;

// Not seen through by the compiler, which may else leave out a pair of new and delete.
void *hide(void *block)
{
	__asm__ volatile("" : "+r"(block) : : "memory");
	return block;
}

void check(void *block, std::size_t size, std::size_t alignment)
{
	REQUIRE(block != nullptr, "%zu bytes", size);
	EXPECT(is_aligned(block, alignment), "%zu bytes at %p", size, block);
	EXPECT(CALL(malloc_usable_size)(block) >= size);
	fill(block, size, size);
	EXPECT(is_intact(block, size, size));
}

const std::size_t sizes[] = { 0, 1, 8, 16, 24, 100, 1000, 4096, 5000, 20000, 100000, 300000, 3000000 };

void plain_forms()
{
	for (std::size_t size : sizes) {
		void *one = hide(::operator new(size));
		void *array = hide(::operator new[](size));
		void *quiet = hide(::operator new(size, std::nothrow));
		void *quiet_array = hide(::operator new[](size, std::nothrow));
		check(one, size, 16);
		check(array, size, 16);
		check(quiet, size, 16);
		check(quiet_array, size, 16);
		EXPECT(one != array && quiet != quiet_array);
		::operator delete(one);
		::operator delete[](array);
		::operator delete(quiet, std::nothrow);
		::operator delete[](quiet_array, std::nothrow);
		::operator delete(hide(::operator new(size)), size);
		::operator delete[](hide(::operator new[](size)), size);
	}
	::operator delete(hide(nullptr));
	::operator delete[](hide(nullptr));
	::operator delete(hide(nullptr), std::nothrow);
	::operator delete(hide(nullptr), static_cast<std::size_t>(8));
}

void aligned_forms()
{
	for (std::size_t alignment = 1; alignment <= MIB; alignment *= 2) {
		const std::align_val_t to{ alignment };
		for (std::size_t size : sizes) {
			void *one = hide(::operator new(size, to));
			void *array = hide(::operator new[](size, to));
			void *quiet = hide(::operator new(size, to, std::nothrow));
			void *quiet_array = hide(::operator new[](size, to, std::nothrow));
			check(one, size, alignment);
			check(array, size, alignment);
			check(quiet, size, alignment);
			check(quiet_array, size, alignment);
			::operator delete(one, to);
			::operator delete[](array, to);
			::operator delete(quiet, to, std::nothrow);
			::operator delete[](quiet_array, to, std::nothrow);
			::operator delete(hide(::operator new(size, to)), size, to);
			::operator delete[](hide(::operator new[](size, to)), size, to);
		}
	}
	::operator delete (hide(nullptr), std::align_val_t{ 64 });
}

struct alignas(64) wide {
	wide()
	{
		made++;
	}
	~wide()
	{
		made--;
	}
	char bytes[192];
	static int made;
};
int wide::made;

void expressions()
{
	for (int i = 0; i < 1000; i++) {
		auto one = std::make_unique<wide>();
		std::unique_ptr<wide[]> many(new wide[7]);
		EXPECT(is_aligned(hide(one.get()), 64) && is_aligned(hide(many.get()), 64));
		EXPECT(wide::made == 8);
	}
	EXPECT(wide::made == 0);
	std::map<std::string, std::vector<std::string>> table;
	std::size_t wanted = 0;
	for (std::size_t i = 0; i < 20000; i++) {
		table["key " + std::to_string(i % 997)].push_back(std::string(i % 300, 'x'));
		wanted += i % 300;
	}
	std::size_t total = 0;
	for (const auto &[key, values] : table)
		for (const auto &value : values)
			total += value.size();
	EXPECT(total == wanted, "%zu and %zu", total, wanted);
}

void the_library_serves_them()
{
	static const char *const names[] = {
		"_Znwm",
		"_Znam",
		"_ZnwmRKSt9nothrow_t",
		"_ZnamRKSt9nothrow_t",
		"_ZnwmSt11align_val_t",
		"_ZnamSt11align_val_t",
		"_ZnwmSt11align_val_tRKSt9nothrow_t",
		"_ZnamSt11align_val_tRKSt9nothrow_t",
		"_ZdlPv",
		"_ZdaPv",
		"_ZdlPvm",
		"_ZdaPvm",
		"_ZdlPvRKSt9nothrow_t",
		"_ZdaPvRKSt9nothrow_t",
		"_ZdlPvSt11align_val_t",
		"_ZdaPvSt11align_val_t",
		"_ZdlPvmSt11align_val_t",
		"_ZdaPvmSt11align_val_t",
		"_ZdlPvSt11align_val_tRKSt9nothrow_t",
		"_ZdaPvSt11align_val_tRKSt9nothrow_t",
	};
	Dl_info library, function;

	tap_need_library();
	REQUIRE(dladdr(dlsym(RTLD_DEFAULT, "pyarena_version"), &library) != 0);
	for (const char *name : names) {
		void *symbol = dlsym(RTLD_DEFAULT, name);
		REQUIRE(symbol != nullptr && dladdr(symbol, &function) != 0, "%s", name);
		EXPECT(function.dli_fbase == library.dli_fbase, "%s is in %s", name,
		       function.dli_fname);
	}
}

// What a form does with a request that cannot be met: 'b' throws bad_alloc, '0' returns null, 'o'
// throws something else, 'p' returns a block.
template <typename Form> char outcome(Form form)
{
	try {
		return hide(form()) == nullptr ? '0' : 'p';
	} catch (const std::bad_alloc &) {
		return 'b';
	} catch (...) {
		return 'o';
	}
}

void exhaustion_throws_bad_alloc()
{
	const std::align_val_t to{ 256 };

	for (int round = 0; round < 50; round++) {
		EXPECT(outcome([] { return ::operator new(too_much); }) == 'b');
		EXPECT(outcome([] { return ::operator new[](too_much); }) == 'b');
		EXPECT(outcome([&] { return ::operator new(too_much, to); }) == 'b');
		EXPECT(outcome([&] { return ::operator new[](too_much, to); }) == 'b');
		EXPECT(outcome([] { return ::operator new(too_much, std::nothrow); }) == '0');
		EXPECT(outcome([] { return ::operator new[](too_much, std::nothrow); }) == '0');
		EXPECT(outcome([&] { return ::operator new(too_much, to, std::nothrow); }) == '0');
		EXPECT(outcome([&] { return ::operator new[](too_much, to, std::nothrow); }) == '0');
	}
}

int handler_calls;

void handler_that_gives_up()
{
	if (++handler_calls == 3)
		std::set_new_handler(nullptr);
}

void handler_that_throws()
{
	handler_calls++;
	throw 42;
}

void handler_that_throws_bad_alloc()
{
	handler_calls++;
	throw std::bad_alloc();
}

void new_handler_is_called()
{
	std::set_new_handler(handler_that_gives_up);
	EXPECT(outcome([] { return ::operator new(too_much); }) == 'b');
	EXPECT(handler_calls == 3, "%d calls", handler_calls);
	handler_calls = 0;
	std::set_new_handler(handler_that_gives_up);
	EXPECT(outcome([] { return ::operator new[](too_much, std::nothrow); }) == '0');
	EXPECT(handler_calls == 3, "%d calls", handler_calls);
	handler_calls = 0;
	std::set_new_handler(handler_that_gives_up);
	EXPECT(outcome([] { return ::operator new (too_much, std::align_val_t{ 64 }); }) == 'b');
	EXPECT(handler_calls == 3, "%d calls", handler_calls);
}

void new_handler_may_throw()
{
	for (int round = 1; round <= 20; round++) {
		handler_calls = 0;
		std::set_new_handler(handler_that_throws);
		EXPECT(outcome([] { return ::operator new(too_much); }) == 'o');
		EXPECT(outcome([] { return ::operator new[](too_much, std::align_val_t{ 64 }); }) ==
		       'o');
		EXPECT(handler_calls == 2, "%d calls", handler_calls);
		std::set_new_handler(handler_that_throws_bad_alloc);
		EXPECT(outcome([] { return ::operator new(too_much); }) == 'b');
		EXPECT(outcome([] { return ::operator new(too_much, std::nothrow); }) == '0');
		EXPECT(outcome([] {
			       return ::operator new[](too_much, std::align_val_t{ 64 }, std::nothrow);
		       }) == '0');
		EXPECT(handler_calls == 5, "%d calls", handler_calls);
		check(::operator new(1000), 1000, 16);
	}
}

void *spare;

void handler_that_frees()
{
	handler_calls++;
	if (spare == nullptr)
		std::set_new_handler(nullptr);
	CALL(free)(spare);
	spare = nullptr;
}

// Under a limit, memory that the handler frees lets the request succeed.
void new_handler_may_help()
{
	struct rlimit limit;

	spare = CALL(malloc)(100 * MIB);
	REQUIRE(spare != nullptr);
	limit.rlim_cur = limit.rlim_max = mapped_now() + 30 * MIB;
	REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
	std::set_new_handler(handler_that_frees);
	void *block = nullptr;
	EXPECT(outcome([&] { return block = ::operator new(90 * MIB); }) == 'p');
	EXPECT(handler_calls == 1, "%d calls", handler_calls);
	EXPECT(outcome([] { return ::operator new(90 * MIB); }) == 'b');
	EXPECT(handler_calls == 2, "%d calls", handler_calls);
	::operator delete(block);
	EXPECT(outcome([&] { return block = ::operator new(90 * MIB); }) == 'p');
	::operator delete(block);
}

const struct tap_point points[] = {
	{ "plain_forms", plain_forms },
	{ "aligned_forms", aligned_forms },
	{ "expressions", expressions },
	{ "the_library_serves_them", the_library_serves_them },
	{ "exhaustion_throws_bad_alloc", exhaustion_throws_bad_alloc },
	{ "new_handler_is_called", new_handler_is_called },
	{ "new_handler_may_throw", new_handler_may_throw },
	{ "new_handler_may_help", new_handler_may_help },
	{ nullptr, nullptr },
};

} // namespace

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, nullptr);
}
