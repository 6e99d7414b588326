"""What disks and power cuts leave of a file."""

from collections.abc import Callable, Mapping

__all__ = ["DAMAGES"]


def _bit(place: float) -> Callable[[bytes], bytes]:
    """One bit of the byte at this share of the file."""

    def flip(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[int(place * (len(content) - 1))] ^= 1
        return bytes(changed)

    return flip


DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "a third": lambda content: content[: len(content) // 3],
    "all but the last bytes": lambda content: content[:-3],
    "zeros": lambda content: bytes(len(content)),
    "zeros from the middle on": lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
    "longer": lambda content: content + b"\0" * 512,
    "a bit at the start": _bit(0.02),
    "a bit in the middle": _bit(0.5),
    "a bit near the end": _bit(0.97),
}
