// SPDX-License-Identifier: GPL-2.0-only
// What LAMMPS asks of a plugin when it loads one.

#include "compute_kernpot.h"

#include "lammps.h"

using namespace LAMMPS_NS;

namespace {

// As in lammpsplugin.h, which the wheel does not ship.
struct Style {
  const char *version, *style, *name, *info, *author;
  union {
    void *(*of_pair)(void *);
    void *(*of_compute)(void *, int, char **);
  } creator;
  void *handle;
};

void *pair(void *lmp) { return (Pair *) new PairKernpot((LAMMPS *) lmp); }
void *compute(void *lmp, int n, char **words) { return (Compute *) new ComputeKernpot((LAMMPS *) lmp, n, words); }

}    // namespace

extern "C" void lammpsplugin_init(void *lmp, void *handle, void *registers)
{
  const auto tell = (void (*)(Style *, void *)) registers;
  Style style = {};
  style.version = ((LAMMPS *) lmp)->version;
  style.author = "the kernpot developers";
  style.handle = handle;
  style.style = "pair";
  style.name = "kernpot";
  style.info = "mean of a kernpot potential";
  style.creator.of_pair = pair;
  tell(&style, lmp);
  style.style = "compute";
  style.info = "energies and standard deviations of a kernpot potential";
  for (const char *name : {"kernpot/force_std", "kernpot/std", "kernpot/energy"}) {
    style.name = name;
    style.creator.of_compute = compute;
    tell(&style, lmp);
  }
}
