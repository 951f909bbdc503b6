"""Protobuf's text format, as far as Triton's configurations need it, written without a protobuf library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


class Word(str):
    """An enum's value: written as it is, where a string is quoted."""


def text(message: Mapping[str, object]) -> str:
    """A message as text; None leaves a field out, a sequence of mappings is a repeated message, other sequences are lists.

    Raises:
        TypeError: a value has no form in that format.
    """
    return "\n".join(_lines(message, "")) + "\n"


def _lines(message: Mapping[str, object], indent: str) -> Iterator[str]:
    for name, value in message.items():
        if value is None:
            continue
        for one in value if _repeated(value) else (value,):  # type: ignore[attr-defined]
            if isinstance(one, Mapping):
                yield f"{indent}{name} {{"
                yield from _lines(one, indent + "  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(one)}"


def _repeated(value: object) -> bool:
    """Whether each element is written by itself: a non-empty sequence of messages."""
    return isinstance(value, Sequence) and not isinstance(value, str) and bool(value) and isinstance(value[0], Mapping)


def _scalar(value: object) -> str:
    if isinstance(value, Word):
        return str(value)
    if isinstance(value, str):
        return f'"{_escaped(value)}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Sequence):
        return "[ " + ", ".join(map(_scalar, value)) + " ]" if value else "[ ]"
    raise TypeError(f"{value!r} has no form in protobuf's text format")


def _escaped(value: str) -> str:
    r"""UTF-8 bytes, those that are not printable ASCII in octal: `\303\244` for ä."""
    plain = {ord('"'): '\\"', ord("\\"): "\\\\", ord("\n"): "\\n"}
    return "".join(plain.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in value.encode())
