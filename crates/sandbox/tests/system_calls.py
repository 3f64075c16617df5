# What the rows of system_calls.txt refer to; runs inside the sandbox and, as the control, outside.
import ctypes, mmap, os, socket, sys, tempfile

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
work = (tempfile.mkdtemp() if outside else os.getcwd()).encode()
pid = os.getpid()
buffer = ctypes.create_string_buffer(4096)
vector = (ctypes.c_ulong * 2)(ctypes.addressof(buffer), 8)
interpreter = executable.encode()
arguments = (ctypes.c_char_p * 4)(interpreter, b"-c", b"print('RESULT 0 0')", None)
clone_arguments = (ctypes.c_ulong * 8)(0, 0, 0, 0, 17, 0, 0, 0)
bpf_map = (ctypes.c_uint * 12)(2, 4, 4, 1)
perf = (ctypes.c_uint * 28)(1, 112)
capability_header = (ctypes.c_uint * 2)(0x20080522, 0)
action = (ctypes.c_uint * 1)(0x7FFF0000)
limit = (ctypes.c_ulong * 2)(64, 64)
processors = (ctypes.c_ulong * 1)(1)
handle = (ctypes.c_uint * 64)(128)
address = (ctypes.c_ubyte * 16)(2, 0, 0, 0, 127, 0, 0, 1)
message = (ctypes.c_ulong * 7)(0, 0, ctypes.addressof(vector), 1, 0, 0, 0)


def unshare(flags):
    assert libc.unshare(flags) == 0, "the control could not be separated from the machine"


def quietly(make, failed=-1):
    """A descriptor for the call, where it can be had."""
    try:
        return make()
    except OSError:
        return failed


def held(process):
    return quietly(lambda: os.pidfd_open(process))


def namespace():
    return quietly(lambda: os.open("/proc/self/ns/uts", os.O_RDONLY))


def plain_socket():
    return quietly(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach())


def pair():
    return quietly(lambda: socket.socketpair()[0].detach())


def made(name):
    os.close(os.open(work + name, os.O_CREAT | os.O_WRONLY, 0o600))
    return work + name


def page():
    memory = mmap.mmap(-1, 4096)
    place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    keep.append(memory)
    return ctypes.c_ulong(place)


keep = []


def attempt(number, *given):
    """The result and the errno of a call; a child that it may make is gone at once."""
    converted = [value if not isinstance(value, int) else ctypes.c_long(value) for value in given]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *converted)
    if os.getpid() != pid:
        os._exit(0)
    return result, ctypes.get_errno()
