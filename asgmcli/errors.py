"""Errors a user can cause, each with its exit code. A message says what, where, and how to mend it."""

import click


class AsgmError(click.ClickException):
    """Base of every error a user can cause; click prints the message without a traceback."""

    exit_code = 2


class UsageError(AsgmError):
    """A wrong option, argument or combination of them."""


class RecipeError(AsgmError):
    """A recipe that cannot be read, or that says something impossible."""


class DataError(AsgmError):
    """A file, folder, manifest or weight file that is missing, broken or of the wrong kind."""

    exit_code = 3


class MediaError(DataError):
    """A media file that cannot be read. The message names the file and the reason."""


class InstallError(AsgmError):
    """A package that is missing or does not load beside the others."""

    exit_code = 3


class NotFiniteError(AsgmError):
    """The loss was not a finite number."""

    exit_code = 4


class Interrupted(AsgmError):
    """Stopped by a signal after saving; the run can be resumed."""

    exit_code = 75


class InterruptedByKeyboard(Interrupted):
    """Stopped by Ctrl-C after saving; the run can be resumed."""

    exit_code = 130
