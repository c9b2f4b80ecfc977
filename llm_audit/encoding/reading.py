"""How BSON is read so that nothing in it keeps the rest from being read."""

from typing import Any
from uuid import UUID

from bson.binary import UUID_SUBTYPE, Binary, UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion, TypeDecoder, TypeRegistry

UUID_BYTES = 16


class _Uuids(TypeDecoder):
    """Reads UUIDs as such, and leaves alone what only says that it is one."""

    bson_type = Binary

    def transform_bson(self, value: Binary) -> Binary | UUID:
        is_one = value.subtype == UUID_SUBTYPE and len(value) == UUID_BYTES
        return value.as_uuid() if is_one else value


# PyMongo refuses to write UUIDs with these.
READ_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,  # MongoDB has years beyond 9999
    unicode_decode_error_handler="replace",
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    type_registry=TypeRegistry([_Uuids()]),
)
