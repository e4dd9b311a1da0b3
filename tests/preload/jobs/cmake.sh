# SPDX-License-Identifier: MIT
# needs: cmake gcc make
# A project configured and built, and a script of lists and strings.
cat > CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.10)
project(job C)
add_library(part STATIC part.c)
add_executable(job main.c)
target_link_libraries(job part)
END
echo 'int part(void); int main(void) { return part(); }' > main.c
echo 'int part(void) { return 0; }' > part.c
cmake -S . -B out > log
grep -cE 'Configuring done|Generating done' log
cmake --build out > log
out/job && echo runs
cat > script.cmake <<'END'
set(list "")
foreach(i RANGE 1 3000)
	math(EXPR n "${i} * 7919 % 3001")
	list(APPEND list "item${n}")
endforeach()
list(SORT list)
list(LENGTH list length)
list(GET list 1234 item)
string(SHA256 hash "${list}")
string(REGEX REPLACE "item([0-9])" "<\\1>" other "${list}")
string(LENGTH "${other}" long)
message("${length} ${item} ${hash} ${long}")
END
cmake -P script.cmake
