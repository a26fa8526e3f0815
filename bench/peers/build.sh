#!/bin/sh
# Builds the C++ peers into the directory given.
# usage: build.sh DIR
set -eu
src=$(dirname "$0")
out=$1
mkdir -p "$out"
c="g++ -std=c++17 -O2 -Wall -Wextra -Werror"
$c -o "$out/openblas" "$src/openblas.cpp" -lopenblas
$c -o "$out/onednn" "$src/onednn.cpp" -ldnnl
