"""Names in model files: a class cannot take that of another one, and may be defined again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from kernpot.descriptors import PairwiseFeatures, features_from_dict
from kernpot.descriptors.given import GivenFeatures
from kernpot.kernels import CosineKernel, Power, SOAPKernel
from kernpot.kernels.cosine_kernel import kernel_from_dict, kernel_to_dict
from tests.helpers.registries import only_ours


@pytest.fixture(autouse=True)
def _apart() -> Iterator[None]:
    with only_ours():
        yield


def defined(base: type, kind: str, module: str = "a_package", name: str = "Mine") -> type[Any]:
    """A class as that module would define it."""
    return type(base)(name, (base,), {"kind": kind, "__module__": module, "__qualname__": name})


@pytest.mark.parametrize(
    ("base", "kind", "ours"),
    [
        (CosineKernel, "soap", "kernpot.kernels.soap_kernel.SOAPKernel"),
        (SOAPKernel, "polynomial", "kernpot.kernels.polynomial.PolynomialKernel"),
        (PairwiseFeatures, "soap", "kernpot.descriptors.soap.SOAPFeatures"),
        (PairwiseFeatures, "given", "kernpot.descriptors.given.GivenFeatures"),
    ],
)
def test_ours_are_taken(base: type, kind: str, ours: str) -> None:
    with pytest.raises(ValueError, match=rf"the kind '{kind}' of the .* a_package.Mine is that of {ours} already"):
        defined(base, kind)
    assert isinstance(kernel_from_dict(kernel_to_dict(SOAPKernel(3, [29]))), SOAPKernel)
    assert isinstance(features_from_dict(GivenFeatures("x", ["Cu"], 2).to_dict()), GivenFeatures)


@pytest.mark.parametrize("base", [CosineKernel, PairwiseFeatures])
def test_those_of_others_are_taken_and_a_class_may_be_defined_again(base: type) -> None:
    kind = "of test_kinds"
    defined(base, kind)
    assert defined(base, kind) is not defined(base, kind)
    for module, name in (("another_package", "Mine"), ("a_package", "Other")):
        with pytest.raises(ValueError, match=rf"{module}.{name} is that of a_package.Mine already"):
            defined(base, kind, module, name)


def test_a_class_that_is_defined_again_is_the_one_that_files_mean() -> None:
    def again() -> type[CosineKernel]:
        class Again(CosineKernel):
            kind = "again of test_kinds"
            parameters_given: ClassVar[Any] = {}

            def __init__(self, elements: Any = None, amplitude: float = 1.0) -> None:
                super().__init__([Power(2)], elements, amplitude)

        return Again

    first, second = again(), again()
    assert type(kernel_from_dict(kernel_to_dict(first([29])))) is second
