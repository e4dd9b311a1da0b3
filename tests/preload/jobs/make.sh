# SPDX-License-Identifier: MIT
# needs: make gcc
# Two jobs at a time over 40 targets, functions of make, a recursive make and a failing rule.
cat > Makefile <<'END'
NAMES := $(shell seq 1 40)
OUT := $(addprefix out/,$(addsuffix .txt,$(NAMES)))
all: total program
total: $(OUT)
	cat $(sort $^) | sort -n | sha256sum > $@
out/%.txt: | out
	@seq 1 $$(($* * 10)) > $@
out:
	mkdir -p $@
program: main.o part.o
	gcc -o $@ $^
%.o: %.c
	gcc -c -o $@ $<
define LIST
$(foreach a,$(NAMES),$(foreach b,$(NAMES),$(a)-$(b)))
endef
count:
	@echo $(words $(LIST)) $(lastword $(LIST))
	@$(MAKE) --no-print-directory inner
inner:
	@echo inner $(filter %7,$(NAMES))
wrong:
	@false
END
echo 'int part(void); int main(void) { return part(); }' > main.c
echo 'int part(void) { return 0; }' > part.c
make -j2 > log
sort log
cat total
./program && echo runs
make -j2 | sed 's/^make[^:]*: //'
make count
make wrong 2>&1 || echo "status $?"
