// SPDX-License-Identifier: GPL-2.0-only
// compute ID GROUP kernpot/force_std: the largest standard deviation of a component of the force on each atom, eV/A.
// compute ID GROUP kernpot/std: the standard deviation of the energy of each atom, eV.
// compute ID GROUP kernpot/energy: the energy of each atom, eV.
//
// Standard deviations are those of the shared draws of the potential of `pair_style kernpot`. All are of the step at which
// they are asked for.

#ifndef KERNPOT_COMPUTE_H
#define KERNPOT_COMPUTE_H

#include "pair_kernpot.h"

#include "compute.h"

namespace LAMMPS_NS {

class ComputeKernpot : public Compute {
 public:
  ComputeKernpot(class LAMMPS *, int, char **);
  ~ComputeKernpot() override;
  void init() override;
  void compute_peratom() override;
  int pack_forward_comm(int, int *, double *, int, int *) override;
  void unpack_forward_comm(int, int, double *) override;
  int pack_reverse_comm(int, int, double *) override;
  void unpack_reverse_comm(int, int *, double *) override;
  double memory_usage() override;

 private:
  const bool of_forces_, means_;
  int most_ = 0;
  PairKernpot *pair_ = nullptr;
  int generation_ = -1;
  std::unique_ptr<kernpot::Workspace> workspace_;
  std::vector<kernpot::Centre> centres_;
  kernpot::Buffer<float> features_, slopes_, gradient_;
  std::vector<double> forces_;      // (n_all, 3, DRAWS)
  std::vector<double> energies_;    // variances (n_own,)
  std::vector<double> variances_;    // (n_own, 3)
  std::vector<double> mean_;         // of the components of an atom, (n_all,)

  std::vector<PairKernpot *> pairs() const;
  void sweep(int chunk);
  void pool(std::vector<double> &);
  void add_unseen(int i, double *forces, double &energy) const;
};

}    // namespace LAMMPS_NS

#endif
