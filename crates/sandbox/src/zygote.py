# The first process of a sandbox: an interpreter that is started once and forked for every program.
#
# It runs no program itself, so that each fork begins in the same state. On its control socket (descriptor 0) it takes
# `run` with four descriptors (frames in, frames out, stdin, stdout) and `end`, and answers with how the fork ended.
# What a fork can reach of all this is a copy: the socket is closed in it, and a second system-call filter that forbids
# new processes, signals and sockets is in place before a byte of the program is read.
import ctypes, gc, json, os, resource, select, signal, socket, sys

settings = json.loads(sys.argv[1])
role = compile(settings["role"], "<harness>", "exec")
for module in settings["preload"]:
    try:
        __import__(module)
    except ImportError:
        pass
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
libc = ctypes.CDLL(None, use_errno=True)


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def restrict(filters):
    """Installs further system-call filters: prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program)."""
    for text in filters:
        code = bytes.fromhex(text)
        buffer = ctypes.create_string_buffer(code, len(code))
        program = Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p).value)
        if libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(program), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
            os._exit(97)


def enter(descriptors, cpu_s):
    """In the fork: nothing is left but the five descriptors, the limits and the filter; then the role runs."""
    control.close()
    null = os.open("/dev/null", os.O_RDWR)
    import fcntl
    high = [fcntl.fcntl(number, fcntl.F_DUPFD, 40) for number in descriptors + [null]]
    for target, number in zip((3, 4, 0, 1, 2), high):
        os.dup2(number, target)
    os.closerange(5, 256)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    restrict(settings["filters"])
    scope = {"__name__": "harness", "__builtins__": __builtins__}
    exec(role, scope)
    scope["main"](3, 4)
    os._exit(0)


def work_folder_is_empty():
    try:
        return not os.listdir(settings["work"])
    except OSError:
        return False


def run(descriptors, cpu_s):
    """Forks, waits until the fork ends or `end` comes, and says how it ended."""
    child = os.fork()
    if child == 0:
        try:
            enter(descriptors, cpu_s)
        except BaseException as error:
            os.write(2, ("%s: %s" % (type(error).__name__, error)).encode("utf-8", "replace"))
        os._exit(98)
    for number in descriptors:
        os.close(number)
    watch = os.pidfd_open(child)
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    poll.register(0, select.POLLIN)
    ready = [number for number, _ in poll.poll()]
    if watch not in ready:
        if not control.recv(64):
            os._exit(0)
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    os.close(watch)
    if os.getpid() == 1:
        try:
            os.kill(-1, signal.SIGKILL)
        except OSError:
            pass
    code = os.waitstatus_to_exitcode(status)
    answer = {"code": code, "cpu_s": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss, "clean": work_folder_is_empty()}
    control.send(json.dumps(answer).encode())


control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=0)
gc.collect()
gc.freeze()
control.send(b'{"ready": true}')
while True:
    message, descriptors, _, _ = socket.recv_fds(control, 256, 8)
    if not message:
        os._exit(0)
    if len(descriptors) == 4:
        run(list(descriptors), int(message))
    else:
        for number in descriptors:
            os.close(number)
