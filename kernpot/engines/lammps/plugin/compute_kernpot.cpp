// SPDX-License-Identifier: GPL-2.0-only

#include "compute_kernpot.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "update.h"

using namespace LAMMPS_NS;
using namespace kernpot;

ComputeKernpot::ComputeKernpot(LAMMPS *lmp, int n, char **words) :
    Compute(lmp, n, words), of_forces_(std::string(words[2]) == "kernpot/force_std"),
    means_(std::string(words[2]) == "kernpot/energy")
{
  if (n != 3) error->all(FLERR, "expected 'compute ID group {}' and nothing else", style);
  peratom_flag = 1;
  size_peratom_cols = 0;
  comm_forward = 1;
  comm_reverse = 3 * DRAWS;
}

ComputeKernpot::~ComputeKernpot() { memory->destroy(vector_atom); }

// All of the pair style: a hybrid one may have several.
std::vector<PairKernpot *> ComputeKernpot::pairs() const
{
  std::vector<PairKernpot *> found;
  if (Pair *alone = force->pair_match("kernpot", 1)) found.push_back(dynamic_cast<PairKernpot *>(alone));
  else
    for (int k = 1; Pair *one = force->pair_match("kernpot", 1, k); k++) found.push_back(dynamic_cast<PairKernpot *>(one));
  bool known = !found.empty();
  for (PairKernpot *one : found) known = known && one && one->potential();
  if (!known) error->all(FLERR, "compute {} needs 'pair_style kernpot' with its 'pair_coeff'", style);
  return found;
}

void ComputeKernpot::init()
{
  const auto found = pairs();
  pair_ = found[0];
  if (means_) return;
  if (found.size() > 1) error->all(FLERR, "compute {} is of one 'pair_style kernpot', got {} of them: error bars of several are not added", style, found.size());
  if (pair_->potential()->n_draws == 0)
    error->all(FLERR, "the potential has no shared draws, which error bars in LAMMPS come from: fit again with n_draws above 0");
}

void ComputeKernpot::compute_peratom()
{
  invoked_peratom = update->ntimestep;
  // Between runs a script may have changed atoms, box and pair style.
  const auto found = pairs();
  pair_ = found[0];
  int other = 0, any = 0;
  for (const PairKernpot *one : found) other = other || !one->is_current();
  MPI_Allreduce(&other, &any, 1, MPI_INT, MPI_MAX, world);
  if (any) error->all(FLERR, "compute {} is not current: atoms are not where 'pair_style kernpot' saw them last; do a 'run 0' first", style);
  const int n_own = atom->nlocal, n_all = n_own + atom->nghost;
  if (atom->nmax > most_) {
    memory->destroy(vector_atom);
    most_ = atom->nmax;
    memory->create(vector_atom, most_, "kernpot:std");
  }
  if (means_) {
    for (int i = 0; i < n_own; i++) vector_atom[i] = 0.0;
    for (const PairKernpot *one : found)
      for (int i = 0; i < n_own; i++)
        if (atom->mask[i] & groupbit) vector_atom[i] += one->energies()[i];
    return;
  }
  if (!workspace_ || generation_ != pair_->generation()) {
    generation_ = pair_->generation();
    workspace_ = std::make_unique<Workspace>(pair_->potential()->drawn_soap[0]);
    centres_.resize(BATCH);
  }
  const Potential &potential = *pair_->potential();
  const Misfit &misfit = potential.misfit[of_forces_ ? 0 : 1];
  variances_.assign(3 * (size_t) n_own, 0.0);
  energies_.assign(n_own, 0.0);
  for (int first = 0, chunk = 0; first < potential.n_draws; first += DRAWS, chunk++) {
    if (of_forces_) forces_.assign((size_t) n_all * 3 * DRAWS, 0.0);
    sweep(chunk);
    if (!of_forces_) continue;
    comm->reverse_comm(this);
    for (int i = 0; i < n_own; i++)
      for (int a = 0; a < 3; a++) {
        double sum = 0;
        for (int k = 0; k < DRAWS; k++) {
          const double d = forces_[((size_t) i * 3 + a) * DRAWS + k];
          sum += d * d;
        }
        variances_[3 * (size_t) i + a] += sum;
      }
  }
  std::vector<double> around(n_own, 0.0);
  if (of_forces_) {
    if (potential.growth_exponent > 0) {
      pool(around);
      for (int i = 0; i < n_own; i++) {
        const double factor = pow(std::max(around[i] / potential.growth_reference, 1.0), potential.growth_exponent);
        for (int a = 0; a < 3; a++) variances_[3 * (size_t) i + a] *= factor;
      }
    }
    pool(around);
  }
  for (int i = 0; i < n_own; i++) {
    const int e = pair_->element_of(atom->type[i]);
    vector_atom[i] = 0.0;
    if (e < 0 || !(atom->mask[i] & groupbit) || pair_->hidden(i)) continue;
    double unseen[3] = {}, unseen_energy = 0;
    add_unseen(i, unseen, unseen_energy);
    double largest;
    if (of_forces_) {
      const double scale = potential.by_element[e] * potential.by_element[e];
      double spread[3], level = 0;
      for (int a = 0; a < 3; a++) {
        spread[a] = 0.5 * scale * (variances_[3 * (size_t) i + a] + around[i]);
        level += spread[a] / 3;
      }
      const double inflation = level > 0 ? misfit.inflation(level) : 0.0;
      largest = 0;
      for (int a = 0; a < 3; a++)
        largest = std::max(largest, scale * variances_[3 * (size_t) i + a] + inflation * spread[a] + unseen[a]);
    } else
      largest = energies_[i] * (1 + (energies_[i] > 0 ? misfit.inflation(energies_[i]) : 0.0)) + unseen_energy;
    vector_atom[i] = sqrt(largest + misfit.constant * misfit.constant);
  }
}

// What the draws of a chunk deviate: forces that energies of own atoms exert, and their energies' variances.
void ComputeKernpot::sweep(int chunk)
{
  const Potential &potential = *pair_->potential();
  const Soap &soap = potential.drawn_soap[0];
  const NeighList *list = pair_->neighbours();
  const int F = soap.n_features;
  Buffer<double> u(up(F, 8));
  for (const DrawnForms &forms : potential.forms) {
    std::vector<int> atoms;
    for (int k = 0; k < list->inum; k++) {
      const int i = list->ilist[k];
      if (pair_->element_of(atom->type[i]) == forms.element && !pair_->hidden(i)) atoms.push_back(i);
    }
    const int stride = up(F, 2 * Vector<float>::width);
    features_.resize((size_t) BATCH * stride);
    slopes_.resize((size_t) BATCH * forms.padded());
    for (size_t at = 0; at < atoms.size(); at += BATCH) {
      const int n = (int) std::min<size_t>(BATCH, atoms.size() - at);
      for (int k = 0; k < n; k++) {
        pair_->gather(centres_[k], atoms[at + k], soap);
        workspace_->describe(centres_[k], u.data());
        for (int f = 0; f < F; f++) features_[(size_t) k * stride + f] = (float) u[f];
      }
      forms.half_slopes(chunk, features_.data(), stride, n, slopes_.data());
      for (int k = 0; k < n; k++) {
        const Centre &centre = centres_[k];
        const float *own = features_.data() + (size_t) k * stride;
        Draws *v = (Draws *) (slopes_.data() + (size_t) k * forms.padded());
        Draws energy = {};
        for (int f = 0; f < F; f++) energy += own[f] * v[f];
        if (!of_forces_) {
          for (int x = 0; x < DRAWS; x++) energies_[centre.atom] += (double) energy[x] * energy[x];
          continue;
        }
        const float twice = centre.norm > 0 ? (float) (2.0 / centre.norm) : 0.0f;
        for (int f = 0; f < F; f++) v[f] = (v[f] - energy * own[f]) * twice;
        const int P = centre.n_pairs;
        gradient_.resize((size_t) 3 * P * DRAWS);
        workspace_->pull_together(centre, v, (Draws *) gradient_.data());
        double *from = forces_.data() + (size_t) centre.atom * 3 * DRAWS;
        for (int p = 0; p < P; p++) {
          if (centre.neighbour[p] < 0) continue;
          double *to = forces_.data() + (size_t) centre.neighbour[p] * 3 * DRAWS;
          const float *g = gradient_.data() + (size_t) p * 3 * DRAWS;
          for (int x = 0; x < 3 * DRAWS; x++) {
            to[x] -= g[x];
            from[x] += g[x];
          }
        }
      }
    }
  }
}

// The mean variance of components around each own atom, kernpot/calibration/surroundings.py.
void ComputeKernpot::pool(std::vector<double> &around)
{
  const NeighList *list = pair_->neighbours();
  const double cutoff = pair_->potential()->cutoff;
  double **x = atom->x;
  mean_.assign((size_t) atom->nlocal + atom->nghost, 0.0);
  for (int i = 0; i < atom->nlocal; i++)
    mean_[i] = (variances_[3 * (size_t) i] + variances_[3 * (size_t) i + 1] + variances_[3 * (size_t) i + 2]) / 3;
  comm->forward_comm(this);
  for (int k = 0; k < list->inum; k++) {
    const int i = list->ilist[k];
    double sum = mean_[i], total = 1;
    for (int n = 0; n < list->numneigh[i]; n++) {
      const int j = list->firstneigh[i][n] & NEIGHMASK;
      if (pair_->element_of(atom->type[j]) < 0) continue;
      const double d[3] = {x[j][0] - x[i][0], x[j][1] - x[i][1], x[j][2] - x[i][2]};
      const double r = sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]) / cutoff;
      if (r >= 1) continue;
      const double weight = (1 - r) * (1 - r) * (1 + 2 * r);
      sum += weight * mean_[j];
      total += weight;
    }
    around[i] = sum / total;
  }
}

// Variances of what no label tells: one independent term for every pair of elements.
void ComputeKernpot::add_unseen(int i, double *forces, double &energy) const
{
  const Potential &potential = *pair_->potential();
  if (potential.closest.empty()) return;
  const NeighList *list = pair_->neighbours();
  const int e = pair_->element_of(atom->type[i]);
  double **x = atom->x;
  // Of every element that is too close: energy, three forces.
  std::vector<double> of;
  for (int n = 0; n < list->numneigh[i]; n++) {
    const int j = list->firstneigh[i][n] & NEIGHMASK, other = pair_->element_of(atom->type[j]);
    if (other < 0) continue;
    const double d[3] = {x[j][0] - x[i][0], x[j][1] - x[i][1], x[j][2] - x[i][2]};
    const double r = sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
    double phi, slope;
    if (!potential.unseen(e, other, r, phi, slope)) continue;
    of.resize(4 * potential.elements.size(), 0.0);
    of[4 * other] += 0.5 * phi;
    for (int a = 0; a < 3; a++) of[4 * other + 1 + a] += d[a] * slope / r;
  }
  for (size_t k = 0; k < of.size(); k += 4) {
    energy += of[k] * of[k];
    for (int a = 0; a < 3; a++) forces[a] += of[k + 1 + a] * of[k + 1 + a];
  }
}

int ComputeKernpot::pack_forward_comm(int n, int *atoms, double *to, int, int *)
{
  for (int k = 0; k < n; k++) to[k] = mean_[atoms[k]];
  return n;
}

void ComputeKernpot::unpack_forward_comm(int n, int first, double *from)
{
  for (int k = 0; k < n; k++) mean_[first + k] = from[k];
}

int ComputeKernpot::pack_reverse_comm(int n, int first, double *to)
{
  std::copy_n(forces_.data() + (size_t) first * comm_reverse, (size_t) n * comm_reverse, to);
  return n * comm_reverse;
}

void ComputeKernpot::unpack_reverse_comm(int n, int *atoms, double *from)
{
  for (int k = 0; k < n; k++)
    for (int x = 0; x < comm_reverse; x++) forces_[(size_t) atoms[k] * comm_reverse + x] += *from++;
}

double ComputeKernpot::memory_usage()
{
  return (double) (forces_.capacity() + variances_.capacity() + mean_.capacity() + most_) * sizeof(double);
}
