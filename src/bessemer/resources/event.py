"""Event: what happened to an object, for people."""

from bessemer.resources.kind import Kind

EVENT = Kind(
    "",
    "v1",
    "Event",
    "events",
    singular="event",
    short_names=("ev",),
)
