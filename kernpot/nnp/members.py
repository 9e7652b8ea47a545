"""Networks as functions of the features: what evaluation asks for (:mod:`kernpot.surfaces.potentials`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from kernpot.descriptors import Features
from kernpot.nnp.inputs import Inputs
from kernpot.nnp.networks import Networks
from kernpot.surfaces.potentials import Potentials, Term


class MemberEnergies:
    """Energies of environments under K networks, or under combinations of them.

    Parameters
    ----------
    inputs : Inputs
    networks : Networks
        In double precision, energies in eV.
    mixing : Tensor of shape (m, K), optional
        Combinations ``sum_k mixing_jk e_k``; none gives the members themselves.
    """

    def __init__(self, inputs: Inputs, networks: Networks, mixing: Tensor | None = None) -> None:
        self.inputs, self.networks, self.mixing = inputs, networks, mixing

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n, m) and gradients (n, m, n_features) at features (n, n_features)."""
        energies, slopes = self.networks(self.inputs(x))
        energies, slopes = energies.T, slopes.transpose(0, 1)
        if self.mixing is not None:
            energies, slopes = energies @ self.mixing.T, torch.matmul(self.mixing, slopes)
        return energies, slopes @ self.inputs.projection.T

    def chosen(self, which: slice) -> MemberEnergies:
        """Some of the functions; shares memory."""
        if self.mixing is not None:
            return MemberEnergies(self.inputs, self.networks, self.mixing[which])
        some = [t[which] if len(t) > 1 else t for t in self.networks.tensors]
        return MemberEnergies(self.inputs, self.networks.like(some))


class HiddenFeatures:
    """The last hidden layer of one network and a constant: the features that its head is linear in.

    Parameters
    ----------
    inputs : Inputs
    networks : Networks
        A single member.
    """

    def __init__(self, inputs: Inputs, networks: Networks) -> None:
        self._inputs, self._networks = inputs, networks

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, n_hidden + 1) and their gradients (n, n_hidden + 1, n_features)."""
        hidden, slopes = self._networks.hidden(self._inputs(x))
        n, width = len(x), hidden.shape[2]
        each = torch.eye(width, dtype=torch.float64)[:, None, :].expand(-1, n, -1)
        gradients = self._networks.back(each, slopes).transpose(0, 1) @ self._inputs.projection.T
        features = torch.cat([hidden[0], torch.ones((n, 1), dtype=torch.float64)], dim=1)
        return features, torch.nn.functional.pad(gradients, (0, 0, 0, 1))

    def chosen(self, which: slice) -> HiddenFeatures:
        """All of them: they are asked for together."""
        if which != slice(None):
            raise ValueError("hidden features are asked for together")
        return self


def in_ev(networks: Networks, unit: float) -> Networks:
    """Networks whose energies are in eV, from those trained in units of `unit`."""
    return replace(networks, head=networks.head * unit, offset=networks.offset * unit)


def potentials_of(
    features: Features,
    inputs: Mapping[int, Inputs],
    networks: Mapping[int, Networks],
    zero: Mapping[int, float],
    mixing: Tensor | None = None,
) -> Potentials:
    """All members as potentials, or combinations of them whose weights sum to one.

    Parameters
    ----------
    zero : mapping of int to float
        Energy of an atom that the networks' energies are added to, eV.
    """
    terms = [Term(0, z, MemberEnergies(inputs[z], net, mixing)) for z, net in networks.items()]
    n = next(iter(networks.values())).n_members if mixing is None else len(mixing)
    return Potentials([features], terms, zero, n, unit=False)


def hidden_potentials(
    features: Features, inputs: Mapping[int, Inputs], networks: Mapping[int, Networks]
) -> Sequence[Potentials]:
    """For every element, the sums of hidden features over its atoms, with their derivatives."""
    none = dict.fromkeys(networks, 0.0)
    return [
        Potentials([features], [Term(0, z, HiddenFeatures(inputs[z], net))], none, net.head.shape[1] + 1, unit=False)
        for z, net in networks.items()
    ]
