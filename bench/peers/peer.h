// What the C++ peers have in common: memory, timing and the protocol.
//
// A peer reads requests from standard input, one a line, and answers each with
// one line: the seconds one run takes, a tab, and a note (how it was done), or
// "error", a tab and a message. It ends with its input.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace peer {

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// floats returns operand number slot of at least n floats, aligned to a page.
// It is kept between requests, so that no run pays for new pages, and holds
// small integers.
inline float *floats(int slot, size_t n) {
  static float *data[16];
  static size_t size[16];
  if (size[slot] < n) {
    free(data[slot]);
    data[slot] = static_cast<float *>(aligned_alloc(4096, (n * sizeof(float) + 4095) / 4096 * 4096));
    if (!data[slot]) throw std::bad_alloc();
    size[slot] = n;
    for (size_t i = 0; i < n; i++) data[slot][i] = float(int(i % 9) - 4);
  }
  return data[slot];
}

// seconds is the time of one run. Runs shorter than 10 ms are warmed up once
// and repeated for 10 ms; the median counts. The Go program and vgg.py do the
// same.
inline double seconds(const std::function<void()> &run) {
  const double enough = 0.010;
  double t0 = now();
  run();
  double first = now() - t0;
  if (first > enough) return first;
  std::vector<double> t;
  for (double spent = 0; spent < enough;) {
    t0 = now();
    run();
    t.push_back(now() - t0);
    spent += t.back();
  }
  std::sort(t.begin(), t.end());
  return t[t.size() / 2];
}

// An operation ready to run, and a note on how it is done.
struct Operation {
  std::function<void()> run;
  std::string note;
};

// serve answers requests until the input ends. prepare makes an operation of
// a request; it is called for every request, and must itself keep what is
// expensive. Each begins with runs for 50 ms that are not timed: code may be
// generated, caches hold what another program left there, and threads wake up
// on the core that this one runs on, where they stay until the system's next
// look at its load.
inline int serve(const std::function<Operation(std::istringstream &)> &prepare) {
  std::string line;
  while (std::getline(std::cin, line)) {
    try {
      std::istringstream in(line);
      Operation op = prepare(in);
      const double begin = now();
      do op.run();
      while (now() - begin < 0.050);
      double s = seconds(op.run);
      printf("%.6g\t%s\n", s, op.note.c_str());
    } catch (const std::exception &e) {
      printf("error\t%s\n", e.what());
    }
    fflush(stdout);
  }
  return 0;
}

// A Product is the matrix product of a request "sgemm N|T N|T m n k", row
// after row: C = op(A)·op(B).
struct Product {
  char ta, tb;
  long m, n, k;
  float *a, *b, *c;
  long lda() const { return ta == 'T' ? m : k; }
  long ldb() const { return tb == 'T' ? k : n; }

  explicit Product(std::istringstream &in) {
    if (!(in >> ta >> tb >> m >> n >> k)) throw std::runtime_error("want N|T N|T m n k");
    a = floats(0, m * k);
    b = floats(1, k * n);
    c = floats(2, m * n);
  }
};

}  // namespace peer
