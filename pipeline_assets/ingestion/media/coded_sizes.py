"""How large the pictures of an AV1 or HEVC bitstream are, by the headers that their decoder goes by.

The box around a bitstream may say otherwise. Headers are read in bounded steps; no pixel is decoded here.
Sources: AV1 5.5 (sequence header), ITU-T H.265 7.3.2.2 (sequence parameter set), ISO 14496-15 (hvcC, av1C).
"""

from collections.abc import Iterator

MAX_UNITS = 10_000
"""Of one bitstream that are looked at: a still picture has a handful."""
_SEQUENCE_HEADER = 1
_SPS = 33


class _Bits:
    """Big-endian bits of some bytes, one number after the other. Raises IndexError at the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self, count: int) -> int:
        """The next `count` bits as an unsigned number."""
        end = self._at + count
        if end > 8 * len(self._data):
            raise IndexError("the header ends early")
        piece = int.from_bytes(self._data[self._at // 8 : (end + 7) // 8], "big")
        self._at = end
        return (piece >> (-end % 8)) & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        """ue(v) of H.265, which AV1 calls uvlc()."""
        zeros = 0
        while not self.number(1):
            zeros += 1
            if zeros > 32:
                raise IndexError("a number of more than 32 bits")
        return (1 << zeros) - 1 + self.number(zeros)


def av1_pixels(obus: bytes) -> int:
    """Pixels of the largest picture that a run of OBUs declares; 0 if none of them is a sequence header."""
    return max((_of_sequence_header(_Bits(body)) for kind, body in _obus(obus) if kind == _SEQUENCE_HEADER), default=0)


def hevc_pixels(units: Iterator[bytes]) -> int:
    """Pixels of the largest picture that NAL units declare; 0 if none of them is a sequence parameter set."""
    return max((_of_sps(_Bits(_unescaped(unit[2:130]))) for unit in units if unit and unit[0] >> 1 & 63 == _SPS), default=0)


def units_of_config(hvcc: bytes) -> Iterator[bytes]:
    """The NAL units of an hvcC box's content."""
    at = 23
    for _ in range(hvcc[22]):
        count, at = int.from_bytes(hvcc[at + 1 : at + 3], "big"), at + 3
        for _ in range(min(count, MAX_UNITS)):
            length, at = int.from_bytes(hvcc[at : at + 2], "big"), at + 2
            yield hvcc[at : at + length]
            at += length


def units_of_data(data: bytes, length_bytes: int) -> Iterator[bytes]:
    """The beginnings of the NAL units of a picture, each of which follows its length. Raises IndexError for too many."""
    at = 0
    for _ in range(MAX_UNITS):
        if at + length_bytes >= len(data):
            return
        length, at = int.from_bytes(data[at : at + length_bytes], "big"), at + length_bytes
        yield data[at : at + min(length, 130)]
        at += length
    raise IndexError(f"more than {MAX_UNITS} units in one picture")


def _obus(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and first bytes of each OBU."""
    at = 0
    for _ in range(MAX_UNITS):
        if at >= len(data):
            return
        head = data[at]
        at += 2 if head & 4 else 1
        length = len(data) - at
        if head & 2:
            length, at = _leb128(data, at)
        yield head >> 3 & 15, data[at : at + min(length, 256)]
        at += length
    raise IndexError(f"more than {MAX_UNITS} units in one picture")


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        value |= (data[at + place] & 127) << 7 * place
        if data[at + place] < 128:
            return value, at + place + 1
    raise IndexError("a length of more than 8 bytes")


def _of_sequence_header(bits: _Bits) -> int:
    bits.number(4)
    if bits.number(1):  # a reduced still picture's header
        bits.number(5)
    else:
        _skip_operating_points(bits)
    wide, high = bits.number(4) + 1, bits.number(4) + 1
    return (bits.number(wide) + 1) * (bits.number(high) + 1)


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.number(1):  # timing
        bits.number(64)
        if bits.number(1):
            bits.exp_golomb()
        if bits.number(1):  # decoder model
            delay_bits = bits.number(5) + 1
            bits.number(42)
    has_display_delay = bits.number(1)
    for _ in range(bits.number(5) + 1):
        bits.number(12)
        if bits.number(5) > 7:
            bits.number(1)
        if delay_bits and bits.number(1):
            bits.number(2 * delay_bits + 1)
        if has_display_delay and bits.number(1):
            bits.number(4)


def _of_sps(bits: _Bits) -> int:
    bits.number(4)
    layers = bits.number(3)
    bits.number(1 + 96)
    presence_flags = [(bits.number(1), bits.number(1)) for _ in range(layers)]
    if layers:
        bits.number(2 * (8 - layers))
    for has_profile, has_level in presence_flags:
        bits.number(88 * has_profile + 8 * has_level)
    bits.exp_golomb()
    if bits.exp_golomb() == 3:
        bits.number(1)
    return bits.exp_golomb() * bits.exp_golomb()


def _unescaped(unit: bytes) -> bytes:
    """Without the bytes that keep start codes out of a NAL unit."""
    return unit.replace(b"\0\0\3", b"\0\0")
