"""A little interpreter for the classic BPF that seccomp takes (linux/filter.h): loads, jumps, AND,
returns."""

import struct

ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0
X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7


def run(program: bytes, number: int, args: tuple[int, ...] = (), arch: int = X86_64) -> int:
    """The verdict (SECCOMP_RET_*) on one system call."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *args, *(0,) * (6 - len(args)))
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator = counter = 0
    while True:
        code, true, false, k = instructions[counter]
        counter += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, k)[0]
            case 0x54:
                accumulator &= k
            case 0x05:
                counter += k
            case 0x15:
                counter += true if accumulator == k else false
            case 0x25:
                counter += true if accumulator > k else false
            case 0x35:
                counter += true if accumulator >= k else false
            case 0x45:
                counter += true if accumulator & k else false
            case 0x06:
                return int(k)
            case _:
                raise AssertionError(f"instruction {code:#x}")
