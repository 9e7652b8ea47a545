// SPDX-License-Identifier: GPL-2.0-only
// All that a file of tables says: the mean, the draws, what error bars are made of.

#ifndef KERNPOT_POTENTIAL_H
#define KERNPOT_POTENTIAL_H

#include "energies.h"

#include <algorithm>

namespace kernpot {

// Misfit of labels of one kind, kernpot/calibration/misfit.py.
struct Misfit {
  double constant, factor, exponent, reference;

  Misfit(const Tables &tables, const std::string &of)
  {
    const auto &values = tables.real(of, {4});
    constant = values[0];
    factor = values[1];
    exponent = values[2];
    reference = values[3];
  }
  // On variances whose mean, over components that a rotation mixes, is `level`.
  double inflation(double level) const
  {
    return factor * factor * (exponent == 1 ? 1.0 : pow(level / reference, exponent - 1));
  }
};

// Repulsion of two nuclei, screened by their electrons, and its first two derivatives (eV, Angstrom): the universal
// potential of Ziegler, Biersack and Littmark (1985); kernpot/calibration/unseen_pairs.py.
inline void repulsion(double r, int first, int second, double &energy, double &slope, double &curvature)
{
  static const double part[4] = {0.18175, 0.50986, 0.28022, 0.02817}, decay[4] = {3.1998, 0.94229, 0.40290, 0.20162};
  double phi = 0, dphi = 0, ddphi = 0;
  for (int k = 0; k < 4; k++) {
    const double a = decay[k] * (pow(first, 0.23) + pow(second, 0.23)) / 0.46850, e = part[k] * exp(-a * r);
    phi += e;
    dphi -= a * e;
    ddphi += a * a * e;
  }
  const double k = 14.399645 * first * second / r;
  energy = k * phi;
  slope = k * (dphi - phi / r);
  curvature = k * (ddphi - 2 * dphi / r + 2 * phi / (r * r));
}

struct Potential {
  std::vector<int> elements;    // atomic numbers
  std::vector<double> isolated;
  double cutoff;
  std::vector<Soap> soaps;
  std::vector<Function> functions;

  int n_draws = 0;
  std::vector<Soap> drawn_soap;    // one, or none
  std::vector<DrawnForms> forms;
  std::vector<Misfit> misfit;    // of forces, of energies per atom
  std::vector<double> by_element;
  double growth_exponent = 0, growth_reference = 1;
  std::vector<double> closest;    // (elements, elements), empty where it is not known

  explicit Potential(const Tables &tables)
  {
    for (int64_t z : tables.integer("elements", {-1})) elements.push_back((int) z);
    const int n = (int) elements.size();
    isolated = tables.real("isolated", {n});
    cutoff = tables.positive("cutoff");
    const auto &sizes = tables.integer("sizes", {4});
    for (int k = 0; k < sizes[0]; k++) soaps.emplace_back(tables, "soap" + std::to_string(k), n);
    for (const Soap &soap : soaps) require_within(soap);
    for (int k = 0; k < sizes[1]; k++) {
      functions.emplace_back(tables, "function" + std::to_string(k));
      const Function &f = functions.back();
      if (f.descriptor < 0 || f.descriptor >= (int) soaps.size() || f.element < 0 || f.element >= n ||
          f.n_features() != soaps[f.descriptor].n_features)
        throw std::runtime_error("functions and descriptors do not go together: export the model again");
    }
    n_draws = (int) sizes[2];
    if (n_draws == 0) return;
    drawn_soap.emplace_back(tables, "drawn_soap", n);
    require_within(drawn_soap[0]);
    for (int k = 0; k < sizes[3]; k++) {
      forms.emplace_back(tables, "forms" + std::to_string(k), n_draws);
      if (forms.back().element < 0 || forms.back().element >= n || forms.back().n_features != drawn_soap[0].n_features)
        throw std::runtime_error("draws and their descriptor do not go together: export the model again");
    }
    misfit.emplace_back(tables, "misfit_forces");
    misfit.emplace_back(tables, "misfit_energy");
    by_element = tables.real("force_factors", {n});
    if (tables.has("growth")) {
      const auto &growth = tables.real("growth", {2});
      growth_exponent = growth[0];
      growth_reference = growth[1];
    }
    if (tables.has("closest")) closest = tables.real("closest", {n, n});
  }

  void require_within(const Soap &soap) const
  {
    if (soap.cutoff > cutoff * (1 + 1e-12)) throw std::runtime_error("a descriptor sees further than the potential: export the model again");
  }

  // Energy and slope of what no label tells of two atoms that are closer than any of their elements in the fit.
  bool unseen(int a, int b, double r, double &energy, double &slope) const
  {
    if (closest.empty()) return false;
    const double m = closest[(size_t) a * elements.size() + b];
    if (r >= m * (1 - 1e-9)) return false;
    double e, s, c, unused;
    repulsion(r, elements[a], elements[b], energy, slope, unused);
    repulsion(m, elements[a], elements[b], e, s, c);
    const double x = r - m;
    energy -= e + s * x + 0.5 * c * x * x;
    slope -= s + c * x;
    return true;
  }
};

}    // namespace kernpot

#endif
