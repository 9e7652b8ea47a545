"""PySCF as an ASE calculator: Hartree-Fock and density-functional theory of molecules."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, InputError, SCFError, all_changes
from ase.units import Bohr, Hartree


class PySCF(Calculator):
    """Energy and forces of a molecule from PySCF (``pip install pyscf``).

    Every SCF starts from the same guess, so the answer does not depend on what was computed before.

    Other Parameters
    ----------------
    xc : str
        Functional, as PySCF names it; ``"hf"`` for Hartree-Fock.
    basis : str
        Basis set, as PySCF names it.
    charge : int
        Of the molecule, in elementary charges.
    spin : int
        Number of unpaired electrons, 2S; not zero computes spin-unrestricted.
    density_fit : bool
        Density fitting of Coulomb and exchange integrals.
    grid_level : int
        Fineness of the integration grid, 0 to 9. Forces include the response of the grid, so they are the derivative of
        the energy on that grid and add up to zero.
    conv_tol : float
        Convergence threshold of the energy, Hartree.
    max_cycle : int
        SCF iterations after which `calculate` gives up.

    Raises
    ------
    InputError
        Unknown settings; from `calculate`: periodic structures, a spin that does not fit the electrons.
    SCFError
        From `calculate`: the SCF did not converge.
    CalculationFailed
        From `calculate`: PySCF raised.
    """

    computed_by = ("pyscf",)
    # ASE declares these as instance variables, so ClassVar would be wrong.
    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012
    default_parameters = {  # noqa: RUF012
        "xc": "pbe",
        "basis": "def2-svp",
        "charge": 0,
        "spin": 0,
        "density_fit": True,
        "grid_level": 3,
        "conv_tol": 1e-9,
        "max_cycle": 100,
    }

    def __init__(self, **settings: Any) -> None:
        unknown = sorted(set(settings) - set(self.default_parameters))
        if unknown:
            raise InputError(f"PySCF: unknown settings {unknown}, expected some of {sorted(self.default_parameters)}.")
        super().__init__(**settings)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Run the SCF and its gradient; see `ase.calculators.calculator.Calculator.calculate`."""
        super().calculate(atoms, properties or ["energy"], system_changes)
        frame, settings = cast(Atoms, self.atoms), dict(self.parameters)
        if any(frame.pbc):
            raise InputError("PySCF: periodic structures are not supported; expected a molecule, with pbc=False.")
        mean_field = _mean_field(frame, settings)
        try:
            energy = mean_field.kernel()
            if not mean_field.converged:
                raise SCFError(f"the SCF did not converge in {settings['max_cycle']} iterations")
            gradients = mean_field.nuc_grad_method()
            if settings["xc"].lower() != "hf":
                gradients.grid_response = True
            gradient = gradients.kernel()
        except RuntimeError as error:
            if isinstance(error, CalculationFailed):
                raise
            raise CalculationFailed(f"PySCF: {error}") from error
        self.results = {
            "energy": float(energy) * Hartree,
            "free_energy": float(energy) * Hartree,
            "forces": -np.asarray(gradient) * Hartree / Bohr,
        }


def _mean_field(atoms: Atoms, settings: dict[str, Any]) -> Any:
    """PySCF's object of the SCF, not yet run."""
    from pyscf import dft, gto, scf

    spin = settings["spin"]
    electrons = int(atoms.numbers.sum()) - settings["charge"]
    if (electrons - spin) % 2 or spin > electrons:
        raise InputError(f"PySCF: {electrons} electrons cannot have {spin} unpaired ones; set spin (and charge).")
    molecule = gto.M(
        atom=list(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)),
        unit="Angstrom",
        basis=settings["basis"],
        charge=settings["charge"],
        spin=spin,
        verbose=0,
    )
    if settings["xc"].lower() == "hf":
        mean_field = scf.UHF(molecule) if spin else scf.RHF(molecule)
    else:
        mean_field = (dft.UKS if spin else dft.RKS)(molecule, xc=settings["xc"])
        mean_field.grids.level = settings["grid_level"]
    if settings["density_fit"]:
        mean_field = mean_field.density_fit()
    mean_field.conv_tol = settings["conv_tol"]
    mean_field.max_cycle = settings["max_cycle"]
    mean_field.chkfile = None  # nothing on disk
    return mean_field
