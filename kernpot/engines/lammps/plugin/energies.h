// SPDX-License-Identifier: GPL-2.0-only
// Energies of centres as functions of their unit features, as kernpot/kernels/forms.py has them.

#ifndef KERNPOT_ENERGIES_H
#define KERNPOT_ENERGIES_H

#include "soap.h"

namespace kernpot {

// Centres whose energies are formed together: the constant matrices are read once for all of them.
constexpr int BATCH = 32;

// `v . A v`, `a . u`, or `sum_m w_m (v . u_m)^zeta` of the unit features u, or of v, their coordinates in a basis.
class Function {
 public:
  int descriptor, element;

  Function(const Tables &tables, const std::string &of)
  {
    const auto &about = tables.integer(of + ".about", {3});
    descriptor = (int) about[0];
    element = (int) about[1];
    zeta_ = (int) about[2];
    int n = -1;
    if (tables.has(of + ".basis")) {
      tables.real(of + ".basis", {-1, -1});
      const Array &basis = tables.get(of + ".basis", {-1, -1});
      n_ = (int) basis.shape[0];
      n = (int) basis.shape[1];
      to_basis_ = Matrix<double>(basis.real.data(), n_, n, n, 1);
      from_basis_ = Matrix<double>(basis.real.data(), n, n_, 1, n);
    }
    if (tables.has(of + ".form")) {
      tables.real(of + ".form", {n, n});
      const Array &form = tables.get(of + ".form", {n, n});
      n = (int) form.shape[0];
      if (form.shape[1] != form.shape[0]) throw std::runtime_error(of + " is damaged: export the model again");
      form_ = Matrix<double>(form.real.data(), n, n, n, 1);
    } else if (tables.has(of + ".vector")) {
      vector_ = tables.real(of + ".vector", {n});
      n = (int) vector_.size();
    } else {
      tables.real(of + ".environments", {-1, n});
      const Array &environments = tables.get(of + ".environments", {-1, n});
      const int m = (int) environments.shape[0];
      n = (int) environments.shape[1];
      to_cosines_ = Matrix<double>(environments.real.data(), n, m, 1, n);
      from_cosines_ = Matrix<double>(environments.real.data(), m, n, n, 1);
      weights_ = tables.real(of + ".weights", {m});
    }
    if (to_basis_.n_in == 0) n_ = n;
  }

  int n_features() const { return n_; }

  // Adds energies and their slopes by features (rows of `stride`) for some centres with features u (rows of `stride`).
  void add(const double *u, int stride, int n, double *energies, double *slopes)
  {
    const bool in_basis = to_basis_.n_in > 0;
    const double *v = u;
    int width = n_, row = stride;
    if (in_basis) {
      row = to_basis_.padded();
      width = to_basis_.n_out;
      v = into(first_, n * row);
      to_basis_.product(u, stride, n, first_.data());
    }
    const double *slope;
    int slope_row;
    if (!vector_.empty()) {
      slope_row = up(width, 2 * W);
      double *to = into(second_, n * slope_row);
      for (int k = 0; k < n; k++)
        for (int f = 0; f < width; f++) {
          energies[k] += vector_[f] * v[(size_t) k * row + f];
          to[(size_t) k * slope_row + f] = vector_[f];
        }
      slope = to;
    } else if (form_.n_in > 0) {
      slope_row = form_.padded();
      double *to = into(second_, n * slope_row);
      form_.product(v, row, n, to);
      for (int k = 0; k < n; k++) {
        double sum = 0;
        for (int f = 0; f < width; f++) {
          sum += to[(size_t) k * slope_row + f] * v[(size_t) k * row + f];
          to[(size_t) k * slope_row + f] *= 2;
        }
        energies[k] += sum;
      }
      slope = to;
    } else {
      const int cosines = to_cosines_.padded(), m = to_cosines_.n_out;
      double *of = into(third_, n * cosines);
      to_cosines_.product(v, row, n, of);
      for (int k = 0; k < n; k++)
        for (int a = 0; a < m; a++) {
          double &s = of[(size_t) k * cosines + a];
          double power = weights_[a];
          for (int z = 1; z < zeta_; z++) power *= s;
          energies[k] += power * s;
          s = zeta_ * power;
        }
      slope_row = from_cosines_.padded();
      double *to = into(second_, n * slope_row);
      from_cosines_.product(of, cosines, n, to);
      slope = to;
    }
    if (in_basis) {
      const int back = from_basis_.padded();
      double *to = into(third_, n * back);
      from_basis_.product(slope, slope_row, n, to);
      slope = to;
      slope_row = back;
    }
    for (int k = 0; k < n; k++)
      for (int f = 0; f < n_; f++) slopes[(size_t) k * stride + f] += slope[(size_t) k * slope_row + f];
  }

 private:
  int n_ = 0, zeta_ = 0;
  Matrix<double> to_basis_, from_basis_, form_, to_cosines_, from_cosines_;
  std::vector<double> vector_, weights_;
  Buffer<double> first_, second_, third_;

  static double *into(Buffer<double> &buffer, int n)
  {
    if ((int) buffer.size() < n) buffer.resize(n);
    return buffer.data();
  }
};

// Slopes along `sum_f v_f u_f / |p|`, from those by the unit features: what scaling to unit length leaves of them.
inline void of_lengths(double *v, const double *u, double norm, int n)
{
  double along = 0;
  for (int f = 0; f < n; f++) along += v[f] * u[f];
  const double inverse = norm > 0 ? 1.0 / norm : 0.0;
  for (int f = 0; f < n; f++) v[f] = (v[f] - along * u[f]) * inverse;
}

// Quadratic forms of all draws of one element, as many at once as DRAWS.
class DrawnForms {
 public:
  int element, n_features = 0;

  DrawnForms(const Tables &tables, const std::string &of, int n_draws)
  {
    element = (int) tables.integer(of + ".about", {3})[1];
    tables.real(of + ".forms", {n_draws, -1, -1});
    const Array &forms = tables.get(of + ".forms", {n_draws, -1, -1});
    n_features = (int) forms.shape[1];
    if (forms.shape[2] != forms.shape[1]) throw std::runtime_error(of + " is damaged: export the model again");
    const size_t n = n_features;
    for (int first = 0; first < n_draws; first += DRAWS) {
      // Columns: feature by feature, the draws of each side by side.
      std::vector<float> columns(n * n * DRAWS, 0.0f);
      for (int k = first; k < n_draws && k < first + DRAWS; k++)
        for (size_t a = 0; a < n; a++)
          for (size_t b = 0; b < n; b++) columns[(a * n + b) * DRAWS + k - first] = (float) forms.real[(k * n + a) * n + b];
      chunks_.emplace_back(columns.data(), (int) n, (int) n * DRAWS, n * DRAWS, 1);
    }
  }

  int padded() const { return chunks_[0].padded(); }

  // Slopes by the features of the draws of a chunk, halved: (n, padded()), from features (n, stride).
  void half_slopes(int chunk, const float *u, int stride, int n, float *to) const { chunks_[chunk].product(u, stride, n, to); }

 private:
  std::vector<Matrix<float>> chunks_;
};

}    // namespace kernpot

#endif
