# SPDX-License-Identifier: MIT
# needs: go gcc
# A program of goroutines and maps that calls C's malloc through cgo: built, vetted and run.
export GOCACHE=$PWD/cache GOPATH=$PWD/path GOFLAGS=-mod=mod GO111MODULE=off CGO_ENABLED=1
cat > job.go <<'EOF'
package main

/*
#include <stdlib.h>
#include <string.h>
static size_t work(int seed)
{
	void *blocks[500];
	size_t sum = 0;
	for (int i = 0; i < 500; i++) {
		blocks[i] = malloc((size_t)(i * seed % 5000) + 1);
		memset(blocks[i], seed, 1);
	}
	for (int i = 0; i < 500; i++) {
		sum += ((unsigned char *)blocks[i])[0];
		free(blocks[i]);
	}
	return sum;
}
*/
import "C"
import (
	"fmt"
	"sort"
	"sync"
	"unsafe"
)

func main() {
	var group sync.WaitGroup
	results := make([]int, 16)
	for n := range results {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			words := map[string][]int{}
			for i := 0; i < 5000; i++ {
				key := fmt.Sprint(i * (n + 1) % 509)
				words[key] = append(words[key], i)
			}
			text := C.CString("handed over")
			results[n] = len(words) + int(C.work(C.int(n+1))) + len(C.GoString(text))
			C.free(unsafe.Pointer(text))
		}(n)
	}
	group.Wait()
	sort.Ints(results)
	fmt.Println(results)
}
EOF
go vet job.go
go build -o job job.go
./job
