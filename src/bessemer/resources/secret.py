"""Secret: configuration that is encrypted at rest."""

from bessemer.resources.kind import Kind

SECRET = Kind(
    "",
    "v1",
    "Secret",
    "secrets",
    singular="secret",
)
