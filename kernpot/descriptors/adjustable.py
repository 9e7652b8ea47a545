"""Descriptors whose settings scikit-learn can tell, change and print: `descriptor__n_max` in a grid."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any, Self

from kernpot.errors import DescriptorError


class Adjustable:
    """Settings by the names of a constructor, and the same object made of others."""

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """What it is made of."""

    @abstractmethod
    def _made(self, settings: dict[str, Any]) -> Self:
        """Another one."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002  as scikit-learn asks
        """Settings by name."""
        return self._settings()

    def set_params(self, **parameters: Any) -> Self:
        """Change settings.

        Raises
        ------
        DescriptorError
            A setting that it does not have, or that cannot be.
        """
        known = self._settings()
        unknown = sorted(set(parameters) - set(known))
        if unknown:
            raise DescriptorError(
                f"{type(self).__name__} has no settings {unknown}, expected some of {', '.join(known)}."
            )
        vars(self).update(vars(self._made(known | parameters)))
        return self

    def __sklearn_clone__(self) -> Self:
        """A copy to the last bit: the radial basis of a stored SOAP does not follow from its settings alone."""
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._settings().items())})"
