// SPDX-License-Identifier: GPL-2.0-only

#include "pair_kernpot.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "input.h"
#include "memory.h"
#include "modify.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"
#include "variable.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

using namespace LAMMPS_NS;
using namespace kernpot;

// Squared distance (Angstrom^2) below which atoms are on top of each other.
static constexpr double COINCIDENT = 1e-12;

static const char *const SYMBOLS[] = {
    "",   "H",  "He", "Li", "Be", "B",  "C",  "N",  "O",  "F",  "Ne", "Na", "Mg", "Al", "Si", "P",  "S",  "Cl", "Ar", "K",
    "Ca", "Sc", "Ti", "V",  "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As", "Se", "Br", "Kr", "Rb", "Sr", "Y",
    "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I",  "Xe", "Cs", "Ba", "La", "Ce", "Pr",
    "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W",  "Re", "Os", "Ir", "Pt", "Au",
    "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U",  "Np", "Pu", "Am", "Cm", "Bk", "Cf", "Es",
    "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og"};
static constexpr int N_SYMBOLS = sizeof(SYMBOLS) / sizeof(*SYMBOLS);

PairKernpot::PairKernpot(LAMMPS *lmp) : Pair(lmp)
{
  single_enable = restartinfo = 0;
  one_coeff = manybody_flag = 1;
  // Energies of centres give the virial pair by pair, whatever the neighbour list leaves out.
  no_virial_fdotr_compute = 1;
  centroidstressflag = 2;    // not available
}

PairKernpot::~PairKernpot()
{
  // They know nothing without it.
  for (const std::string &name : defined_)
    if (modify && modify->get_compute_by_id(name)) modify->delete_compute(name);
  if (allocated) {
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }
}

void PairKernpot::settings(int n, char **words)
{
  for (int k = 0; k < n; k += 2) {
    const std::string name = words[k];
    if ((name != "force_std" && name != "std") || k + 1 >= n || !utils::is_integer(words[k + 1]) || atoi(words[k + 1]) < 0)
      error->all(FLERR, "expected 'pair_style kernpot', 'pair_style kernpot force_std 20' or 'pair_style kernpot std 20', got '{}'", name);
    if (atoi(words[k + 1]) > 0) (name == "std" ? std_ : force_std_) = true;
  }
}

void PairKernpot::coeff(int n, char **words)
{
  const int n_types = atom->ntypes;
  const char *given = getenv("KERNPOT_TABLES");
  const bool named = n == n_types + 3;
  if (n < 2 || strcmp(words[0], "*") || strcmp(words[1], "*") || (!named && (n != n_types + 2 || !given)))
    error->all(FLERR, "expected 'pair_coeff * * FILE' and the element of each of the {} atom types, FILE from `kernpot export MODEL --lammps`", n_types);
  read(named ? words[2] : given);

  map_.assign(n_types, -1);
  numbers_.assign(n_types + 1, 0.0);
  bool some = false;
  for (int type = 0; type < n_types; type++) {
    const std::string symbol = words[n - n_types + type];
    if (symbol == "NULL") continue;
    some = true;
    std::string known;
    for (size_t e = 0; e < potential_->elements.size(); e++) {
      const int z = potential_->elements[e];
      known += std::string(e ? ", " : "") + (z > 0 && z < N_SYMBOLS ? SYMBOLS[z] : "?");
      if (z > 0 && z < N_SYMBOLS && symbol == SYMBOLS[z]) map_[type] = (int) e;
    }
    if (map_[type] >= 0) numbers_[type + 1] = potential_->elements[map_[type]];
    if (map_[type] < 0) error->all(FLERR, "'{}' is not among the elements that the potential knows: {}", symbol, known);
  }
  if (!some) error->all(FLERR, "expected an element for at least one atom type, got NULL for all");

  if (!allocated) {
    memory->create(setflag, n_types + 1, n_types + 1, "pair:setflag");
    memory->create(cutsq, n_types + 1, n_types + 1, "pair:cutsq");
    allocated = 1;
  }
  for (int i = 1; i <= n_types; i++)
    for (int j = 1; j <= n_types; j++) {
      setflag[i][j] = map_[i - 1] >= 0 && map_[j - 1] >= 0;
      cutsq[i][j] = potential_->cutoff * potential_->cutoff;
    }
  define("kernpot_energy", "kernpot/energy");
  if (force_std_) define("kernpot_force_std", "kernpot/force_std");
  if (std_) define("kernpot_std", "kernpot/std");
}

void PairKernpot::define(const char *name, const char *style)
{
  if (modify->get_compute_by_id(name)) return;
  const std::string largest = std::string(name).insert(8, "max_");
  // Not by input->one(): the words of the `pair_coeff` that is being read would be lost to a hybrid style.
  modify->add_compute(std::string(name) + " all " + style);
  defined_.push_back(name);
  if (!strcmp(name, "kernpot_energy")) return;
  modify->add_compute(largest + " all reduce max c_" + name);
  defined_.insert(defined_.begin(), largest);
  input->variable->set(largest + " equal c_" + largest);
}

void PairKernpot::read(const std::string &path)
{
  std::string bytes;
  bigint size = -1;
  if (comm->me == 0) {
    std::ifstream file(path, std::ios::binary);
    if (file) {
      std::stringstream all;
      all << file.rdbuf();
      bytes = all.str();
      size = (bigint) bytes.size();
    }
  }
  MPI_Bcast(&size, 1, MPI_LMP_BIGINT, 0, world);
  if (size < 0) error->all(FLERR, "cannot read '{}'; `kernpot export MODEL --lammps` writes such a file", path);
  bytes.resize(size);
  for (bigint done = 0; done < size;) {
    const int part = (int) std::min(size - done, (bigint) 1 << 30);
    MPI_Bcast(&bytes[done], part, MPI_BYTE, 0, world);
    done += part;
  }
  try {
    potential_ = std::make_unique<Potential>(Tables(bytes, path));
  } catch (std::exception &problem) {
    error->all(FLERR, problem.what());
  }
  generation_++;
  workspaces_.clear();
  for (const Soap &soap : potential_->soaps) workspaces_.emplace_back(soap);
  centres_.resize(BATCH);
}

void PairKernpot::init_style()
{
  if (strcmp(update->unit_style, "metal")) error->all(FLERR, "pair_style kernpot needs 'units metal' (eV, Angstrom), got 'units {}'", update->unit_style);
  if (!force->newton_pair) error->all(FLERR, "pair_style kernpot needs 'newton on'");
  bool hides = false;
  for (int k = 1; k < 4; k++) hides = hides || (force->special_lj[k] == 0.0 && force->special_coul[k] == 0.0);
  if (atom->nbonds > 0 && hides)
    error->all(FLERR, "pair_style kernpot does not see all bonded atoms with these special_bonds: write 'special_bonds lj/coul 1 1 1'");
  neighbor->add_request(this, NeighConst::REQ_FULL);
}

double PairKernpot::init_one(int, int) { return potential_->cutoff; }

void *PairKernpot::extract(const char *name, int &dim)
{
  if (!strcmp(name, "is_current")) {
    dim = 0;
    current_ = is_current();
    return &current_;
  }
  dim = 1;
  return strcmp(name, "atomic_numbers") ? nullptr : numbers_.data();
}

double PairKernpot::memory_usage()
{
  return Pair::memory_usage() + (features_.capacity() + slopes_.capacity()) * sizeof(double);
}

PairKernpot::Fingerprint PairKernpot::fingerprint() const
{
  double sum = 0;
  for (int i = 0; i < atom->nlocal + atom->nghost; i++)
    sum += atom->x[i][0] + 2 * atom->x[i][1] + 3 * atom->x[i][2] + atom->type[i];
  return {atom->nlocal, atom->nghost, sum};
}

bool PairKernpot::is_current() const
{
  if (!list || evaluated_.own != atom->nlocal || evaluated_.ghosts != atom->nghost) return false;
  return update->whichflag != 0 || evaluated_.sum == fingerprint().sum;
}

bool PairKernpot::hidden(int i) const
{
  for (int m = 0; m < neighbor->nex_group; m++)
    if ((neighbor->ex2_group[m] == 0 && (atom->mask[i] & neighbor->ex1_bit[m])) ||
        (neighbor->ex1_group[m] == 0 && (atom->mask[i] & neighbor->ex2_bit[m])))
      return true;
  return false;
}

void PairKernpot::gather(Centre &centre, int i, const Soap &soap)
{
  double **x = atom->x;
  const double square = soap.cutoff * soap.cutoff;
  centre.atom = i;
  centre.element = element_of(atom->type[i]);
  // Those within the cutoff, and how many every slot has; then where they go.
  found_.clear();
  centre.first.assign(soap.n_slots + 1, 0);
  for (int k = 0; k < list->numneigh[i]; k++) {
    const int j = list->firstneigh[i][k] & NEIGHMASK, e = element_of(atom->type[j]);
    if (e < 0) continue;
    const Neighbour one = {j, e, x[j][0] - x[i][0], x[j][1] - x[i][1], x[j][2] - x[i][2]};
    const double r2 = one.square();
    if (r2 >= square) continue;
    if (!(r2 > COINCIDENT)) {
      if (r2 == r2) error->one(FLERR, "atoms {} and {} are on top of each other", atom->tag[i], atom->tag[j]);
      error->one(FLERR, "the position of atom {} or {} is not a number", atom->tag[i], atom->tag[j]);
    }
    centre.first[soap.slot[e] + 1]++;
    found_.push_back(one);
  }
  for (int s = 0; s < soap.n_slots; s++) centre.first[s + 1] = centre.first[s] + up(centre.first[s + 1], W);
  const int P = centre.n_pairs = centre.first[soap.n_slots];
  centre.neighbour.assign(P, -1);
  centre.x.assign(P, 0.0);
  centre.y.assign(P, 0.0);
  centre.z.assign(P, 0.5 * soap.cutoff);
  centre.r.assign(P, 0.5 * soap.cutoff);
  centre.weight.assign(P, 0.0);
  std::vector<int> next(centre.first.begin(), centre.first.end() - 1);
  for (const Neighbour &one : found_) {
    const int p = next[soap.slot[one.element]]++;
    centre.neighbour[p] = one.atom;
    centre.x[p] = one.x;
    centre.y[p] = one.y;
    centre.z[p] = one.z;
    centre.r[p] = sqrt(one.square());
    centre.weight[p] = soap.weight[one.element];
  }
}

void PairKernpot::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  const int n_elements = (int) potential_->elements.size();
  energies_.assign(atom->nlocal, 0.0);
  // Atoms of one element together: their energies are the same functions.
  std::vector<int> first(n_elements + 1, 0);
  for (int k = 0; k < list->inum; k++) {
    const int i = list->ilist[k], e = element_of(atom->type[i]);
    if (e >= 0 && !hidden(i)) first[e + 1]++;
  }
  for (int e = 0; e < n_elements; e++) first[e + 1] += first[e];
  order_.resize(first[n_elements]);
  std::vector<int> next(first.begin(), first.end() - 1);
  for (int k = 0; k < list->inum; k++) {
    const int i = list->ilist[k], e = element_of(atom->type[i]);
    if (e < 0 || hidden(i)) continue;
    order_[next[e]++] = i;
    energies_[i] = potential_->isolated[e];
  }
  for (int e = 0; e < n_elements; e++)
    for (int d = 0; d < (int) potential_->soaps.size(); d++)
      for (int at = first[e]; at < first[e + 1]; at += BATCH)
        evaluate(d, e, order_.data() + at, std::min(BATCH, first[e + 1] - at));
  for (int i : order_) {
    if (eflag_global) eng_vdwl += energies_[i];
    if (eflag_atom) eatom[i] += energies_[i];
  }
  evaluated_ = fingerprint();
}

void PairKernpot::evaluate(int descriptor, int element, const int *atoms, int n)
{
  const Soap &soap = potential_->soaps[descriptor];
  Workspace &workspace = workspaces_[descriptor];
  const int F = soap.n_features, stride = up(F, 2 * W);
  features_.resize((size_t) BATCH * stride);
  slopes_.assign((size_t) BATCH * stride, 0.0);
  for (int k = 0; k < n; k++) {
    gather(centres_[k], atoms[k], soap);
    workspace.describe(centres_[k], features_.data() + (size_t) k * stride);
  }
  double energies[BATCH] = {};
  for (Function &function : potential_->functions)
    if (function.descriptor == descriptor && function.element == element)
      function.add(features_.data(), stride, n, energies, slopes_.data());
  double **f = atom->f;
  for (int k = 0; k < n; k++) {
    const Centre &centre = centres_[k];
    const int i = centre.atom, P = centre.n_pairs;
    energies_[i] += energies[k];
    double *v = slopes_.data() + (size_t) k * stride;
    of_lengths(v, features_.data() + (size_t) k * stride, centre.norm, F);
    gradient_.resize(3 * (size_t) P);
    workspace.pull(centre, v, gradient_.data());
    double own[3] = {}, w[6] = {};
    for (int p = 0; p < P; p++) {
      const int j = centre.neighbour[p];
      if (j < 0) continue;
      const double g[3] = {gradient_[p], gradient_[P + p], gradient_[2 * (size_t) P + p]};
      for (int a = 0; a < 3; a++) {
        own[a] += g[a];
        f[j][a] -= g[a];
      }
      w[0] -= centre.x[p] * g[0];
      w[1] -= centre.y[p] * g[1];
      w[2] -= centre.z[p] * g[2];
      w[3] -= centre.x[p] * g[1];
      w[4] -= centre.x[p] * g[2];
      w[5] -= centre.y[p] * g[2];
    }
    for (int a = 0; a < 3; a++) f[i][a] += own[a];
    if (vflag_global)
      for (int a = 0; a < 6; a++) virial[a] += w[a];
    if (vflag_atom)
      for (int a = 0; a < 6; a++) vatom[i][a] += w[a];
  }
}
