// SPDX-License-Identifier: GPL-2.0-only
// pair_style kernpot: the mean of a potential, in LAMMPS.
//
//   pair_style kernpot [force_std N] [std N]
//   pair_coeff * * [FILE] Si O NULL

#ifndef KERNPOT_PAIR_H
#define KERNPOT_PAIR_H

#include "potential.h"

#include "pair.h"

#include <memory>

namespace LAMMPS_NS {

class PairKernpot : public Pair {
 public:
  explicit PairKernpot(class LAMMPS *);
  ~PairKernpot() override;
  void compute(int, int) override;
  void settings(int, char **) override;
  void coeff(int, char **) override;
  void init_style() override;
  double init_one(int, int) override;
  double memory_usage() override;
  // "atomic_numbers": of every atom type, counted from 1; 0 of NULL. "is_current": 1 or 0, of this process.
  void *extract(const char *, int &) override;

  // What computes need, too.
  const kernpot::Potential *potential() const { return potential_.get(); }
  const NeighList *neighbours() const { return list; }
  // Changes with every file that is read.
  int generation() const { return generation_; }
  // Whether own atoms and ghosts are as many as at the last evaluation, and, between runs, where they were then: commands may
  // have changed them.
  bool is_current() const;
  const std::vector<double> &energies() const { return energies_; }    // of own atoms, eV
  int element_of(int type) const { return type <= (int) map_.size() ? map_[type - 1] : -1; }
  // Whether an atom is excluded from all others by `neigh_modify exclude`, as fix gcmc hides one that it tries to delete:
  // it then has no energy.
  bool hidden(int i) const;
  // A centre with its neighbours within the cutoff of a descriptor; ends the run where atoms are on top of each other.
  void gather(kernpot::Centre &, int i, const kernpot::Soap &);

 private:
  std::unique_ptr<kernpot::Potential> potential_;
  std::vector<kernpot::Workspace> workspaces_;
  std::vector<kernpot::Centre> centres_;
  kernpot::Buffer<double> features_, slopes_, gradient_;
  std::vector<double> energies_, numbers_;
  std::vector<int> map_, order_;    // elements of types, -1 of NULL; atoms by element
  bool force_std_ = false, std_ = false;
  int generation_ = 0;
  double current_ = 0;    // what extract() points to
  struct Fingerprint {
    int own, ghosts;
    double sum;
  } evaluated_ = {-1, -1, 0.0};
  std::vector<std::string> defined_;    // computes
  struct Neighbour {
    int atom, element;
    double x, y, z;
    double square() const { return x * x + y * y + z * z; }
  };
  std::vector<Neighbour> found_;    // of the centre that is gathered

  Fingerprint fingerprint() const;

  void read(const std::string &);
  void define(const char *name, const char *style);
  void evaluate(int descriptor, int element, const int *atoms, int n);
};

}    // namespace LAMMPS_NS

#endif
