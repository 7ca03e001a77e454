"""What all rooms' tables are declared with: one metadata, and types that mean the same everywhere.

Moments are whole microseconds since 1970 and never NULL (an absent moment is 0), so that every
dialect sorts and pages by them alike.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import BigInteger, Dialect, LargeBinary, MetaData, String, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros_of(moment: datetime | None) -> int:
    """Microseconds since 1970; 0 for None."""
    return 0 if moment is None else (moment - EPOCH) // _MICROSECOND


def moment_of(micros: int | None) -> datetime | None:
    """The moment so many microseconds after 1970; None for 0."""
    return EPOCH + timedelta(microseconds=micros) if micros else None


class Words(TypeDecorator[str]):
    """Text that is kept and sorted by its code points, whatever dialect keeps it.

    ``length`` is what is meant to be in it, and counts nowhere: SQLite takes any, and so do the
    columns of PostgreSQL, which neither can hold a NUL: U+FFFD stands for it, in both.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(String(collation="C"))
        own = self.impl_instance
        return dialect.type_descriptor(own if own.length else Text())  # type: ignore[attr-defined]  # a String

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value.replace("\0", "\ufffd") if value else value


class Moment(TypeDecorator[datetime]):
    """A timezone-aware moment, or None."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int:
        return micros_of(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return moment_of(value)


class Json(TypeDecorator[Any]):
    """Any JSON value, as compact text."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> bytes:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        return None if value is None else orjson.loads(value)
