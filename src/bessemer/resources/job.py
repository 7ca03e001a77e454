"""Job: pods that run to their end."""

from bessemer.resources.kind import Kind

JOB = Kind(
    "batch",
    "v1",
    "Job",
    "jobs",
    singular="job",
    subresources=frozenset({"status"}),
)
