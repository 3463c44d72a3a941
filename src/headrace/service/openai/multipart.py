"""Reads an upload piece by piece: a form of a file and a few short fields."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from hashlib import blake2b

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from headrace.service.errors import ApiError

_MAX_FIELD_BYTES = 4_096
_MAX_FIELDS = 32


class UploadForm:
    """A form that is being read: the fields so far, and the file's bytes as they come.

    The parts may come in any order: curl sends the file first.

    Args:
        content_type: of the request.
        part: the name of the part that is the file.

    Raises:
        ApiError: it is no form.
    """

    def __init__(self, content_type: str, part: str = "file") -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise ApiError(
                415,
                f"The body must be multipart/form-data with a part '{part}'.",
            )
        self._part = part
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        """None until the file's part has begun."""
        self.digest = blake2b(digest_size=32)
        """Of the file's bytes so far."""
        self._name = ""
        self._is_file = False
        self._value = bytearray()
        self._header = bytearray()
        self._header_value = bytearray()
        self._pieces: list[bytes] = []
        self._is_over = False
        self._parser = self._made(boundary)

    async def file_bytes(self, body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """Give the bytes of the file; afterwards all fields are known.

        Raises:
            ApiError: the form is broken off, or no form.
        """
        async for chunk in body:
            self._feed(chunk)
            pieces, self._pieces = self._pieces, []
            for piece in pieces:
                self.digest.update(piece)
                yield piece
        if not self._is_over:
            raise ApiError(400, "The form breaks off before its end.")
        if self.filename is None:
            raise _missing(self._part)

    def _made(self, boundary: bytes) -> MultipartParser:
        try:
            return MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._take_header,
                    "on_header_value": self._take_header_value,
                    "on_header_end": self._end_header,
                    "on_part_data": self._take,
                    "on_part_end": self._end,
                    "on_end": self._finish,
                },
            )
        except FormParserError as error:  # such as a boundary that is too long
            raise ApiError(400, f"The form cannot be read: {error}.") from None

    def _feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise ApiError(400, f"The form cannot be read: {error}.") from None

    # ---- what the parser finds

    def _begin(self) -> None:
        self._name, self._is_file = "", False
        self._value.clear()

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        name, value = bytes(self._header).lower(), bytes(self._header_value)
        self._header.clear()
        self._header_value.clear()
        if name != b"content-disposition":
            return
        _, options = parse_options_header(value)
        self._name = options.get(b"name", b"").decode(errors="replace")
        if self._name == self._part:
            if self.filename is not None:
                message = f"There are two parts '{self._part}'."
                raise ApiError(400, message, param=self._part)
            self._is_file = True
            self.filename = options.get(b"filename", b"upload").decode(errors="replace")

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._pieces.append(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > _MAX_FIELD_BYTES:
            raise ApiError(
                400,
                f"'{self._name[:64]}' is longer than {_MAX_FIELD_BYTES} bytes.",
                param=self._name[:64],
            )

    def _end(self) -> None:
        if self._is_file:
            return
        if len(self.fields) >= _MAX_FIELDS:
            raise ApiError(400, f"There are more than {_MAX_FIELDS} fields.")
        if self._name in self.fields:
            name = self._name[:64]
            raise ApiError(400, f"There are two parts '{name}'.", param=name)
        self.fields[self._name] = self._value.decode(errors="replace")

    def _finish(self) -> None:
        self._is_over = True


def _missing(name: str) -> ApiError:
    return ApiError(
        400,
        f"Missing required parameter: '{name}'.",
        code="missing_required_parameter",
        param=name,
    )


def demanded(form: UploadForm, name: str) -> str:
    """Return a field that must be there.

    Raises:
        ApiError: it is not.
    """
    value = form.fields.get(name)
    if value is None:
        raise _missing(name)
    return value
