# A plain grader that trusts the program, for programs that mean no harm: whether program and tests, run together, end without an error.
# Reads {"source"} a line, writes `pass` or `fail` a line.
import json, os, resource, sys

for line in sys.stdin:
    source = json.loads(line)["source"]
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (6, 6))
        resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        try:
            exec(compile(source, "<program>", "exec"), {"__name__": "program"})
        except BaseException:
            os._exit(1)
        os._exit(0)
    print("pass" if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 else "fail", flush=True)
