// oneDNN as a peer. Requests:
//
//   sgemm N|T N|T m n k
//   conv forward|data|weights n c h k     a 3×3 convolution, padding 1, of n images of c×h×h to k channels
//
// Convolutions run in the layouts oneDNN likes best, which are given: no
// reorder is counted. Every algorithm it has for the shape and direction is
// tried once, and the fastest kept.
#include <dnnl.hpp>

#include <map>
#include <memory>
#include <unordered_map>

#include "peer.h"

using namespace dnnl;

namespace {

engine &cpu() {
  static engine e(engine::kind::cpu, 0);
  return e;
}

stream &queue() {
  static stream s(cpu());
  return s;
}

using Arguments = std::unordered_map<int, memory>;

// A primitive, the descriptions of its operands by argument number, and its
// implementation's name. The operands' memory is shared by all.
struct Candidate {
  primitive prim;
  std::vector<std::pair<int, memory::desc>> operands;
  std::string name;

  void run() const {
    Arguments args;
    int slot = 3;  // after those of the products
    for (auto &o : operands) {
      float *p = peer::floats(slot++, std::max<size_t>(o.second.get_size() / sizeof(float), 1));
      args.emplace(o.first, memory(o.second, cpu(), p));
    }
    prim.execute(queue(), args);
    queue().wait();
  }
};

template <typename Prim, typename Desc>
Candidate candidate(const Desc &pd, std::vector<std::pair<int, memory::desc>> operands) {
  operands.emplace_back(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc());
  return Candidate{Prim(pd), operands, pd.impl_info_str()};
}

struct Convolution {
  std::string direction;
  memory::dim n, c, h, k;

  Candidate make(algorithm alg) const {
    const auto any = memory::format_tag::any;
    const auto f32 = memory::data_type::f32;
    const memory::desc x({n, c, h, h}, f32, any), w({k, c, 3, 3}, f32, any), y({n, k, h, h}, f32, any),
        b({k}, f32, memory::format_tag::x);
    const memory::dims one{1, 1};
    primitive_attr attr;
    attr.set_scratchpad_mode(scratchpad_mode::user);
    convolution_forward::primitive_desc fwd({prop_kind::forward_training, alg, x, w, b, y, one, one, one}, attr, cpu());
    if (direction == "forward")
      return candidate<convolution_forward>(fwd, {{DNNL_ARG_SRC, fwd.src_desc()},
                                                  {DNNL_ARG_WEIGHTS, fwd.weights_desc()},
                                                  {DNNL_ARG_BIAS, fwd.bias_desc()},
                                                  {DNNL_ARG_DST, fwd.dst_desc()}});
    if (direction == "data") {
      convolution_backward_data::primitive_desc pd({alg, x, w, y, one, one, one}, attr, cpu(), fwd);
      return candidate<convolution_backward_data>(pd, {{DNNL_ARG_DIFF_DST, pd.diff_dst_desc()},
                                                       {DNNL_ARG_WEIGHTS, pd.weights_desc()},
                                                       {DNNL_ARG_DIFF_SRC, pd.diff_src_desc()}});
    }
    convolution_backward_weights::primitive_desc pd({alg, x, w, b, y, one, one, one}, attr, cpu(), fwd);
    return candidate<convolution_backward_weights>(pd, {{DNNL_ARG_SRC, pd.src_desc()},
                                                        {DNNL_ARG_DIFF_DST, pd.diff_dst_desc()},
                                                        {DNNL_ARG_DIFF_WEIGHTS, pd.diff_weights_desc()},
                                                        {DNNL_ARG_DIFF_BIAS, pd.diff_bias_desc()}});
  }

  // fastest tries the algorithms, three runs each after the first.
  std::shared_ptr<Candidate> fastest() const {
    std::shared_ptr<Candidate> best;
    double least = 0;
    for (auto alg : {algorithm::convolution_direct, algorithm::convolution_winograd, algorithm::convolution_auto}) {
      std::shared_ptr<Candidate> cand;
      try {
        cand = std::make_shared<Candidate>(make(alg));
      } catch (const error &) {
        continue;  // it has no such algorithm for this shape
      }
      if (best && cand->name == best->name) continue;
      cand->run();
      double t = 1e30;
      for (int i = 0; i < 3; i++) {
        double t0 = peer::now();
        cand->run();
        t = std::min(t, peer::now() - t0);
      }
      if (!best || t < least) {
        best = cand;
        least = t;
      }
    }
    if (!best) throw std::runtime_error("oneDNN has no algorithm for this");
    return best;
  }
};

peer::Operation convolution(std::istringstream &in) {
  static std::map<std::string, std::shared_ptr<Candidate>> known;
  Convolution s;
  if (!(in >> s.direction >> s.n >> s.c >> s.h >> s.k)) throw std::runtime_error("want a direction and n c h k");
  auto &best = known[in.str()];
  if (!best) best = s.fastest();
  return {[best] { best->run(); }, best->name};
}

}  // namespace

int main() {
  return peer::serve([](std::istringstream &in) -> peer::Operation {
    std::string what;
    in >> what;
    if (what == "conv") return convolution(in);
    if (what != "sgemm") throw std::runtime_error("unknown request " + what);
    peer::Product p(in);
    return {[=] {
              if (dnnl_sgemm(p.ta, p.tb, p.m, p.n, p.k, 1, p.a, p.lda(), p.b, p.ldb(), 0, p.c, p.n) != dnnl_success)
                throw std::runtime_error("dnnl_sgemm failed");
            },
            "dnnl_sgemm"};
  });
}
