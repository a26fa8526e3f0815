# The four things done often; .ci/run does everything.
.PHONY: generate check test-all-isa bench

generate:
	go generate ./asm ./prototxt

check:
	gofmt -l .
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	CGO_ENABLED=0 go test ./...

test-all-isa:
	for isa in generic avx2 avx512; do CREMA_ISA=$$isa go test ./asm ./gemm ./conv ./layers ./graph ./solver || exit 1; done
	go test -tags noasm ./asm ./gemm ./conv ./layers ./graph ./solver

bench:
	go test -run '^$$' -bench . ./asm ./gemm ./conv ./data
