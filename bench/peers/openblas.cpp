// OpenBLAS as a peer: the request "sgemm N|T N|T m n k".
#include <cblas.h>

#include "peer.h"

extern "C" char *openblas_get_corename(void);

int main() {
  return peer::serve([](std::istringstream &in) {
    std::string what;
    in >> what;
    if (what != "sgemm") throw std::runtime_error("OpenBLAS has no " + what);
    peer::Product p(in);
    auto op = [](char t) { return t == 'T' ? CblasTrans : CblasNoTrans; };
    return peer::Operation{
        [=] {
          cblas_sgemm(CblasRowMajor, op(p.ta), op(p.tb), p.m, p.n, p.k, 1, p.a, p.lda(), p.b, p.ldb(), 0, p.c, p.n);
        },
        openblas_get_corename()};
  });
}
