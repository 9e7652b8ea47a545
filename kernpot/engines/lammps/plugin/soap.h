// SPDX-License-Identifier: GPL-2.0-only
// Smooth overlap of atomic positions: the features of one centre at a time, and gradients along its pairs.
//
// What is computed is told in kernpot/descriptors: radial functions from tables of polynomials (compiled/table.py), real
// solid harmonics by the recursions of Bigi et al., J. Chem. Phys. 159, 064802 (2023) (compiled/harmonics.py), the power
// spectrum in DScribe's order (layout.py). Neighbours lie side by side, those of one species slot together, each slot's
// filled up with neighbours of no weight to whole vectors.

#ifndef KERNPOT_SOAP_H
#define KERNPOT_SOAP_H

#include "tables.h"
#include "vectors.h"

#include <algorithm>
#include <cmath>

namespace kernpot {

typedef Vector<double>::type V;
constexpr int W = Vector<double>::width;

// As many draws as are evaluated together.
constexpr int DRAWS = 16;
typedef float Draws __attribute__((vector_size(DRAWS * sizeof(float)), may_alias));

struct Soap {
  int n, degrees, lm, n_slots, n_q, n_partners, n_a, n_b, n_features, n_intervals;    // n_a, n_b: n_q, n_partners filled up
  int n_radial, n_j;                                                                   // radial functions, filled up
  bool mixed;    // partners are sums of coefficients over slots
  double cutoff, inverse_step;
  Buffer<double> functions;
  std::vector<double> weighting, own, weight, factor, prefactor;
  std::vector<int> slot, take;

  Soap(const Tables &tables, const std::string &of, int n_elements)
  {
    const auto &shape = tables.integer(of + ".shape", {4});
    n = (int) shape[0];
    degrees = (int) shape[1] + 1;
    n_slots = (int) shape[2];
    mixed = shape[3] != 0;
    if (n < 1 || n > 64 || degrees < 1 || degrees > 32 || n_slots < 1 || n_slots > 128)
      throw std::runtime_error(of + " is damaged: export the model again");
    lm = degrees * degrees;
    n_q = n_slots * n;
    n_partners = mixed ? n : n_q;
    n_a = up(n_q, W);
    n_b = up(n_partners, W);
    n_radial = degrees * n;
    n_j = up(n_radial, W);
    cutoff = tables.positive(of + ".cutoff");
    inverse_step = tables.positive(of + ".inverse_step");
    weighting = tables.real(of + ".weighting", {-1, 8});
    n_intervals = (int) weighting.size() / 8;
    const auto &rows = tables.real(of + ".functions", {n_intervals, 8, n_radial});
    functions.assign((size_t) n_intervals * 8 * n_j, 0.0);
    for (size_t k = 0; k < rows.size(); k++) functions[k / n_radial * n_j + k % n_radial] = rows[k];
    own = tables.real(of + ".own", {n});
    weight = tables.real(of + ".weight", {n_elements});
    factor = tables.real(of + ".factor", {-1});
    n_features = (int) factor.size();
    for (int64_t s : tables.integer(of + ".slot", {n_elements})) {
      if (s < 0 || s >= n_slots) throw std::runtime_error(of + " is damaged: export the model again");
      slot.push_back((int) s);
    }
    // Where a feature is among all products of coefficients, whose rows of partners are filled up.
    for (int64_t t : tables.integer(of + ".take", {n_features})) {
      if (t < 0 || t >= (int64_t) degrees * n_q * n_partners)
        throw std::runtime_error(of + " is damaged: export the model again");
      take.push_back((int) (t / n_partners * n_b + t % n_partners));
    }
    for (int d = 0; d < degrees; d++)
      for (int m = 0; m < degrees; m++) {
        double ratio = 1.0;
        for (int k = d - m + 1; k <= d + m; k++) ratio /= k;
        const double f = m > d ? 0.0 : sqrt((2 * d + 1) / (2 * M_PI) * ratio) * (m % 2 ? -1 : 1);
        prefactor.push_back(m ? f : f * sqrt(0.5));
      }
  }
};

// A centre with its neighbours.
struct Centre {
  int atom = 0, element = 0, n_pairs = 0;    // pairs with those of no weight
  std::vector<int> first;                    // of every slot, and the end
  std::vector<int> neighbour;                // -1 of no weight
  Buffer<double> x, y, z, r, weight;
  Buffer<double> c, partners;                // [lm][n_a], [lm][n_b]
  double norm = 0;
};

// Memory that every centre needs anew.
class Workspace {
 public:
  explicit Workspace(const Soap &soap) : s(soap)
  {
    const int products = s.degrees * s.n_q * s.n_b;
    products_.assign(products, 0.0);
    matrix_.assign(products, 0.0);
    transposed_.assign((size_t) s.n_partners * s.n_a, 0.0);
    g_.assign((size_t) s.lm * s.n_a, 0.0);
    back_.assign(s.n_b, 0.0);
  }

  // Coefficients of a centre whose neighbours are given, and its unit features.
  void describe(Centre &centre, double *u)
  {
    const int P = centre.n_pairs;
    grow(P);
    harmonics(centre, P);
    radial<false>(centre, P);
    centre.c.assign((size_t) s.lm * s.n_a, 0.0);
    double *c = centre.c.data();
    for (int slot = 0; slot < s.n_slots; slot++) {
      const int begin = centre.first[slot], end = centre.first[slot + 1];
      if (begin == end) continue;
      for (int d = 0, k = 0; d < s.degrees; d++)
        for (; k < (d + 1) * (d + 1); k++) {
          const double *y = y_.data() + (size_t) k * P;
          double *out = c + (size_t) k * s.n_a + slot * s.n;
          int j = 0;
          for (; j + 4 <= s.n; j += 4) sums<4>(y, value_of(d, j, P), P, begin, end, out + j);
          for (; j < s.n; j++) sums<1>(y, value_of(d, j, P), P, begin, end, out + j);
        }
    }
    // The centre belongs to its own density, of which only l = 0 is left at its place.
    for (int j = 0; j < s.n; j++) c[s.slot[centre.element] * s.n + j] += s.weight[centre.element] * s.own[j];
    centre.partners.assign((size_t) s.lm * s.n_b, 0.0);
    for (int k = 0; k < s.lm; k++)
      for (int q = 0; q < s.n_q; q++) centre.partners[(size_t) k * s.n_b + q % s.n_partners] += c[(size_t) k * s.n_a + q];
    spectrum(centre, u);
  }

  // Gradient (3, n_pairs) along the pairs of a centre of `sum(v * features)`.
  void pull(const Centre &centre, const double *v, double *gradient)
  {
    cotangent(centre, v);
    const int P = centre.n_pairs;
    grow(P);
    harmonics(centre, P);
    gradients(centre, P);
    radial<true>(centre, P);
    for (int a = 0; a < 3 * P; a++) gradient[a] = 0.0;
    const double *at[3] = {centre.x.data(), centre.y.data(), centre.z.data()};
    for (int slot = 0; slot < s.n_slots; slot++) {
      for (int p = centre.first[slot]; p < centre.first[slot + 1]; p += W) {
        const V inverse = 1.0 / *(const V *) (centre.r.data() + p);
        V total[3] = {}, radially = {};
        for (int d = 0, k = 0; d < s.degrees; d++) {
          const double *value = value_of(d, 0, P) + p, *slope = slope_of(d, 0, P) + p;
          for (; k < (d + 1) * (d + 1); k++) {
            const double *g = g_.data() + (size_t) k * s.n_a + slot * s.n;
            V across = {}, along = {};
            for (int j = 0; j < s.n; j++) {
              across += g[j] * *(const V *) (value + (size_t) j * P);
              along += g[j] * *(const V *) (slope + (size_t) j * P);
            }
            radially += along * *(const V *) (y_.data() + (size_t) k * P + p);
            for (int a = 0; a < 3; a++) total[a] += across * *(const V *) (dy_.data() + ((size_t) a * s.lm + k) * P + p);
          }
        }
        radially *= inverse;
        for (int a = 0; a < 3; a++)
          *(V *) (gradient + (size_t) a * P + p) = total[a] + radially * *(const V *) (at[a] + p);
      }
    }
  }

  // Gradients (n_pairs, 3) along the pairs of a centre of `sum(v[f][k] * features[f])`, of all draws k at once.
  void pull_together(const Centre &centre, const Draws *v, Draws *gradient)
  {
    cotangents(centre, v);
    const int P = centre.n_pairs, width = s.n * s.lm;
    grow(P);
    harmonics(centre, P);
    gradients(centre, P);
    radial<true>(centre, P);
    moved_.resize((size_t) 3 * P * width);
    const double *at[3] = {centre.x.data(), centre.y.data(), centre.z.data()};
    for (int p = 0; p < P; p++) {
      float own_y[1024], own_dy[3][1024];
      for (int k = 0; k < s.lm; k++) {
        own_y[k] = (float) y_[(size_t) k * P + p];
        for (int a = 0; a < 3; a++) own_dy[a][k] = (float) dy_[((size_t) a * s.lm + k) * P + p];
      }
      for (int a = 0; a < 3; a++) {
        const float unit = (float) (at[a][p] / centre.r[p]);
        float *out = moved_.data() + ((size_t) 3 * p + a) * width;
        for (int j = 0; j < s.n; j++)
          for (int d = 0, k = 0; d < s.degrees; d++) {
            const float value = (float) value_of(d, j, P)[p], slope = unit * (float) slope_of(d, j, P)[p];
            for (; k < (d + 1) * (d + 1); k++) out[j * s.lm + k] = slope * own_y[k] + value * own_dy[a][k];
          }
      }
    }
    for (int slot = 0; slot < s.n_slots; slot++) {
      const Draws *g = (const Draws *) together_.data() + (size_t) slot * width;
      int row = 3 * centre.first[slot];
      const int end = 3 * centre.first[slot + 1];
      for (; row + 6 <= end; row += 6) rows<6>(moved_.data() + (size_t) row * width, width, g, gradient + row);
      for (; row < end; row++) rows<1>(moved_.data() + (size_t) row * width, width, g, gradient + row);
    }
  }

 private:
  const Soap &s;
  int most_ = 0;
  Buffer<double> y_, dy_, q_, cos_, sin_, values_, slopes_;
  Buffer<double> products_, matrix_, transposed_, g_, back_;
  Buffer<float> moved_, many_, together_;

  void grow(int P)
  {
    if (P <= most_) return;
    most_ = P;
    y_.resize((size_t) s.lm * P);
    dy_.resize((size_t) 3 * s.lm * P);
    q_.resize((size_t) s.lm * P);
    cos_.resize((size_t) s.degrees * P);
    sin_.resize((size_t) s.degrees * P);
    values_.resize((size_t) s.degrees * s.n * P);
    slopes_.resize((size_t) s.degrees * s.n * P);
  }

  const double *value_of(int d, int j, int P) const { return values_.data() + (size_t) (d * s.n + j) * P; }
  const double *slope_of(int d, int j, int P) const { return slopes_.data() + (size_t) (d * s.n + j) * P; }
  double *q(int d, int m, int P) { return q_.data() + (size_t) (d * s.degrees + m) * P; }

  template <int N>
  static void sums(const double *y, const double *values, int P, int begin, int end, double *out)
  {
    V total[N] = {};
    for (int p = begin; p < end; p += W) {
      const V f = *(const V *) (y + p);
      for (int k = 0; k < N; k++) total[k] += f * *(const V *) (values + (size_t) k * P + p);
    }
    for (int k = 0; k < N; k++) {
      double sum = 0;
      for (int w = 0; w < W; w++) sum += total[k][w];
      out[k] = sum;
    }
  }

  template <int N> static void rows(const float *moved, int width, const Draws *g, Draws *out)
  {
    Draws total[N] = {};
    for (int k = 0; k < width; k++) {
      const Draws f = g[k];
      for (int r = 0; r < N; r++) total[r] += moved[(size_t) r * width + k] * f;
    }
    for (int r = 0; r < N; r++) out[r] = total[r];
  }

  void harmonics(const Centre &centre, int P)
  {
    const double *__restrict x = centre.x.data(), *__restrict y = centre.y.data(), *__restrict z = centre.z.data(),
                 *__restrict r = centre.r.data();
    double *cos0 = cos_.data(), *sin0 = sin_.data();
    for (int p = 0; p < P; p++) {
      cos0[p] = q_[p] = 1.0;
      sin0[p] = 0.0;
    }
    for (int m = 1; m < s.degrees; m++) {
      const double *__restrict c = cos_.data() + (size_t) (m - 1) * P, *__restrict t = sin_.data() + (size_t) (m - 1) * P;
      double *__restrict cm = cos_.data() + (size_t) m * P, *__restrict sm = sin_.data() + (size_t) m * P;
      for (int p = 0; p < P; p++) {
        cm[p] = x[p] * c[p] - y[p] * t[p];
        sm[p] = x[p] * t[p] + y[p] * c[p];
      }
    }
    for (int m = 0; m < s.degrees; m++) {
      if (m > 0) {
        const double *__restrict before = q(m - 1, m - 1, P);
        double *__restrict now = q(m, m, P);
        for (int p = 0; p < P; p++) now[p] = -(2 * m - 1) * before[p];
      }
      if (m + 1 < s.degrees) {
        const double *__restrict before = q(m, m, P);
        double *__restrict now = q(m + 1, m, P);
        for (int p = 0; p < P; p++) now[p] = (2 * m + 1) * z[p] * before[p];
      }
      for (int d = m + 2; d < s.degrees; d++) {
        const double a = (2.0 * d - 1) / (d - m), b = (d + m - 1.0) / (d - m);
        const double *__restrict first = q(d - 1, m, P), *__restrict second = q(d - 2, m, P);
        double *__restrict now = q(d, m, P);
        for (int p = 0; p < P; p++) now[p] = a * z[p] * first[p] - b * r[p] * r[p] * second[p];
      }
    }
    for (int d = 0; d < s.degrees; d++)
      for (int m = 0; m <= d; m++) {
        const double f = s.prefactor[d * s.degrees + m];
        const double *__restrict qd = q(d, m, P), *__restrict c = cos_.data() + (size_t) m * P,
                     *__restrict t = sin_.data() + (size_t) m * P;
        double *__restrict plus = y_.data() + (size_t) (d * d + d + m) * P;
        double *__restrict minus = y_.data() + (size_t) (d * d + d - m) * P;
        if (m == 0)
          for (int p = 0; p < P; p++) plus[p] = f * qd[p];
        else
          for (int p = 0; p < P; p++) {
            plus[p] = f * qd[p] * c[p];
            minus[p] = f * qd[p] * t[p];
          }
      }
  }

  void gradients(const Centre &centre, int P)
  {
    const double *__restrict x = centre.x.data(), *__restrict y = centre.y.data();
    const size_t axis = (size_t) s.lm * P;
    for (int a = 0; a < 3; a++)
      for (int p = 0; p < P; p++) dy_[a * axis + p] = 0.0;
    for (int d = 1; d < s.degrees; d++) {
      const double f0 = s.prefactor[d * s.degrees];
      double *__restrict middle = dy_.data() + (size_t) (d * d + d) * P;
      const double *below = q(d - 1, 0, P), *beside = d > 1 ? q(d - 1, 1, P) : nullptr;
      for (int p = 0; p < P; p++) {
        const double across = beside ? f0 * beside[p] : 0.0;
        middle[p] = x[p] * across;
        middle[axis + p] = y[p] * across;
        middle[2 * axis + p] = f0 * d * below[p];
      }
      for (int m = 1; m <= d; m++) {
        const double f = s.prefactor[d * s.degrees + m];
        const double *own_q = q(d, m, P), *along_q = m < d ? q(d - 1, m, P) : nullptr,
                     *across_q = m < d - 1 ? q(d - 1, m + 1, P) : nullptr;
        const double *__restrict c = cos_.data() + (size_t) m * P, *__restrict t = sin_.data() + (size_t) m * P;
        const double *__restrict c1 = c - P, *__restrict t1 = t - P;
        double *__restrict plus = dy_.data() + (size_t) (d * d + d + m) * P;
        double *__restrict minus = dy_.data() + (size_t) (d * d + d - m) * P;
        for (int p = 0; p < P; p++) {
          const double own = f * m * own_q[p], along = along_q ? f * (d + m) * along_q[p] : 0.0,
                       across = across_q ? f * across_q[p] : 0.0;
          plus[p] = x[p] * across * c[p] + own * c1[p];
          plus[axis + p] = y[p] * across * c[p] - own * t1[p];
          plus[2 * axis + p] = along * c[p];
          minus[p] = x[p] * across * t[p] + own * t1[p];
          minus[axis + p] = y[p] * across * t[p] + own * c1[p];
          minus[2 * axis + p] = along * t[p];
        }
      }
    }
  }

  template <bool SLOPES> void radial(const Centre &centre, int P)
  {
    const int J = s.n_j;
    for (int p = 0; p < P; p++) {
      const double x = centre.r[p] * s.inverse_step;
      const int k = x < s.n_intervals ? (int) x : s.n_intervals - 1;
      const double t = 2.0 * (x - k) - 1.0;
      const double *a = s.functions.data() + (size_t) k * 8 * J, *b = s.weighting.data() + 8 * k;
      double w = b[7], dw = 0.0;
      for (int d = 6; d >= 0; d--) {
        dw = dw * t + w;
        w = w * t + b[d];
      }
      w *= centre.weight[p];
      dw *= 2.0 * s.inverse_step * centre.weight[p];
      const double stretched = 2.0 * s.inverse_step * w;
      for (int j = 0; j < J; j += W) {
        // Horner's rule for a value and its derivative.
        V f = *(const V *) (a + 7 * J + j), g = f;
        for (int d = 6; d > 0; d--) {
          f = f * t + *(const V *) (a + d * J + j);
          if (SLOPES) g = g * t + f;
        }
        f = f * t + *(const V *) (a + j);
        const int filled = std::min(W, s.n_radial - j);
        const V value = w * f;
        double *out = values_.data() + (size_t) j * P + p;
        for (int k = 0; k < filled; k++) out[(size_t) k * P] = value[k];
        if (!SLOPES) continue;
        const V slope = stretched * g + dw * f;
        out = slopes_.data() + (size_t) j * P + p;
        for (int k = 0; k < filled; k++) out[(size_t) k * P] = slope[k];
      }
    }
  }

  void spectrum(Centre &centre, double *u)
  {
    for (int d = 0; d < s.degrees; d++)
      for (int a = 0; a < s.n_q; a++)
        for (int b = 0; b < s.n_b; b += W) {
          V sum = {};
          for (int k = d * d; k < (d + 1) * (d + 1); k++)
            sum += centre.c[(size_t) k * s.n_a + a] * *(const V *) (centre.partners.data() + (size_t) k * s.n_b + b);
          *(V *) (products_.data() + (size_t) (d * s.n_q + a) * s.n_b + b) = sum;
        }
    double square = 0;
    for (int f = 0; f < s.n_features; f++) {
      u[f] = s.factor[f] * products_[s.take[f]];
      square += u[f] * u[f];
    }
    centre.norm = sqrt(square);
    const double inverse = square > 0 ? 1.0 / centre.norm : 0.0;
    for (int f = 0; f < s.n_features; f++) u[f] *= inverse;
  }

  // Gradient g_[lm][n_a] of `sum(v * features)` by the coefficients.
  void cotangent(const Centre &centre, const double *v)
  {
    for (int f = 0; f < s.n_features; f++) matrix_[s.take[f]] = s.factor[f] * v[f];
    for (int d = 0; d < s.degrees; d++) {
      const double *m = matrix_.data() + (size_t) d * s.n_q * s.n_b;
      double *t = transposed_.data();
      // Partners that are the coefficients themselves: both factors of a product are differentiated.
      for (int b = 0; b < s.n_partners; b++)
        for (int a = 0; a < s.n_q; a++) t[b * s.n_a + a] = m[a * s.n_b + b] + (s.mixed ? 0.0 : m[b * s.n_b + a]);
      for (int k = d * d; k < (d + 1) * (d + 1); k++) {
        const double *c = centre.c.data() + (size_t) k * s.n_a, *partners = centre.partners.data() + (size_t) k * s.n_b;
        double *g = g_.data() + (size_t) k * s.n_a;
        for (int a = 0; a < s.n_a; a += W) {
          V sum = {};
          for (int b = 0; b < s.n_partners; b++) sum += partners[b] * *(const V *) (t + b * s.n_a + a);
          *(V *) (g + a) = sum;
        }
        if (!s.mixed) continue;
        for (int b = 0; b < s.n_b; b += W) {
          V sum = {};
          for (int a = 0; a < s.n_q; a++) sum += c[a] * *(const V *) (m + a * s.n_b + b);
          *(V *) (back_.data() + b) = sum;
        }
        for (int slot = 0; slot < s.n_slots; slot++)
          for (int j = 0; j < s.n; j++) g[slot * s.n + j] += back_[j];
      }
    }
  }

  // Gradients together_[slot][n][lm] by the coefficients, of all draws.
  void cotangents(const Centre &centre, const Draws *v)
  {
    many_.resize((size_t) s.degrees * s.n_q * s.n_b * DRAWS);
    together_.resize((size_t) s.n_slots * s.n * s.lm * DRAWS);
    Draws *matrix = (Draws *) many_.data(), *g = (Draws *) together_.data();
    for (size_t k = 0; k < many_.size() / DRAWS; k++) matrix[k] = Draws{};
    for (int f = 0; f < s.n_features; f++) matrix[s.take[f]] = (float) s.factor[f] * v[f];
    Draws back[64];
    for (int d = 0; d < s.degrees; d++) {
      Draws *m = matrix + (size_t) d * s.n_q * s.n_b;
      if (!s.mixed)
        for (int a = 0; a < s.n_q; a++) {
          m[a * s.n_b + a] *= 2.0f;
          for (int b = 0; b < a; b++) m[a * s.n_b + b] = m[b * s.n_b + a] = m[a * s.n_b + b] + m[b * s.n_b + a];
        }
      for (int k = d * d; k < (d + 1) * (d + 1); k++) {
        const double *c = centre.c.data() + (size_t) k * s.n_a, *partners = centre.partners.data() + (size_t) k * s.n_b;
        for (int j = 0; j < s.n; j++) back[j] = Draws{};
        for (int a = 0; a < s.n_q; a++) {
          Draws row = {};
          const Draws *from = m + a * s.n_b;
          for (int b = 0; b < s.n_partners; b++) row += (float) partners[b] * from[b];
          g[(size_t) a * s.lm + k] = row;
          if (s.mixed)
            for (int b = 0; b < s.n_partners; b++) back[b] += (float) c[a] * from[b];
        }
        if (s.mixed)
          for (int a = 0; a < s.n_q; a++) g[(size_t) a * s.lm + k] += back[a % s.n];
      }
    }
  }
};

}    // namespace kernpot

#endif
