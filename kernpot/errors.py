"""Exceptions and warnings of kernpot: each message says what was expected, what was got and what to do."""

from __future__ import annotations


class Told(Exception):
    """A message whose remedy reads otherwise on the command line than in Python.

    Parameters
    ----------
    message : str
        What was expected and what was got.
    in_python, on_command_line : str
        What to do, in the words of each; both or none.

    Attributes
    ----------
    on_command_line : str
        The message with the remedy of the command line; ``str()`` has that of Python.
    """

    def __init__(self, message: str = "", in_python: str = "", on_command_line: str = "") -> None:
        super().__init__(f"{message} {in_python}" if in_python else message)
        self.on_command_line = f"{message} {on_command_line}" if on_command_line else str(self)


class KernpotError(Told):
    """Base class of every error kernpot raises on purpose."""


class StructureError(KernpotError, ValueError):
    """A structure or its labels cannot be used; the message names the frame."""


class ParameterError(KernpotError, ValueError):
    """A parameter has the wrong type or is out of range."""


class MemoryLimitError(KernpotError, MemoryError):
    """Work would need more memory than there is; the message has the estimate, the limit and the remedy."""


class DescriptorError(KernpotError, ValueError):
    """A descriptor is not supported, or does not fit the structures."""


class NotSmoothError(DescriptorError):
    """The descriptor jumps at its cutoff, so its forces would not be the derivative of its energy."""


class NumericalError(KernpotError, ArithmeticError):
    """A computed quantity contradicts the mathematics beyond rounding, e.g. a negative variance."""


class PropertyError(KernpotError, RuntimeError):
    """A derived property found no value: a relaxation that does not converge, weights that rest on a few frames."""


class ModelFileError(KernpotError, ValueError):
    """A model file is missing, foreign, truncated, tampered with, or of a newer schema."""


class NotInFileError(ModelFileError, DescriptorError):
    """A model needs something that no file can hold: it is to be given again at load, or its module imported."""


class OracleError(KernpotError, RuntimeError):
    """An oracle cannot work at all: a calculator that cannot be built, a program or a folder that is not there."""


class OracleFailure(OracleError):
    """An oracle could not label a frame: a crash, no SCF convergence, a time-out, numbers that cannot be used."""

    @property
    def reason(self) -> str:
        """What went wrong, in words."""
        return str(self)


class OraclePending(OracleError):
    """Inputs are written and wait for somebody else to compute them; the message names the folder."""


class KernpotWarning(Told, UserWarning):
    """Base class of kernpot's warnings."""


class JitterWarning(KernpotWarning):
    """The inducing covariance needed more jitter than usual."""


class InducingWarning(KernpotWarning):
    """Fewer inducing environments were used than asked for."""


class ExtrapolationWarning(KernpotWarning):
    """A structure lies where the model knows nothing."""
