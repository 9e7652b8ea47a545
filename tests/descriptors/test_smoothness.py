"""What happens to the features, and to models built on them, when a neighbour crosses the cutoff."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from dscribe.descriptors import SOAP

from kernpot.descriptors import SOAPFeatures
from kernpot.errors import NotSmoothError
from tests.helpers.soaps import COMPRESSIONS, R_CUT, SPECIES_WEIGHTS, WEIGHTINGS, make_soap


def dimer(distance: float, symbols: str = "SiSi") -> Atoms:
    return Atoms(symbols, positions=[[0, 0, 0], distance * np.array([2.0, -1.0, 2.0]) / 3.0])


def poly(m: float) -> dict[str, object]:
    return {"function": "poly", "r0": R_CUT, "c": 1.0, "m": m}


def along(features: SOAPFeatures, distance: float) -> np.ndarray:
    """Derivative of the features with respect to the distance."""
    return features.jvp(dimer(distance), positions=dimer(1.0).positions)


@pytest.mark.parametrize("m", [0.75, 1, 1.5, 2, 3])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_features_vanish_at_the_cutoff_with_the_order_that_is_claimed(m, compression):
    features = SOAPFeatures(make_soap(poly(m), compression, l_max=2, sigma=0.8))
    assert features.cutoff == R_CUT
    beyond = features(dimer(R_CUT + 1e-6))
    np.testing.assert_allclose(beyond, features(dimer(50.0)), rtol=0, atol=0)
    h = 0.02
    change = [np.abs(features(dimer(R_CUT - k * h)) - beyond).max() for k in (1, 2)]
    slope = [np.abs(along(features, R_CUT - k * h)).max() for k in (1, 2)]
    order, slope_order = (np.log2(b / a) for a, b in (change, slope))
    assert order == pytest.approx(2 * m, abs=0.15)
    assert slope_order == pytest.approx(2 * m - 1, abs=0.15)
    assert features.smoothness == np.ceil(2 * m) - 1
    features.require_smooth()


def test_second_derivatives_are_continuous_for_m_2_and_jump_for_m_1():
    h = 1e-5
    curvature = {}
    for m in (1, 2):
        features = SOAPFeatures(make_soap(f"poly m={m}"))
        inside = (along(features, R_CUT - h) - along(features, R_CUT - 2 * h)) / h
        curvature[m] = np.abs(inside).max() / np.abs(features(dimer(50.0))).max()
    assert curvature[1] > 1e-3
    assert curvature[2] < 1e-6


@pytest.mark.parametrize("weighting", ["none", "poly m=0", "poly beyond the padding", "pow", "exp", "w0"])
def test_jumps_are_found_and_refused(weighting):
    features = SOAPFeatures(make_soap(weighting, sigma=0.8, l_max=1))
    r = features.cutoff
    inside, outside = features(dimer(r - 1e-7)), features(dimer(r + 1e-7))
    assert np.abs(inside - outside).max() > 1e-8 * np.abs(outside).max()
    assert features.smoothness == -1
    with pytest.raises(NotSmoothError):
        features.require_smooth()


def test_kink_is_refused():
    features = SOAPFeatures(make_soap("poly m=0.5"))
    assert np.abs(along(features, R_CUT - 1e-9)).max() > 1e-3 * np.abs(features(dimer(50.0))).max()
    assert features.smoothness == 0
    with pytest.raises(NotSmoothError):
        features.require_smooth()


@pytest.mark.parametrize("hide", ["w0", "species weight"])
def test_hidden_centre_is_refused(hide):
    """Without the central atom in its density the first neighbour turns a zero vector into one of unit length."""
    if hide == "w0":
        features = SOAPFeatures(make_soap(poly(2) | {"w0": 0.0}))
    else:
        weights = SPECIES_WEIGHTS | {"Si": 0.0}
        features = SOAPFeatures(make_soap("poly m=2", compression={"mode": "mu2", "species_weighting": weights}))
    inside, outside = (features(dimer(R_CUT + dr, "SiO"))[0] for dr in (-1e-3, 1e-3))
    assert not outside.any()
    assert inside.any()  # tiny, but scaled to unit length it jumps
    with pytest.raises(NotSmoothError, match="unit length"):
        features.require_smooth()


@pytest.mark.parametrize(
    "refused",
    [
        *(make_soap(w) for w in ("none", "pow", "exp", "poly m=0.5", "poly beyond the padding", "w0=0")),
        *(make_soap("none", c, weighted=True) for c in COMPRESSIONS),
        make_soap(
            "none", species=(14, 8), sigma=np.float64(0.5), n_max=np.int64(4), r_cut=np.float64(4.0), periodic=False
        ),
        make_soap("none", compression={"mode": "mu2", "species_weighting": SPECIES_WEIGHTS | {"O": 0.0}}),
    ],
)
def test_the_two_lines_of_the_message_make_a_descriptor_that_is_accepted(refused):
    with pytest.raises(NotSmoothError) as caught:
        SOAPFeatures(refused).require_smooth()
    text = str(caught.value)
    assert "weighting = {" in text
    assert "soap = SOAP(" in text
    lines = text.splitlines()[1:]
    assert len(lines) == 2
    namespace: dict[str, object] = {"SOAP": SOAP}
    exec("\n".join(line.strip() for line in lines), namespace)
    features = SOAPFeatures(namespace["soap"])
    features.require_smooth()
    assert features.smoothness >= 2
    # all else is as the user wanted it
    assert features.n_features == refused.get_number_of_features()
    assert features.cutoff == pytest.approx(SOAPFeatures(refused).cutoff, abs=0.006)
    assert features.soap.periodic == refused.periodic
    assert features.soap._sigma == refused._sigma
    if refused._species_weights.all():
        np.testing.assert_array_equal(features.soap._species_weights, refused._species_weights)


@pytest.mark.parametrize("weighting", [w for w in WEIGHTINGS if w.startswith("poly m=") and w[-1] in "123"])
def test_smooth_descriptors_are_accepted(weighting):
    SOAPFeatures(make_soap(weighting)).require_smooth()
